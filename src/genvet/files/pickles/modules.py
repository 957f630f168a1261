"""Reads records of dicts, modules and arrays as data: what a mapping holds, what tensors a module has by dotted name.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.files.pickles import arrays
from genvet.files.pickles.inert import Global, Record
from genvet.files.reading import Reading, Stop

_MAPPINGS = {"OrderedDict", "EasyDict", "defaultdict", "dict", "Counter"}
_STATE_ONLY = {"Namespace", "SimpleNamespace"}
_HOOKS = re.compile(r"_\w*_hooks(_\w+)?")
_LIBRARY_HOOKS = {
    "torch.nn.utils.weight_norm.WeightNorm",
    "torch.nn.utils.spectral_norm.SpectralNorm",
    "torch.nn.utils.spectral_norm.SpectralNormStateDictHook",
    "torch.nn.utils.spectral_norm.SpectralNormLoadStateDictPreHook",
}
_OVERRIDES = frozenset("forward _call_impl _wrapped_call_impl _compiled_call_impl __class__ __setstate__".split())


def mapping(value: Any) -> dict[str, Any] | None:
    """A dict, or a record of something like one, by its texts and numbers as keys; None for anything else."""
    if isinstance(value, dict):
        pairs: Any = value.items()
    elif isinstance(value, Record) and isinstance(value.callee, Global) and value.callee.name in _MAPPINGS:
        pairs = value.items
    elif isinstance(value, Record) and isinstance(value.callee, Global) and value.callee.name in _STATE_ONLY:
        return mapping(value.state)
    else:
        return None
    held = {str(k): v for k, v in pairs if isinstance(k, (str, int))}
    return held | {k: v for k, v in pairs if isinstance(k, str)}  # of 1 and "1" the text is the name of a tensor


def is_persistent(value: Any) -> bool:
    """A persistent object of NVlabs' StyleGANs, whatever package their `torch_utils` lies in."""
    if not isinstance(value, Record) or not isinstance(value.callee, Global):
        return False
    return value.callee.name == "_reconstruct_persistent_obj" and value.callee.module.endswith("persistence")


def meta(record: Record) -> dict[str, Any]:
    """What a persistent object is made of: type, version, module_src, class_name, state."""
    return (mapping(record.args[0]) if len(record.args) == 1 else None) or {}


def state_of(value: Any) -> dict[str, Any] | None:
    """The `__dict__` of a pickled module; None where the value is none."""
    if is_persistent(value):
        return mapping(meta(value).get("state")) or {}
    if not isinstance(value, Record) or value.how == "persid":
        return None
    state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
    held = mapping(state)
    return held if held is not None and "_modules" in held and "_parameters" in held else None


def class_of(value: Record) -> str:
    """The class's own name."""
    if is_persistent(value):
        return str(meta(value).get("class_name", ""))
    return value.callee.name if isinstance(value.callee, Global) else value.root.name


@dataclass
class Tensors:
    """Turns what stands for a tensor into its spec, once each, and notes what cannot be one."""

    reading: Reading
    place: str
    viewed: int = 0
    """Bytes that all tensors would take, each for itself."""
    _known: dict[int, tuple[Any, TensorSpec | None]] = field(default_factory=dict)

    def spec(self, value: Any) -> TensorSpec | None:
        """The tensor; None for anything else."""
        if isinstance(value, TensorSpec):
            return value
        if not arrays.is_array(value):
            return None
        if id(value) not in self._known:
            self._known[id(value)] = (value, self._array(value))
        return self._known[id(value)][1]

    def _array(self, record: Record) -> TensorSpec | None:
        try:
            return arrays.array(self.reading, record)
        except Stop as stop:
            self.reading.note(stop.rule, stop.message, place=self.place, offset=record.offset)
            return None

    def flatten(self, module: Any) -> dict[str, TensorSpec]:
        """Every parameter and buffer of a module and of those inside, by dotted name, as a state dict has them."""
        found: dict[str, TensorSpec] = {}
        for prefix, record in self.inside(module):
            state = state_of(record) or {}
            for group in ("_parameters", "_buffers"):
                for name, value in (mapping(state.get(group)) or {}).items():
                    spec = self.spec(value)
                    if spec is not None:
                        found[prefix + name] = spec
            if len(found) > self.reading.limits.members:
                raise Stop("pickle.limit", f"a module with more than {self.reading.limits.members} tensors")
        return found

    def inside(self, module: Any) -> Iterator[tuple[str, Record]]:
        """The module and all in it, in order, with their dotted prefix. A module inside itself is not followed."""
        agenda: list[tuple[str, Any, frozenset[int]]] = [("", module, frozenset())]
        while agenda:
            prefix, record, above = agenda.pop()
            state = state_of(record)
            if state is None or id(record) in above:
                continue
            yield prefix, record
            inner = mapping(state.get("_modules")) or {}
            above = above | {id(record)}
            agenda.extend((f"{prefix}{name}.", child, above) for name, child in reversed(inner.items()))


def check_modules(records: Iterable[Record], reading: Reading, place: str) -> None:
    """Note what makes a pickled module more than its class and tensors: hooks, replaced methods, later changes.

    A hook is a function that runs on every call; so is a method that the state replaces.
    """
    for record in records:
        state = state_of(record)
        if record.path.endswith("EasyDict") and record.state is not None:
            # Its attributes are its items, so that an item named __setstate__ would be called with this state.
            reading.note("pickle.hook", "an EasyDict is given a state", place=place, offset=record.offset)
        if state is None:
            continue
        where = f"{class_of(record)}, made at byte {record.offset},"
        for name, value in state.items():
            if _HOOKS.fullmatch(name) and _filled(value):
                reading.note("pickle.hook", f"{where} has an entry in {name}", place=place, offset=record.offset)
            elif name in _OVERRIDES and value is not None:
                reading.note("pickle.hook", f"{where} replaces its own {name}", place=place, offset=record.offset)
        if record.items or record.elements:
            reading.note("pickle.malformed", f"{where} is changed after its state", place=place, offset=record.offset)


def _filled(value: Any) -> bool:
    """Whether a hook dictionary holds anything of the file's own, or is something else than a dictionary."""
    if isinstance(value, Record):
        odd = bool(value.args or value.elements) or mapping(value) is None
        return odd or not all(_is_library_hook(hook) for _, hook in value.items)
    if isinstance(value, dict):
        return not all(_is_library_hook(hook) for hook in value.values())
    return bool(value) and not isinstance(value, bool)


def _is_library_hook(value: Any) -> bool:
    """Old spectral and weight normalisation: objects of torch's own classes, which compute the weight they name."""
    if not isinstance(value, Record) or not isinstance(value.callee, Global) or not value.how.startswith("newobj"):
        return False
    if value.callee.path == "torch.nn.modules.module._WrappedHook":
        return _is_library_hook((mapping(value.state) or {}).get("hook"))
    return value.callee.path in _LIBRARY_HOOKS
