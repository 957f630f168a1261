"""Writes model files in NVlabs' layouts from tensors: StyleGAN2-ADA and StyleGAN3, and the TensorFlow era's tuples.

What it writes is data. The program text that such files carry comes from the caller; none of it is in this package.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genvet.files.pickle_writer import Global, New, Persistent, Reduce, dumps

_STORAGES = {
    "float64": ("DoubleStorage", 8),
    "float32": ("FloatStorage", 4),
    "float16": ("HalfStorage", 2),
    "bfloat16": ("BFloat16Storage", 2),
    "int64": ("LongStorage", 8),
    "int32": ("IntStorage", 4),
    "uint8": ("ByteStorage", 1),
    "bool": ("BoolStorage", 1),
}

_CODES = {"float64": "f8", "float32": "f4", "float16": "f2", "int64": "i8", "int32": "i4", "uint8": "u1", "bool": "b1"}
_HOOKS = tuple(
    "_backward_pre_hooks _backward_hooks _is_full_backward_hook _forward_hooks _forward_hooks_with_kwargs "
    "_forward_hooks_always_called _forward_pre_hooks _forward_pre_hooks_with_kwargs _state_dict_hooks "
    "_state_dict_pre_hooks _load_state_dict_pre_hooks _load_state_dict_post_hooks".split()
)
_BUFFERS = frozenset(
    "w_avg resample_filter noise_const magnitude_ema up_filter down_filter freqs phases transform".split()
)
_MAGIC = 0x1950A86A20F9469CFC6C

ORDERED = Global("collections", "OrderedDict")
PERSISTENT = Global("torch_utils.persistence", "_reconstruct_persistent_obj")
EASY = Global("dnnlib.util", "EasyDict")


@dataclass(frozen=True, eq=False)
class Tensor:
    """A contiguous little-endian tensor as bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def stride(self) -> tuple[int, ...]:
        strides, n = [], 1
        for size in reversed(self.shape):
            strides.append(n)
            n *= size
        return tuple(reversed(strides))


@dataclass(frozen=True, eq=False, kw_only=True)
class Module:
    """A module of a persistent class: what its `__dict__` holds, and the text that it comes from."""

    class_name: str
    source: str = ""
    """Text of its module; empty takes that of the enclosing one."""
    parameters: Mapping[str, Tensor | None] = field(default_factory=dict)
    """None stands for one that the module could have and has not, as torch keeps it."""
    buffers: Mapping[str, Tensor | None] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Written last: may also replace what a plain module holds, such as a hook dictionary."""
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)


def storage_bytes(tensor: Tensor, key: str = "94000000000000") -> bytes:
    """The nested legacy torch file that `torch.storage._load_from_bytes` is given."""
    name, size = _STORAGES[tensor.dtype]
    numel = len(tensor.data) // size
    header = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    storage = Persistent(("storage", Global("torch", name), key, "cpu", numel, None))
    pickles = [dumps(x, 2) for x in (_MAGIC, 1001, header, storage, [key])]
    return b"".join(pickles) + struct.pack("<q", numel) + tensor.data


def tensor_value(tensor: Tensor, *, parameter: bool = False, load: bytes | None = None) -> Reduce:
    """The call that makes this tensor, or parameter, from its nested storage (`load` puts other bytes in its place)."""
    storage = Reduce(Global("torch.storage", "_load_from_bytes"), (storage_bytes(tensor) if load is None else load,))
    hooks = Reduce(ORDERED, ())
    args = (storage, 0, tensor.shape, tensor.stride, False, hooks)
    made = Reduce(Global("torch._utils", "_rebuild_tensor_v2"), args)
    if not parameter:
        return made
    return Reduce(Global("torch._utils", "_rebuild_parameter"), (made, False, Reduce(ORDERED, ())))


def module_value(module: Module, source: str = "") -> Reduce:
    """The call that makes this object, with its own text and state and those of all modules inside."""
    text = module.source or source
    meta = {
        "type": "class",
        "version": 6,
        "module_src": text,
        "class_name": module.class_name,
        "state": _state(module, text),
    }
    return Reduce(PERSISTENT, (meta,))


def _state(module: Module, source: str) -> dict[str, Any]:
    state: dict[str, Any] = {
        "training": False,
        "_parameters": {k: t and tensor_value(t, parameter=True) for k, t in module.parameters.items()},
        "_buffers": {k: t and tensor_value(t) for k, t in module.buffers.items()},
        "_non_persistent_buffers_set": set(),
    }
    state |= {name: None if name.startswith("_is") else Reduce(ORDERED, ()) for name in _HOOKS}
    state["_modules"] = {k: module_value(m, source) for k, m in module.modules.items()}
    state |= {"_init_args": (), "_init_kwargs": New(EASY, items=module.init_kwargs)}
    return state | dict(module.attributes)


def write_nvlabs(parts: Mapping[str, Module], *, extras: Mapping[str, Any] | None = None, protocol: int = 4) -> bytes:
    """A file as StyleGAN2-ADA and StyleGAN3 save it: G, D, G_ema ... by name, and plain extras beside them."""
    content = {name: module_value(module) for name, module in parts.items()} | dict(extras or {})
    return dumps(content, protocol)


def tree(
    tensors: Mapping[str, Tensor],
    classes: Mapping[str, str],
    *,
    source: str,
    buffers: frozenset[str] = _BUFFERS,
    init_kwargs: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Module:
    """Nest a state dict's dotted names. `classes` gives each path's class, "" the root's; `buffers` are last names."""
    here = {k: t for k, t in tensors.items() if "." not in k}
    inner: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if "." in key:
            child, _, rest = key.partition(".")
            inner.setdefault(child, {})[rest] = tensor
    below = {child: _below(classes, child) for child in inner}
    return Module(
        class_name=classes[""],
        source=source,
        parameters={k: t for k, t in here.items() if k not in buffers},
        buffers={k: t for k, t in here.items() if k in buffers},
        modules={child: tree(t, below[child], source=source, buffers=buffers) for child, t in inner.items()},
        attributes=attributes or {},
        init_kwargs=init_kwargs or {},
    )


