"""Mutated model files of every format through the readers, in one process: `python benchmarks/fuzz_readers.py`.

Each input follows from (seed, number) alone: `--start` resumes a run, and `--only NUMBER` repeats one input.
Checked for each: nothing but BadInput comes out, nothing audited is done, time and memory stay within limits.
"""

from __future__ import annotations

import argparse
import bz2
import collections
import gzip
import io
import lzma
import os
import random
import resource
import signal
import struct
import sys
import tarfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from genvet.core.errors import BadInput
from genvet.files import child, keras_file, limits, pickle_writer, sandbox
from genvet.files.nvlabs_writer import Module, Tensor, write_nvlabs

DATA = Path(os.environ.get("GENVET_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
SECONDS_EACH = 5.0
"""Of processor time. The child has 2 s for a file of a few kilobytes, and one more for each megabyte it unpacks to."""
MEMORY = 64 * 1_048_576 + 4 * 64 * 1_048_576
"""What a file of that size may take by the limits: 64 MiB, and four times the 64 MiB that it may unpack to."""
LARGEST_SEED = 30_000
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def seeds(real: bool = True) -> dict[str, bytes]:
    """Small files of every format: generated ones, and real ones where the shared data are there."""
    found = {**_pickles(), **_torch_files(), **_arrays(), **_onnx(), **_hdf5()}
    found |= _containers(found)
    if real and DATA.is_dir():
        paths = [*sorted((DATA / "suspicious").rglob("*.*")), *sorted((DATA / "generators").rglob("*.*"))]
        for path in paths:
            data = path.read_bytes()
            # Of large files the start, which holds the structure, and a little of the end.
            found[f"real:{path.name}"] = data if len(data) <= LARGEST_SEED else data[:20_000] + data[-2_000:]
    return found


def _pickles() -> dict[str, bytes]:
    source = "import torch\n\n\nclass Generator(torch.nn.Module):\n    def forward(self, z):\n        return z\n"
    layer = Module(class_name="Generator", parameters={"weight": Tensor("float32", (2, 3), bytes(24))})
    whole = Module(class_name="Generator", source=source, modules={"a": layer, "b": layer})
    value = {"a": [1, 2.5, None, True], "b": ("x", b"y" * 20, {3, 4}), 5: "z" * 40}
    plain = {f"pickle-{p}": pickle_writer.dumps(value, p) for p in (3, 4)}
    hostile = {"pickle-hostile": b"\x80\x02cos\nsystem\nU\x04trueq\x00\x85R.", "pickle-0": b"(dp0\nS'a'\np1\nI1\ns."}
    return {
        **plain,
        **hostile,
        **{f"nvlabs-{p}": write_nvlabs({"G": whole, "G_ema": whole}, protocol=p) for p in (3, 4)},
    }


def _torch_files() -> dict[str, bytes]:
    import torch
    from safetensors.torch import save

    tensors = {"a.weight": torch.randn(4, 3), "a.bias": torch.zeros(4).half(), "n": torch.arange(3)}
    new, old, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"g_ema": tensors, "step": 3}, new)
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), old, _use_new_zipfile_serialization=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())), script)
    return {
        "torch-zip": new.getvalue(),
        "torch-legacy": old.getvalue(),
        "torchscript": script.getvalue(),
        "safetensors": save(tensors, metadata={"genvet.net": "dcgan", "note": "x"}),
    }


def _arrays() -> dict[str, bytes]:
    import numpy as np

    out, packed, single = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(out, a=np.arange(6).reshape(2, 3), b=np.ones(2, ">f4"))
    np.savez_compressed(packed, a=np.arange(60))
    np.save(single, np.array([{"a": 1}, "x"], dtype=object))
    return {"npz": out.getvalue(), "npz-packed": packed.getvalue(), "npy-object": single.getvalue()}


def _onnx() -> dict[str, bytes]:
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return {}
    import numpy as np

    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, np.float32)))],
        "then",
        [],
        [value("c", TensorProto.FLOAT, [3])],
    )
    nodes = [
        helper.make_node("Gemm", ["z", "w"], ["h"], alpha=1.5, transB=1),
        helper.make_node("If", ["h"], ["x"], then_branch=inner, else_branch=inner),
    ]
    typed = helper.make_tensor("t", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0])
    held = [numpy_helper.from_array(np.ones((3, 2), np.float32), "w"), typed]
    graph = helper.make_graph(nodes, "g", [value("z", 1, ["n", 2])], [value("x", 1, None)], held)
    return {"onnx": helper.make_model(graph).SerializeToString()}


