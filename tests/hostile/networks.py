"""Small style generators in NVlabs' file layout, written opcode by opcode: clean, and with a payload."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hostile.case import Case, case
from hostile.streams import evil_stream, system
from hostile.texts import HONEST, hostile

from genvet.files.nvlabs_writer import (
    Module,
    Network,
    Tensor,
    module_value,
    tensor_value,
    tree,
    write_nvlabs,
    write_tensorflow,
)
from genvet.files.pickle_writer import Global, Persistent, Raw, Reduce, Writer, dumps
from genvet.nets.build import build

SMALL = {"size": 16, "z_dim": 8, "w_dim": 8, "channel_base": 128, "channel_max": 8, "mapping_layers": 2}
_CLASSES = {"": "Generator", "mapping": "Mapping", "synthesis": "Synthesis", "synthesis.input": "Layer"}


def stored(tensor: torch.Tensor) -> Tensor:
    return Tensor(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tensor.contiguous().numpy().tobytes())


def generator(
    net: str = "stylegan2", source: str = HONEST, network: torch.nn.Module | None = None, **attributes: Any
) -> Module:
    """A generator of ours as NVlabs' objects: its tensors, its init arguments, a stand-in text."""
    network = network or build(net, SMALL).module
    state = {name: stored(t) for name, t in network.state_dict().items()}
    buffers = {name.rpartition(".")[2] for name, _ in network.named_buffers()}
    paths = {name.rpartition(".")[0] for name in state}
    paths |= {path.rpartition(".")[0] for path in paths}
    classes = {path: _CLASSES.get(path, _class(path)) for path in paths} | _CLASSES
    sizes = {"channel_base": SMALL["channel_base"], "channel_max": SMALL["channel_max"]}
    kwargs: dict[str, Any] = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 16, "img_channels": 3}
    kwargs |= {"mapping_kwargs": {"num_layers": 2}} | (sizes if net == "stylegan3" else {"synthesis_kwargs": sizes})
    return tree(
        state,
        classes,
        source=source,
        buffers=frozenset(buffers),
        init_kwargs=kwargs,
        attributes={"z_dim": 8} | attributes,
    )


def _class(path: str) -> str:
    name = path.rpartition(".")[2]
    return "Dense" if name.startswith("fc") or name in ("affine", "embed") else "Block" if name[:1] == "b" else "Layer"


