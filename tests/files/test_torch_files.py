"""Torch, numpy and StyleGAN pickles: tensors equal to torch's own, hostile twists told, clean files silent."""

from __future__ import annotations

import io
import os
import pickle  # noqa: TID251 (only to make benign fixtures)
import struct
import uuid
import zipfile
from argparse import Namespace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from genvet.core.modelfile import TensorSpec
from genvet.files import nvlabs_writer as nvlabs
from genvet.files.pickle_writer import Global, Reduce, dumps
from genvet.files.pickles import objects, torch_files
from genvet.files.reading import Reading, Stop

DATA = Path(os.environ.get("GENVET_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
SAVED = [p for p in sorted(DATA.glob("generators/**/*")) + sorted(DATA.glob("classifiers/**/*")) if p.is_file()]
SAVED = [p for p in SAVED if p.suffix in (".pt", ".pth", ".ckpt")]
needs_data = pytest.mark.skipif(not SAVED, reason="../shared/data is not here")

TEXT = """import torch

class Generator(torch.nn.Module):
    def forward(self, z):
        return self.mapping(z)

class MappingNetwork(torch.nn.Module):
    def forward(self, z):
        return z
"""


def read(raw: bytes) -> Reading:
    reading = Reading()
    data = memoryview(raw)
    try:
        if raw[:2] == b"PK":
            members = zipfile.ZipFile(io.BytesIO(raw))
            inside = {n.partition("/")[2]: memoryview(members.read(n)) for n in members.namelist()}
            torch_files.read_zip(inside, reading, "", 0)
        else:
            assert torch_files.matches(data) or objects.matches(data)
            (torch_files if torch_files.matches(data) else objects).read(data, reading, "", 0)
    except Stop as stop:
        reading.note(stop.rule, stop.message, offset=stop.offset)
    return reading


def told(raw: bytes) -> set[str]:
    return {e.rule for e in read(raw).evidence}


def values(reading: Reading, part: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a part, with torch."""
    (found,) = [p for p in reading.parts if p.name == part]
    return {name: _tensor(reading.storages[t.storage], t) for name, t in found.tensors.items()}


def _tensor(storage: memoryview, t: TensorSpec) -> torch.Tensor:
    dtype = getattr(torch, t.dtype)
    flat = torch.frombuffer(bytearray(storage), dtype=dtype) if len(storage) else torch.empty(0, dtype=dtype)
    return flat.as_strided(t.shape, t.stride, t.offset)


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[k].dtype == wanted[k].dtype and torch.equal(_bits(found[k]), _bits(wanted[k])) for k in wanted
    )


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().view(torch.uint8) if x.dtype.is_floating_point and x.element_size() == 1 else x


def saved(value: object, how: str = "zip", protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=how == "zip", pickle_protocol=protocol)
    return buffer.getvalue()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Conv2d(1, 2, 3, bias=False)))


@needs_data
@pytest.mark.parametrize("path", SAVED, ids=lambda p: str(p.relative_to(DATA)))
def test_published_models_equal_torch(path):
    reading = read(path.read_bytes())
    assert not reading.evidence
    assert same(values(reading), dict(torch.load(path, weights_only=True, map_location="cpu")))  # noqa: TID251


@needs_data
def test_a_legacy_file_of_another_scanner_is_clean():
    reading = read((DATA / "suspicious/picklescan/pytorch_model.bin").read_bytes())
    assert not reading.evidence and len(reading.parts[0].tensors) == 38


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_state_dicts_equal_torch(how, protocol):
    state = network().state_dict()
    raw = pickle.dumps(state, protocol) if how == "pickle" else saved(state, how, protocol)
    reading = read(raw)
    assert not reading.evidence
    assert same(values(reading), dict(state))


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_every_dtype_and_view(how):
    w = torch.randn(6, 4)
    kinds = ["float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64"]
    kinds += ["float8_e4m3fn", "float8_e5m2", "uint16"]
    wanted = {"w": w, "transposed": w.t(), "part": w[1:3, 1:], "scalar": torch.tensor(3.0), "empty": torch.empty(0, 3)}
    wanted |= {kind: w.to(getattr(torch, kind)) for kind in kinds}
    reading = read(saved(wanted | {"p": nn.Parameter(w)}, how))
    assert not reading.evidence
    assert same(values(reading), wanted | {"p": w})
    assert len({t.storage for t in reading.parts[0].tensors.values()}) == len(wanted) - 2  # w is kept once


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_nested_checkpoints_and_whole_modules(how):
    net, optimiser = network(), torch.optim.Adam(network().parameters())
    optimiser.state_dict()
    raw = saved(
        {
            "g_ema": net.state_dict(),
            "nested": {"d": network().state_dict()},
            "module": net,
            "optim": optimiser.state_dict(),
            "args": Namespace(lr=0.1, name="run\x1b[31m"),
            "step": 7,
            "best": {"score": torch.tensor(0.5)},
        },
        how,
    )
    reading = read(raw)
    assert not reading.evidence
    assert [(p.name, p.kind) for p in reading.parts] == [
        ("g_ema", "state"),
        ("nested.d", "state"),
        ("module", "module"),
    ]
    assert same(values(reading, "module"), dict(net.state_dict()))
    assert reading.parts[2].class_name == "Sequential"
    assert reading.metadata["step"] == "7" and reading.metadata["args.lr"] == "0.1"
    assert "\x1b" not in reading.metadata["args.name"] and "optim (skipped)" in reading.metadata


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_arrays_and_numbers(protocol):
    a = np.arange(6, dtype="f4").reshape(2, 3)
    value = {"a": a, "fortran": np.asfortranarray(a), "big": a.astype(">i4"), "n": np.float64(2.5), "m": np.bool_(True)}
    reading = read(pickle.dumps(value, protocol))
    t = torch.tensor(a)
    assert not reading.evidence
    assert same(values(reading), {"a": t, "fortran": t, "big": t.int()})
    assert (reading.metadata["n"], reading.metadata["m"]) == ("2.5", "True")


def test_arrays_of_python_2():
    """Protocol 0, the data a `str`: StyleGAN 1 came like this."""
    raw = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR"
        b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\ntb."
    )
    reading = read(raw)
    assert not reading.evidence
    assert values(reading)["tensor"].tolist() == [1.0, -2.0]


def test_a_big_endian_file_is_swapped():
    source = zipfile.ZipFile(io.BytesIO(saved({"w": torch.tensor([1.0, -2.0])})))
    members = {n.partition("/")[2]: memoryview(source.read(n)) for n in source.namelist()}
    members["byteorder"] = memoryview(b"big")
    members["data/0"] = memoryview(struct.pack(">2f", 1, -2))
    reading = Reading()
    torch_files.read_zip(members, reading, "", 0)
    assert values(reading)["w"].tolist() == [1.0, -2.0]


# --- What must be told.


def rebuilt(offset, shape, stride, numel=6) -> bytes:
    """A pickle of one tensor that claims these sizes over a storage of `numel` floats."""
    storage = nvlabs.storage_bytes(nvlabs.Tensor("float32", (numel,), bytes(4 * numel)))
    made = Reduce(Global("torch.storage", "_load_from_bytes"), (storage,))
    args = (made, offset, shape, stride, False, Reduce(nvlabs.ORDERED, ()))
    return dumps({"w": Reduce(Global("torch._utils", "_rebuild_tensor_v2"), args)}, 4)


def test_a_tensor_within_its_storage_is_fine():
    assert told(rebuilt(0, (2, 3), (3, 1))) == set()
    assert told(rebuilt(5, (1,), (1,))) == set()
    assert told(rebuilt(0, (2, 1, 3), (3, 0, 1))) == set()


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "rule"),
    [
        (0, (7,), (1,), "tensor.bounds"),
        (1, (2, 3), (3, 1), "tensor.bounds"),
        (6, (1,), (1,), "tensor.bounds"),
        (-1, (2,), (1,), "tensor.bounds"),
        (0, (2,), (-1,), "tensor.bounds"),
        (0, (2, 3), (3,), "tensor.bounds"),
        (0, (1 << 70,), (0,), "tensor.bounds"),
        (0, (1 << 40,), (0,), "tensor.overlap"),
        (0, (2, 3), (1, 1), "tensor.overlap"),
    ],
)
def test_a_tensor_that_lies_about_its_size(offset, shape, stride, rule):
    reading = read(rebuilt(offset, shape, stride))
    assert {e.rule for e in reading.evidence} == {rule}
    assert not reading.parts


EVIL = dumps(Reduce(Global("os", "system"), ("id",)), 2)
GOOD = nvlabs.Tensor("float32", (2,), struct.pack("<2f", 1, 2))
USUAL = nvlabs.storage_bytes(GOOD)


def module(**more) -> nvlabs.Module:
    mapping = nvlabs.Module(class_name="MappingNetwork", parameters={"weight": GOOD}, buffers={"w_avg": GOOD})
    kwargs = {"z_dim": 4, "mapping_kwargs": {"num_layers": 2}}
    fields = {"class_name": "Generator", "source": TEXT, "modules": {"mapping": mapping}, "init_kwargs": kwargs}
    return nvlabs.Module(**(fields | more))


@pytest.mark.parametrize("protocol", [3, 4])
def test_nvlabs_parts(protocol):
    raw = nvlabs.write_nvlabs(
        {"G": module(), "G_ema": module()}, extras={"augment_pipe": None, "kimg": 25}, protocol=protocol
    )
    reading = read(raw)
    assert {e.rule for e in reading.evidence} == {"source.unrecognised"}
    assert reading.format == "nvlabs-pickle"
    assert [(p.name, p.kind, p.class_name) for p in reading.parts] == [
        ("G", "persistent", "Generator"),
        ("G_ema", "persistent", "Generator"),
    ]
    assert reading.parts[0].config == {"z_dim": 4, "mapping_kwargs": {"num_layers": 2}}
    assert values(reading, "G")["mapping.w_avg"].tolist() == [1.0, 2.0]
    (source,) = reading.sources
    assert source.text == TEXT and set(source.classes) == {"Generator", "MappingNetwork"}
    assert {c.standing for c in reading.calls} == {"expected"}


def network_of(name: str, **more) -> nvlabs.Network:
    return nvlabs.Network(name=name, source="def G_main(z):\n    return z\n", function="G_main", **more)


def test_tensorflow_networks():
    inner = {
        "mapping": network_of("mapping", variables={"Dense0/weight": GOOD}),
        "synthesis": network_of("synthesis", variables={"4x4/Const/const": GOOD}),
    }
    outer = network_of("G", components=inner, variables={"lod": GOOD}, static_kwargs={"resolution": 32})
    reading = read(nvlabs.write_tensorflow((outer, network_of("D", variables={"x": GOOD}), outer)))
    assert [p.name for p in reading.parts] == ["G", "D", "Gs"]
    assert set(reading.parts[2].tensors) == {"lod", "mapping/Dense0/weight", "synthesis/4x4/Const/const"}
    assert reading.parts[2].config["resolution"] == 32
    assert reading.parts[2].config["components"]["mapping"]["build_func_name"] == "G_main"
    assert [s.kind for s in reading.sources] == ["tensorflow"]


def hostile_meta(**more) -> dict:
    held = {"type": "class", "version": 6, "module_src": TEXT, "class_name": "Generator", "state": {}}
    return held | more


def persistent(meta: dict, protocol: int = 4) -> bytes:
    return dumps(Reduce(nvlabs.PERSISTENT, (meta,)), protocol)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def test_source_is_judged_as_it_was_when_it_would_have_run():
    """The text of an object that is thrown away, and one exchanged through the memo after its object was made."""
    evil, clean = hostile_meta(module_src="import os\nos.system('id')\n"), hostile_meta(module_src="x = 1\n")
    start = b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n(}q\x01("
    fields = [text(k) + (text(v) if isinstance(v, str) else b"K\x06" if v == 6 else b"}") for k, v in evil.items()]
    made = start + b"".join(fields) + b"utR"
    thrown_away = made + b"0N."
    exchanged = made + b"h\x01" + text("module_src") + text(clean["module_src"]) + b"s0."
    for raw in (thrown_away, exchanged):
        assert "source.system" in told(raw)


SEQUENTIAL = (
    b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81}(" + text("_modules") + b"}" + text("_parameters") + b"}ub"
)

# Ways to call what is on the allow-list without REDUCE, so that neither its bytes nor its text would be looked at.
PERSISTENT = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
EASY = b"\x80\x02cdnnlib.util\nEasyDict\n)\x81" + text("__setstate__") + PERSISTENT + b"s}b"
APPENDING = b"\x80\x02ccollections\nOrderedDict\n)R}" + text("append") + PERSISTENT + b"sb}a."

HOSTILE = {
    "a state that an item of the object takes": (EASY + b".", {"call.unlisted", "pickle.hook"}),
    "the same, cut off behind the call": (EASY, {"call.unlisted", "pickle.hook", "file.truncated"}),
    "an append that the state replaced": (APPENDING, {"call.unlisted", "pickle.malformed"}),
    "a module made by its constructor": (
        b"ctorch.nn.modules.linear\nLinear\n(I999999\nI999999\ntR.",
        {"call.unlisted"},
    ),
    "an array of another shape": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999\ntS'b'\ntR.",
        {"pickle.malformed"},
    ),
    "a name of Python 2": (b"curllib\nurlopen\n(S'http://x'\ntR.", {"call.dangerous"}),
    "a module that grows after its state": (SEQUENTIAL + b"(NNe.", {"pickle.malformed"}),
    "a module whose weights are set twice": (SEQUENTIAL + b"}b.", {"pickle.malformed"}),
    "a module thrown away, with a hook": (
        SEQUENTIAL.replace(text("_modules") + b"}", text("_forward_hooks") + b"}K\x01K\x01s" + text("_modules") + b"}")
        + b"0N.",
        {"pickle.hook"},
    ),
    "a parameter changed after it was made": (
        pickle.dumps({"w": nn.Parameter(torch.zeros(2))}, 2)[:-2] + b"}bs.",
        {"pickle.malformed"},
    ),
    "an array changed after it was made": (
        pickle.dumps([np.zeros(2)], 2)[:-2] + b"K\x00K\x01sa.",
        {"pickle.malformed"},
    ),
    "a nested pickle that calls": (
        dumps(Reduce(Global("torch.storage", "_load_from_bytes"), (EVIL,)), 4),
        {"call.dangerous", "pickle.nested"},
    ),
    "a nested storage file with a call in it": (
        dumps(Reduce(Global("torch.storage", "_load_from_bytes"), (USUAL[:130] + EVIL + USUAL[130:],)), 4),
        {"pickle.nested"},
    ),
    "a payload behind a nested storage": (
        dumps(Reduce(Global("torch.storage", "_load_from_bytes"), (USUAL + EVIL,)), 4),
        {"pickle.trailing", "pickle.nested"},
    ),
    "a hook": (
        nvlabs.write_nvlabs({"G": module(attributes={"_forward_hooks": {1: Global("builtins", "print")}})}),
        {"pickle.hook", "call.unlisted"},
    ),
    "a replaced forward": (
        nvlabs.write_nvlabs({"G": module(attributes={"forward": Global("torch", "Size")})}),
        {"pickle.hook"},
    ),
    "another version": (persistent(hostile_meta(version=5)), {"pickle.malformed"}),
    "another class": (persistent(hostile_meta(class_name="Discriminator")), {"pickle.malformed"}),
    "a magic number that is called": (
        b"cbuiltins\neval\n(V0x1950a86a20f9469cfc6c\ntR." + dumps(1001, 2) + EVIL,
        {"call.dangerous", "pickle.trailing"},
    ),
    "a backward hook": (
        dumps(
            Reduce(
                Global("torch._utils", "_rebuild_parameter"),
                (nvlabs.tensor_value(GOOD), False, Reduce(nvlabs.ORDERED, ([("h", Global("os", "system"))],))),
            )
        ),
        {"pickle.hook", "call.dangerous"},
    ),
    "an array of objects": (pickle.dumps(np.array([1, "a"], dtype=object), 4), {"pickle.object-array"}),
    "a number of object dtype": (
        dumps(Reduce(Global("numpy.core.multiarray", "scalar"), (Reduce(Global("numpy", "dtype"), ("O8",)), EVIL)), 4),
        {"pickle.object-array"},
    ),
    "an expanded tensor": (saved({"w": torch.zeros(1).expand(1 << 21)}), {"tensor.overlap"}),
    "a persistent id for something else": (
        saved({"w": torch.zeros(2)}, "legacy").replace(b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00rogue!!"),
        {"pickle.persistent-id"},
    ),
    "a storage class of another module": (
        saved({"w": torch.zeros(2)}, "legacy").replace(b"ctorch\nFloatStorage", b"cposix\nFloatStorage"),
        {"call.dangerous", "tensor.dtype"},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_is_told(name):
    raw, rules = HOSTILE[name]
    assert rules <= told(raw)


def test_a_file_cut_short_is_truncated_and_gives_no_part():
    for raw in (saved(network().state_dict(), "legacy"), nvlabs.write_nvlabs({"G": module()})):
        for cut in (len(raw) - 3, len(raw) * 2 // 3):
            reading = read(raw[:cut])
            assert "file.truncated" in {e.rule for e in reading.evidence}
            assert {e.severity for e in reading.evidence} <= {"medium", "info"} and not reading.parts


def test_text_is_no_pickle():
    for text in (b"click\nnumpy\n", b"(a) first\n", b"Introduction\n", b"N. B. none\n", b"0.5\n", b"import os\n"):
        assert not objects.matches(memoryview(text))
    assert objects.matches(memoryview(b"cposix\nsystem\n(S'x'\ntR."))


def test_values_that_hold_themselves_end():
    state = network().state_dict()
    loop: dict = {"state": state}
    loop["again"] = [loop, (loop, {"d": loop})]
    reading = read(pickle.dumps(loop, 4))
    assert [p.name for p in reading.parts] == ["state"] and not reading.evidence


@pytest.mark.filterwarnings("ignore")  # torch calls these two old
@pytest.mark.parametrize("normalise", [nn.utils.spectral_norm, nn.utils.weight_norm])
def test_the_hooks_of_torchs_own_normalisations_are_no_attack(normalise):
    assert told(saved(normalise(nn.Linear(3, 3)))) == set()
    other = normalise(nn.Linear(3, 3))
    other._forward_pre_hooks[99] = torch.nn.functional.relu
    assert "pickle.hook" in told(saved(other))


def test_a_small_expanded_tensor_is_no_attack():
    reading = read(saved({"grid": torch.arange(4.0).expand(3, 4)}))
    assert not reading.evidence
    assert reading.parts[0].tensors["grid"].stride == (0, 1)


@pytest.mark.parametrize(
    "value",
    [uuid.UUID(int=7), Fraction(1, 3), np.random.default_rng(3), np.random.RandomState(3), np.random.Philox(3)],
    ids=lambda value: type(value).__name__,
)
def test_plain_objects_of_checkpoints_are_no_attack(value):
    for protocol in (2, 4, 5):
        assert told(pickle.dumps({"extra": value}, protocol)) == set()


@pytest.mark.filterwarnings("ignore")  # torch calls these old as well
def test_tensors_that_are_not_plain_are_told_as_no_more_than_that():
    quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    nested = torch.nested.nested_tensor([torch.ones(2)])
    for value in (quantised, nested, torch.eye(3).to_sparse()):
        assert {e.severity for e in read(saved({"w": value})).evidence} == {"medium"}