def _hdf5() -> dict[str, bytes]:
    try:
        import h5py
    except ImportError:
        return {}
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["model_config"] = (
            '{"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Lambda", '
            '"config": {"function": "lambda x: x"}}]}}'
        )
        file.create_dataset("model_weights/d/kernel:0", data=[[1.0, 2.0]])
        file.create_dataset("model_weights/d/bias:0", data=[1.0] * 8, chunks=(4,), compression="gzip")
    return {"hdf5": out.getvalue()}


def _containers(inside: dict[str, bytes]) -> dict[str, bytes]:
    """Archives and wrappers around some of the others."""
    payload, config = inside["pickle-hostile"], b'{"class_name": "Sequential", "config": {"layers": []}}'
    keras = {"config.json": config, "metadata.json": b"{}", "model.weights.h5": inside.get("hdf5", b"")}
    found = {
        "zip": zipped({"a.txt": b"hello", "b/m.bin": payload}, zipfile.ZIP_STORED),
        "zip-packed": zipped({"a": payload * 9, "b": inside["pickle-4"]}, zipfile.ZIP_DEFLATED),
        "keras": zipped(keras, zipfile.ZIP_DEFLATED),
        "gzip": gzip.compress(payload),
        "bzip2": bz2.compress(payload),
        "xz": lzma.compress(payload),
        "7z": sevenzip(payload * 5),
    }
    for name, form in (("tar-gnu", tarfile.GNU_FORMAT), ("tar-pax", tarfile.PAX_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            info = tarfile.TarInfo("folder/" * 16 + "m.pkl")
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
        found[name] = out.getvalue().rstrip(b"\0") + bytes(1024)
    return found


def zipped(members: dict[str, bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def sevenzip(content: bytes) -> bytes:
    """A 7z archive of one LZMA2 member, its header plain. Checksums are left at zero: the reader notes and reads on."""
    packed = lzma.compress(content, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}])
    size = b"\x80" + bytes([len(content)]) if len(content) > 127 else bytes([len(content)])
    header = (
        b"\x01\x04\x06\x00\x01\x09" + bytes([len(packed)]) + b"\x00\x07\x0b\x01\x00\x01\x21\x21\x01\x00\x0c" + size
        + b"\x00\x00\x05\x01\x11\x05\x00m\x00\x00\x00\x00\x00"
    )  # fmt: skip
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(4) + struct.pack("<QQI", len(packed), len(header), 0) + packed + header


def mutated(number: int, seed: int, corpus: dict[str, bytes]) -> tuple[str, bytes]:
    """Input number `number`: a file of the corpus with one to eight changes, sometimes wrapped once more."""
    rng = random.Random(f"{seed}:{number}")
    names = list(corpus)
    # Generated files are small and every format's: they get half of the inputs.
    own = [n for n in names if not n.startswith("real:")]
    name = rng.choice(own if rng.random() < 0.5 else names)
    data = bytearray(corpus[name])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        rng.choice(_CHANGES)(data, rng, corpus)
    wrap = rng.random()
    if wrap < 0.02:
        return f"{name} in gzip", gzip.compress(bytes(data), 1)
    if wrap < 0.06:
        return f"{name} in zip", zipped({rng.choice(("data.pkl", "m", "a/b")): bytes(data)}, zipfile.ZIP_STORED)
    return name, bytes(data)


def _flip(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _edge(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    """A number at the edge of its range, in any width and order."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    if len(data) > width:
        at = rng.randrange(len(data) - width)
        value = (rng.choice(_EDGES) - rng.randrange(2)) & ((1 << (8 * width)) - 1)
        data[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]


def _cut(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _drop(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.randrange(1, 64)]


def _repeat(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.randrange(1, 256)]
    data[at:at] = piece * rng.choice((1, 2, 30))


def _splice(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    """A stretch of another file, put in or put over."""
    other = rng.choice(list(corpus.values()))
    start = rng.randrange(len(other) + 1)
    piece = other[start : start + rng.choice((4, 30, 300, 3000))]
    at = rng.randrange(len(data) + 1)
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def _append(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    """Two files in one: readers may start at either end."""
    other = rng.choice(list(corpus.values()))[:8000]
    data[:] = data + other if rng.random() < 0.5 else bytearray(other) + data


def _digits(data: bytearray, rng: random.Random, corpus: dict[str, bytes]) -> None:
    """A decimal number in text grows: headers of safetensors, npy and pickles."""
    places = [i for i, b in enumerate(data[:4096]) if 48 <= b <= 57]
    if places:
        data[(at := rng.choice(places)) : at] = rng.choice((b"9" * 3, b"9" * 19, b"-", b"1e9", b"0"))


_CHANGES: tuple[Callable[[bytearray, random.Random, dict[str, bytes]], None], ...] = (
    _flip, _flip, _byte, _byte, _byte, _edge, _edge, _edge, _cut, _drop, _repeat, _splice, _splice, _append, _digits,
)  # fmt: skip


class Overdue(Exception):
    """One input took longer than it may."""


def _overdue(signum: int, frame: FrameType | None) -> None:
    _resting.append(True)  # quoting the lines opens their files
    raise Overdue("".join(traceback.format_stack(frame, limit=6)))


acts: list[str] = []
"""What a reader did that the audit hook forbids: must stay empty."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Stands in for the child's seal: refuses the same, and remembers it.

    CPython itself tries to open a text that does not parse by the name given to it, to quote the line. It goes without.
    """
    try:
        limits._refuse(event, arguments)
    except PermissionError:
        if _resting:
            return
        if (event, arguments[:1]) != ("open", ("<source text>",)):
            acts.append(f"{event} {arguments!r:.200}")
        raise


_resting: list[bool] = [True]


class Run:
    """Counts inputs by what they started as and by what they were read as, and keeps what went wrong."""

    def __init__(self, seed: int, corpus: dict[str, bytes]) -> None:
        self.seed, self.corpus = seed, corpus
        self.began = collections.Counter[str]()
        self.read_as = collections.Counter[str]()
        self.failures: list[str] = []
        self.slowest = (0.0, -1)

    def one(self, number: int) -> None:
        name, data = mutated(number, self.seed, self.corpus)
        self.began[name.split(":")[0]] += 1
        _resting.clear()
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        start = time.process_time()
        try:
            self.read_as[sandbox.read_in_process(data, "fuzz").format.split(" > ")[0]] += 1
        except BadInput:
            self.read_as["no model"] += 1
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _resting.append(True)
            if isinstance(error, KeyboardInterrupt):
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            shown = f"{type(error).__name__}: {str(error)[:600]} at {Path(last.filename).name}:{last.lineno}"
            self.failures.append(f"input {number} ({name}, {len(data)} bytes): {shown}")
            print(self.failures[-1], flush=True)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _resting.append(True)
        took = time.process_time() - start
        self.slowest = max(self.slowest, (took, number))
        if took > SECONDS_EACH:
            self.failures.append(f"input {number} ({name}, {len(data)} bytes): {took:.1f} s")
            print(self.failures[-1], flush=True)

    def summary(self, count: int, seconds: float, before: int) -> str:
        return (
            f"{count} inputs (seed {self.seed}) in {seconds:.0f} s: {len(self.failures)} failures, "
            f"{len(acts)} forbidden acts, slowest {self.slowest[0]:.2f} s (input {self.slowest[1]}), "
            f"peak memory {_peak() - before} MB above the start, limit {MEMORY >> 20} MB"
        )


def _peak() -> int:
    """The most memory that this process has held since `_forget_peak`, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", type=int, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    corpus = seeds()
    keras_file.prepare()
    child._warm()
    run = Run(options.seed, corpus)
    for data in corpus.values():  # what the libraries load on first use
        with_first_use(data)
    _forget_peak()
    before = _peak()
    space = limits._address_space() + MEMORY  # the same cap that the child has, so that exceeding it shows here as well
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    signal.signal(signal.SIGPROF, _overdue)
    sys.addaudithook(_watch)
    numbers = [options.only] if options.only is not None else range(options.start, options.start + options.count)
    began = time.perf_counter()
    for done, number in enumerate(numbers, 1):
        run.one(number)
        if done % 10_000 == 0:
            print(run.summary(done, time.perf_counter() - began, before), flush=True)
    print("started as:", dict(run.began.most_common()))
    print("read as:", dict(run.read_as.most_common()))
    print("forbidden acts:", dict(collections.Counter(acts).most_common(20)))
    print(run.summary(len(numbers), time.perf_counter() - began, before))
    return 1 if run.failures or acts else 0


def with_first_use(data: bytes) -> None:
    try:
        sandbox.read_in_process(data, "warm")
    except BadInput:
        return


if __name__ == "__main__":
    sys.exit(main())
