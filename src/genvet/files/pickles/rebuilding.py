"""The constructors of tensors, arrays and storages, carried out on inert arguments. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.files.pickles import arrays, legacy
from genvet.files.pickles.globals import normal
from genvet.files.pickles.inert import BytesLike, Global, Record
from genvet.files.pickles.machine import Evaluate
from genvet.files.pickles.storages import ITEM, Storage, tensor_dtype, view
from genvet.files.reading import Reading, Stop

_TORCH_REBUILDS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)
_NOT_PLAIN = (
    "_rebuild_sparse_tensor",
    "_rebuild_qtensor",
    "_rebuild_meta_tensor_no_storage",
    "_rebuild_nested_tensor",
    "_rebuild_device_tensor_from_numpy",
)


def evaluators(reading: Reading, place: str) -> Evaluate:
    """What `pickles.run` shall carry out in a model file: (module, name) -> function of the arguments."""
    torch = _Torch(reading, place)
    table: dict[tuple[str, str], Callable[[tuple[Any, ...], int], Any]] = {
        **{("torch._utils", name): getattr(torch, name.lstrip("_")) for name in _TORCH_REBUILDS},
        **{("torch._utils", name): torch.not_plain for name in _NOT_PLAIN},
        ("torch._tensor", "_rebuild_from_type_v2"): torch.rebuild_from_type,
        ("torch.storage", "_load_from_bytes"): torch.load_from_bytes,
        ("torch", "Size"): torch.size,
        ("numpy", "dtype"): _dtype,
        ("numpy.core.multiarray", "scalar"): arrays.scalar,
        ("numpy.core.multiarray", "_reconstruct"): arrays.reconstruct,
        ("numpy.core.numeric", "_frombuffer"): lambda args, offset: _array(reading, args, offset),
    }
    return table


def _dtype(args: tuple[Any, ...], offset: int) -> Record:
    arrays.check_dtype(args, offset)
    return Record(Global("numpy", "dtype", offset), args, "reduce", offset)


def _array(reading: Reading, args: tuple[Any, ...], offset: int) -> Any:
    return arrays.from_buffer(reading, args) or Record(Global("numpy.core.numeric", "_frombuffer", offset), args)


class _Torch:
    """Each method takes the arguments that the constructor of its name would be given."""

    def __init__(self, reading: Reading, place: str) -> None:
        self.reading, self.place = reading, place

    def _view(self, storage: Any, first: Any, shape: Any, stride: Any, dtype: str = "") -> TensorSpec:
        spec = view(storage, first, shape, stride, dtype)
        if any(step == 0 and n > 1 for step, n in zip(spec.stride, spec.shape, strict=True)):
            self.reading.unpack(math.prod(spec.shape) * ITEM[spec.dtype])  # what it would take if it were copied
        return spec

    def rebuild_tensor(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        storage, first, shape, stride = _arguments(args, 4, 4, offset)
        return self._view(storage, first, shape, stride)

    def rebuild_tensor_v2(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        storage, first, shape, stride, _, hooks = _arguments(args, 6, 7, offset)[:6]
        self._no_hooks(hooks, offset)
        return self._view(storage, first, shape, stride)

    def rebuild_tensor_v3(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        storage, first, shape, stride, _, hooks, dtype = _arguments(args, 7, 8, offset)[:7]
        self._no_hooks(hooks, offset)
        return self._view(storage, first, shape, stride, tensor_dtype(dtype))

    def rebuild_parameter(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        tensor, _, hooks = _arguments(args, 3, 3, offset)
        self._no_hooks(hooks, offset)
        return _tensor(tensor, offset)

    def rebuild_parameter_with_state(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        tensor, _, hooks, _ = _arguments(args, 4, 4, offset)
        self._no_hooks(hooks, offset)
        return _tensor(tensor, offset)

    def rebuild_from_type(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        """A tensor with attributes: (function that rebuilds it, its class, the arguments, the attributes)."""
        function, _, inner, _ = _arguments(args, 4, 4, offset)
        if isinstance(function, Global) and isinstance(inner, tuple):
            module, name = normal(function.module, function.name)
            if module == "torch._utils" and name in _TORCH_REBUILDS:
                return getattr(self, name.lstrip("_"))(inner, offset)
            if module == "torch._utils" and name in _NOT_PLAIN:
                return self.not_plain(inner, offset)
        raise Stop("call.unlisted", f"byte {offset} has a tensor rebuilt by {function!r:.100}", offset)

    def not_plain(self, args: tuple[Any, ...], offset: int) -> TensorSpec:
        raise Stop("tensor.dtype", f"a sparse, quantised or empty tensor at byte {offset}", offset)

    def size(self, args: tuple[Any, ...], offset: int) -> tuple[Any, ...]:
        match args:
            case (tuple() | list() as sizes,):
                return tuple(sizes)
        raise Stop("pickle.malformed", f"a torch.Size of something else than a list at byte {offset}", offset)

    def load_from_bytes(self, args: tuple[Any, ...], offset: int) -> Storage:
        """The storage inside: loading would unpickle these bytes without any restriction, so all in them is told."""
        (raw,) = _arguments(args, 1, 1, offset)
        if not isinstance(raw, BytesLike):
            raise Stop("pickle.malformed", f"a storage made of a {type(raw).__name__} at byte {offset}", offset)
        place = f"{self.place} > storage at byte {offset}".strip(" >")
        known = len(self.reading.evidence)
        try:
            value = legacy.read_value(memoryview(raw), self.reading, place)
        except Stop as stop:
            self._tell_nested(known, offset)
            raise Stop(stop.rule, f"the storage loaded at byte {offset}: {stop.message}", offset) from None
        self._tell_nested(known, offset)
        if not isinstance(value, Storage):
            raise Stop("pickle.nested", f"what byte {offset} loads as a storage is none", offset)
        return value

    def _tell_nested(self, known: int, offset: int) -> None:
        """Where the inner pickle asks for more than a storage class."""
        rules = {e.rule for e in self.reading.evidence[known:]}
        if rules:
            message = f"the bytes loaded as a storage at byte {offset} are a pickle that does more"
            self.reading.note(
                "pickle.nested", message, place=self.place, offset=offset, detail=", ".join(sorted(rules))
            )

    def _no_hooks(self, hooks: Any, offset: int) -> None:
        filled = hooks if isinstance(hooks, dict) else isinstance(hooks, Record) and (hooks.items or hooks.args)
        if filled:
            message = f"a tensor with a backward hook at byte {offset}"
            self.reading.note("pickle.hook", message, place=self.place, offset=offset)


def _arguments(args: tuple[Any, ...], least: int, most: int, offset: int) -> tuple[Any, ...]:
    if least <= len(args) <= most:
        return args
    raise Stop("pickle.malformed", f"byte {offset} rebuilds a tensor from {len(args)} arguments", offset)


def _tensor(value: Any, offset: int) -> TensorSpec:
    if isinstance(value, TensorSpec):
        return value
    raise Stop("pickle.malformed", f"byte {offset} makes a parameter of a {type(value).__name__}", offset)