def clean() -> Iterator[Case]:
    """Nothing at or above high may be said about these."""
    both = {"G": generator(), "G_ema": generator()}
    extras = {"training_set_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "path": "x.zip"}}
    yield case("stylegan2", write_nvlabs(both, extras=extras))
    yield case("stylegan2-protocol-3", write_nvlabs({"G_ema": generator()}, protocol=3))
    yield case("stylegan2-protocol-5", write_nvlabs({"G_ema": generator()}, protocol=5))
    yield case("stylegan3", write_nvlabs({"G_ema": generator("stylegan3")}, extras={"augment_pipe": None}))
    yield case("tensorflow", write_tensorflow(tuple(of_tensorflow() for _ in range(3))))


def of_tensorflow(
    text: str = "import numpy as np\nimport tensorflow as tf\n\ndef G(latents_in, **kwargs):\n    return latents_in\n",
) -> Network:
    weight = Tensor("float32", (4, 4), struct.pack("<16f", *range(16)))
    return Network(name="G", source=text, function="G", variables={"mapping/Dense0/weight": weight})


def in_source(marker: str) -> Iterator[Case]:
    """Payloads in the text that comes with the weights."""
    for name, (text, rule) in hostile(marker).items():
        advisory = "" if "bypass" in name else "picklescan 1.0.5 and modelscan 0.8.8 pass such a file"
        yield case(f"source-{name}", write_nvlabs({"G_ema": generator(source=text)}), rule, advisory=advisory)
    text = f"import tensorflow as tf\nopen({marker!r}, 'w')\ndef G(latents_in): return latents_in\n"
    yield case("source-tensorflow", write_tensorflow((of_tensorflow(text),)), "source.module-call", "source.system")


def in_state(marker: str) -> Iterator[Case]:
    """Payloads in what the objects hold: hooks, storages, arrays, objects of other classes."""
    call = Reduce(system(), (f"touch {marker}",))
    yield case("hook", _with(_forward_hooks={0: Global("builtins", "print")}), "pickle.hook")
    hooks = Reduce(Global("collections", "OrderedDict"), ([(0, Global("os", "system"))],))
    yield case("hook-pairs", _with(_forward_pre_hooks=hooks), "pickle.hook", "call.dangerous")
    yield case("attribute-call", _with(extra=call), "call.dangerous")
    yield case("init-kwargs-call", _with(_init_kwargs={"z_dim": call}), "call.dangerous")
    yield case("call-as-key", write_nvlabs({"G_ema": generator()}, extras={"x": {1: call}}), "call.dangerous")
    nested = tensor_value(stored(torch.ones(2)), load=evil_stream(marker))
    yield case("nested-storage", _with(_parameters={"weight": nested}), "call.dangerous", advisory="picklescan 1.0.5")
    double = tensor_value(stored(torch.ones(2)), load=dumps(Reduce(Global("torch", "load"), (evil_stream(marker),)), 3))
    yield case("nested-twice", _with(_buffers={"w": double}), "call.dangerous")
    yield case("object-array", _with(extra=_object_array(marker)), "pickle.object-array")
    yield case("object-scalar", _with(extra=_object_scalar(marker)), "pickle.object-array", advisory="numpy scalar(O)")
    yield case("persistent-id", _with(extra=Persistent(("storage", marker))), "pickle.persistent-id")
    yield case("text-that-is-no-text", _meta(module_src=call), "call.dangerous")
    yield case("unknown-version", _meta(version=7), "pickle.malformed")
    yield case("unpickling-class", _meta(type="function"), "pickle.malformed")
    wide = Raw(dumps(1)[:-1])
    yield case("stream-in-stream", _with(extra=wide), "pickle.opcode")
    yield case("out-of-bounds", _with(_parameters={"w": _tensor(offset=1 << 40)}), "tensor.bounds")
    yield case("overlap", _with(_parameters={"w": _tensor(shape=(1 << 20, 1 << 20), stride=(0, 0))}), "tensor.overlap")


def _with(**attributes: Any) -> bytes:
    return write_nvlabs({"G_ema": generator(**attributes)})


def _meta(**changes: Any) -> bytes:
    made = module_value(generator())
    meta: Mapping[str, Any] = made.args[0]
    return dumps({"G_ema": Reduce(made.function, (dict(meta) | changes,))})


def _object_dtype() -> Reduce:
    state = (3, "|", None, None, None, -1, -1, 63)
    return Reduce(Global("numpy", "dtype"), ("O8", False, True), state)


def _object_array(marker: str) -> Reduce:
    state = (1, (1,), _object_dtype(), False, [marker])
    return Reduce(Global("numpy.core.multiarray", "_reconstruct"), (Global("numpy", "ndarray"), (0,), b"b"), state)


def _object_scalar(marker: str) -> Reduce:
    return Reduce(Global("numpy.core.multiarray", "scalar"), (_object_dtype(), evil_stream(marker)))


def _tensor(offset: int = 0, shape: tuple[int, ...] = (2,), stride: tuple[int, ...] = (1,)) -> Reduce:
    plain = tensor_value(stored(torch.ones(2)))
    storage, _, _, _, grad, hooks = plain.args
    return Reduce(plain.function, (storage, offset, shape, stride, grad, hooks))


def in_stream(marker: str) -> Iterator[Case]:
    """Whole files of the layout whose stream deceives."""
    whole = write_nvlabs({"G_ema": generator()})
    evil, unframed = evil_stream(marker), dumps(Reduce(system(), (f"touch {marker}",)), frames=False)
    yield case("stacked", whole + evil, "pickle.trailing", "call.dangerous", advisory="picklescan malicious6")
    yield case("stacked-first", evil + whole, "pickle.trailing", "call.dangerous")
    yield case("frame-lie", _frame_lie(whole, 100), "pickle.frame", advisory="cpython #154848")
    yield case("frame-too-long", _frame_lie(whole, 1 << 40), "pickle.frame")
    yield case("truncated-payload", unframed[:-1], "call.dangerous", advisory="nullifAI: broken stream")
    yield case("payload-then-garbage", evil[:-1] + b"\xff\xff\xff" + whole, "call.dangerous", advisory="nullifAI")
    first = Writer(4).raw(b"}(").value("a").value(Reduce(system(), (f"touch {marker}",))).raw(b"0")
    hidden = first.value("b").raw(b"0N").raw(b"u")
    yield case("popped-call", hidden.finish(), "call.dangerous", advisory="fickling GHSA-mxhj")


def _frame_lie(data: bytes, length: int) -> bytes:
    at = data.index(b"\x95")
    return data[: at + 1] + struct.pack("<Q", length) + data[at + 9 :]