def _below(classes: Mapping[str, str], child: str) -> dict[str, str]:
    return {k[len(child) + 1 :]: v for k, v in classes.items() if k == child or k.startswith(child + ".")}


def array_value(tensor: Tensor) -> Reduce:
    """The call that makes this numpy array, its data inline."""
    code = {
        "float32": "f4",
        "float64": "f8",
        "float16": "f2",
        "int64": "i8",
        "int32": "i4",
        "uint8": "u1",
        "bool": "b1",
    }
    order = "|" if tensor.dtype in ("uint8", "bool") else "<"
    dtype = Reduce(Global("numpy", "dtype"), (code[tensor.dtype], False, True), (3, order, None, None, None, -1, -1, 0))
    made = (Global("numpy", "ndarray"), (0,), b"b")
    state = (1, tensor.shape, dtype, False, tensor.data)
    return Reduce(Global("numpy.core.multiarray", "_reconstruct"), made, state)


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A network of the TensorFlow era, as dnnlib's tflib saves it."""

    name: str
    source: str
    function: str
    """The function of the text that builds it."""
    variables: Mapping[str, Tensor] = field(default_factory=dict)
    static_kwargs: Mapping[str, Any] = field(default_factory=dict)
    components: Mapping[str, Network] = field(default_factory=dict)


def network_value(network: Network) -> New:
    """The object with its own text and state and those of its components."""
    state = {
        "version": 5,
        "name": network.name,
        "static_kwargs": New(EASY, items=network.static_kwargs),
        "components": New(EASY, items={k: network_value(n) for k, n in network.components.items()}),
        "build_module_src": network.source,
        "build_func_name": network.function,
        "variables": [(k, array_value(t)) for k, t in network.variables.items()],
    }
    return New(Global("dnnlib.tflib.network", "Network"), (), state)


def write_tensorflow(networks: tuple[Network, ...], *, protocol: int = 4) -> bytes:
    """A file as StyleGAN and StyleGAN2 of the TensorFlow era save it: the tuple (G, D, Gs)."""
    return dumps(tuple(network_value(n) for n in networks), protocol)
