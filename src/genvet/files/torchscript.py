"""TorchScript archives, as data: tensors from the pickles, the code listed and judged, nothing run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from genvet.core.modelfile import Part, TensorSpec
from genvet.files.pickles import machine, objects, torch_files
from genvet.files.pickles.inert import Global, Record
from genvet.files.pickles.modules import Tensors, mapping
from genvet.files.reading import Reading, Stop
from genvet.files.texts import source

_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_DEPTH = 100
_CODE, _DEBUG = ".py", ".debug_pkl"


def matches(members: Mapping[str, memoryview]) -> bool:
    """A torch zip with code beside its data."""
    return "constants.pkl" in members or any(name.startswith("code/") for name in members)


def read_zip(members: Mapping[str, memoryview], reading: Reading, place: str, nesting: int) -> set[str]:
    """One part of kind "torchscript", and every code file as a source; gives the members that it took."""
    module, taken = _value(members, "data", reading, place)
    constants, more = _value(members, "constants", reading, place)
    tensors = dict(_tensors(module, Tensors(reading, place)))
    for i, value in enumerate(constants if isinstance(constants, tuple) else ()):
        # The code calls them by these names.
        tensors.update(_tensors(value, Tensors(reading, place), f"CONSTANTS.c{i}"))
    name = module.callee.name if isinstance(module, Record) and isinstance(module.callee, Global) else ""
    reading.parts.append(Part(name="", kind="torchscript", tensors=tensors, class_name=name))
    beside = {name for name in members if name in ("version", "byteorder") or name.startswith(".data/")}
    # The inputs that a module was traced with come without their numbers: only their calls are looked at.
    beside |= {name for name in members if name.startswith("traced_inputs/") and not len(members[name])}
    return taken | more | beside | _read_code(members, reading, place)


def _value(members: Mapping[str, memoryview], name: str, reading: Reading, place: str) -> tuple[Any, set[str]]:
    """The inert value of data.pkl or constants.pkl, and the members that it took."""
    file = f"{name}.pkl"
    if file not in members:
        return None, set()
    inside = f"{place}/{file}" if place else file
    storages = torch_files.Storages(members, reading, f"{name}/")
    try:
        with objects.judged(reading, inside) as made:
            value = torch_files.unpickle(members[file], storages, reading, inside, made)
    except Stop as stop:
        reading.note(stop.rule, stop.message, place=inside, offset=stop.offset)
        return None, {file, *storages.used}
    storages.tell_unused(inside)
    return value, {file, *storages.used}


def _tensors(value: Any, tensors: Tensors, path: str = "") -> Iterator[tuple[str, TensorSpec]]:
    """Every tensor below a scripted object, by its dotted name; an object inside itself is not followed."""
    agenda: list[tuple[str, Any, frozenset[int]]] = [(path, value, frozenset())]
    met = 0
    while agenda:
        name, value, above = agenda.pop()
        met += 1
        if met > tensors.reading.limits.members:
            raise Stop("pickle.limit", f"an object with more than {tensors.reading.limits.members} attributes")
        if (spec := tensors.spec(value)) is not None:
            yield name, spec
            continue
        if id(value) in above or len(above) > _DEPTH:
            continue
        above = above | {id(value)}
        inner = [(f"{name}.{key}" if name else key, item, above) for key, item in _attributes(value)]
        agenda.extend(reversed(inner))


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """What is inside an object, a mapping or a sequence."""
    if isinstance(value, Record):
        value = value.state if value.state is not None else value.elements
    if isinstance(value, (list, tuple)):
        return [(str(i), item) for i, item in enumerate(value)]
    return list((mapping(value) or {}).items())


def _read_code(members: Mapping[str, memoryview], reading: Reading, place: str) -> set[str]:
    """List and judge the code, and the pickles that tie it to the text it was compiled from."""
    taken = set()
    for name, content in members.items():
        where = f"{place}/{name}" if place else name
        if name.startswith("code/") and name.endswith(_CODE):
            text = str(content[: reading.limits.text], "utf-8", "replace")
            message = f"{text.count(chr(10))} lines of code run when the model is called"
            reading.note("torchscript.code", message, place=where)
            source.judge(text, reading, where, "torchscript", tuple(_CLASS.findall(text)))
            taken.add(name)
        elif (name.startswith("code/") and name.endswith(_DEBUG)) or name == "traced_inputs.pkl":
            try:
                machine.run(content, reading, where, persistent_load=lambda identity, offset: None)
            except Stop as stop:
                reading.note(stop.rule, stop.message, place=where, offset=stop.offset)
            taken.add(name)
    return taken
