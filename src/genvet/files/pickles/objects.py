"""What a model's pickle holds, as parts: state dicts, pickled modules, NVlabs' persistent objects, TensorFlow networks.

Nothing is built: records of objects are read as data. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genvet.core.modelfile import Part, TensorSpec
from genvet.core.printable import printable
from genvet.files.pickles import legacy, stylegan_pickles
from genvet.files.pickles.globals import is_known
from genvet.files.pickles.inert import Record
from genvet.files.pickles.machine import SNIFFING, Machine, run
from genvet.files.pickles.modules import Tensors, check_modules, class_of, is_persistent, mapping, state_of
from genvet.files.pickles.rebuilding import evaluators
from genvet.files.pickles.settings import note_metadata
from genvet.files.pickles.storages import ITEM
from genvet.files.reading import Limits, Reading, Stop

# Every opcode that a loader carries out on an empty stack; PROTO, which names itself a pickle, is apart.
_OPENINGS = b"(]})cINFGJKLMSTUVXBC\x82\x83\x84\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96"
_NAMES = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_STREAMS = 100
_FORMATS = {"persistent": "nvlabs-pickle", "tensorflow": "tensorflow-pickle"}
_TUPLE_OF_NETWORKS = ("G", "D", "Gs")


def matches(data: memoryview) -> bool:
    """Whether the content is a pickle: it says so itself, or reads as one to its end, or imports something known."""
    head = bytes(data[:2])
    if len(head) < 2 or legacy.matches(data):
        return False
    if head[0] == 0x80:
        return head[1] <= 5
    return head[0] in _OPENINGS and _reads_as_pickle(data)


def _reads_as_pickle(data: memoryview) -> bool:
    """Without PROTO a pickle opens like any text: `click` in a list of packages would import `lick`.

    All of it is read, and every pickle in it: what loads first may be a megabyte of numbers, or one number alone.
    """
    machine = Machine(data, Reading(limits=Limits(unpacked=0)), nesting=SNIFFING)
    for _ in range(_STREAMS):
        try:
            machine.load()
        except Stop:
            return bool(machine.made) or any(is_known(n) for n in machine.calls.names if _NAMES.fullmatch(n))
        if machine.pos == machine.end or machine.calls.names:
            return True
    return True


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """Read a bare pickle: every call it would make, and the parts it holds."""
    with judged(reading, place) as made:
        value = run(data, reading, place, evaluate=evaluators(reading, place), made=made)
    add_parts(value, reading, place)


@contextmanager
def judged(reading: Reading, place: str) -> Iterator[list[Record]]:
    """Takes the records that a stream makes; at its end, however it ends, judges the modules and texts among them."""
    made: list[Record] = []
    try:
        yield made
    finally:
        check_modules(made, reading, place)
        stylegan_pickles.judge_sources(made, reading, place)


def add_parts(value: Any, reading: Reading, place: str) -> None:
    """Find every group of tensors in a value and add it to the reading's parts."""
    walk = _Walk(reading, place)
    walk.run(value)
    reading.parts.extend(walk.parts)
    for kind, name in _FORMATS.items():
        if any(part.kind == kind for part in walk.parts):
            if reading.format in ("", "pickle") or reading.format.endswith(" > pickle"):
                reading.format = reading.format.removesuffix("pickle") + name


class _Walk:
    """Goes through a value once; a value that holds itself is met once."""

    def __init__(self, reading: Reading, place: str) -> None:
        self.reading, self.place = reading, place
        self.tensors = Tensors(reading, place)
        self.parts: list[Part] = []
        self.met: dict[int, tuple[str, Any]] = {}
        self.viewed = 0

    def run(self, value: Any) -> None:
        agenda: list[tuple[str, Any]] = [("", value)]
        while agenda:
            name, value = agenda.pop()
            if id(value) in self.met:
                self._tell_same(name, self.met[id(value)][0])
                continue
            self.met[id(value)] = (name, value)
            agenda.extend(reversed(self._visit(name, value)))

    def _visit(self, name: str, value: Any) -> list[tuple[str, Any]]:
        """Add the part that this value is; gives what is left to look into."""
        if isinstance(value, Record):
            return self._visit_record(name, value)
        held = mapping(value)
        if held is not None:
            return self._visit_mapping(name, held)
        if isinstance(value, (list, tuple)):
            return self._visit_sequence(name, value)
        spec = self.tensors.spec(value)
        if spec is not None:
            self._add(Part(name=name, kind="arrays", tensors={"tensor": spec}))
        return []

    def _visit_record(self, name: str, record: Record) -> list[tuple[str, Any]]:
        state = state_of(record)
        if is_persistent(record):
            self._add(stylegan_pickles.persistent_part(record, name, self.tensors))
        elif stylegan_pickles.is_network(record):
            self._add(stylegan_pickles.network_part(record, name, self.tensors))
        elif state is not None:
            found = self.tensors.flatten(record)
            self._add(Part(name=name, kind="module", class_name=class_of(record), tensors=found) if found else None)
        elif (spec := self.tensors.spec(record)) is not None:
            self._add(Part(name=name, kind="arrays", tensors={"tensor": spec}))
        elif (held := mapping(record)) is not None:
            return self._visit_mapping(name, held)
        else:
            return self._visit_unknown(name, record)
        return []

    def _visit_unknown(self, name: str, record: Record) -> list[tuple[str, Any]]:
        """An object of any other class may hold networks wherever it holds anything."""
        if record.root.module == "torch._utils":
            return []  # a tensor that could not be rebuilt: that has been told
        held = mapping(record.state)
        if held is not None:
            return self._visit_mapping(name, held)
        rest = [*record.args, *record.elements, *(value for _, value in record.items), record.state]
        return self._visit_sequence(name, rest)

    def _visit_mapping(self, name: str, held: dict[str, Any]) -> list[tuple[str, Any]]:
        if "param_groups" in held and "state" in held:
            self._skip(name, "the state of an optimiser")
            return []
        if not name or name.count(".") == 0:
            note_metadata(self.reading, name, held)
        specs = {key: self.tensors.spec(value) for key, value in held.items()}
        tensors = {key: spec for key, spec in specs.items() if spec is not None}
        if tensors:
            self._add(Part(name=name, kind="state", tensors=tensors))
        return [(_inside(name, key), value) for key, value in held.items() if specs[key] is None and _may_hold(value)]

    def _visit_sequence(self, name: str, values: Any) -> list[tuple[str, Any]]:
        specs = [self.tensors.spec(value) for value in values]
        tensors = {str(i): spec for i, spec in enumerate(specs) if spec is not None}
        if tensors:
            self._add(Part(name=name, kind="arrays", tensors=tensors))
        names: Any = range(len(values))
        if len(values) == len(_TUPLE_OF_NETWORKS) and all(map(stylegan_pickles.is_network, values)):
            names = _TUPLE_OF_NETWORKS
        new: dict[int, tuple[str, Any]] = {}
        for i, value, spec in zip(names, values, specs, strict=True):
            if spec is None and _may_hold(value) and id(value) not in self.met:
                new.setdefault(id(value), (_inside(name, str(i)), value))
        return list(new.values())

    def _tell_same(self, name: str, first: str) -> None:
        if any(part.name == first for part in self.parts) and len(self.reading.metadata) < 1000:
            self.reading.metadata.setdefault(
                printable(name, 100), printable(f"the same object as {first or 'the file'}")
            )

    def _skip(self, name: str, what: str) -> None:
        if len(self.reading.metadata) < 1000:
            self.reading.metadata.setdefault(printable(f"{name or 'file'} (skipped)", 120), what)

    def _add(self, part: Part | None) -> None:
        if part is None:
            return
        if all(spec.shape == () for spec in part.tensors.values()):
            self._skip(part.name, f"{len(part.tensors)} single numbers")
            return
        self.viewed += sum(_bytes(spec) for spec in part.tensors.values())
        if self.viewed > self.reading.limits.unpacked:
            raise Stop("pickle.limit", f"tensors view the same bytes over and over: {self.viewed} bytes in all")
        if len(self.parts) >= self.reading.limits.members:
            raise Stop("pickle.limit", f"more than {self.reading.limits.members} groups of tensors")
        self.parts.append(part)


def _bytes(spec: TensorSpec) -> int:
    total = ITEM[spec.dtype]
    for n in spec.shape:
        total *= n
    return total


def _inside(name: str, key: str) -> str:
    return f"{name}.{key}"[:300] if name else key[:300]


def _may_hold(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, Record))
