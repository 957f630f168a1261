"""Torch's first format (before 0.1.10): a tar of storages, tensors over them, and a pickle that names the tensors.

`torch.load` still tries it before any other. Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from genvet.core.modelfile import TensorSpec
from genvet.files import formats
from genvet.files.pickles import objects
from genvet.files.pickles.inert import Global
from genvet.files.pickles.machine import Machine, run
from genvet.files.pickles.rebuilding import evaluators
from genvet.files.pickles.storages import ITEM, Storage, storage_dtype, view
from genvet.files.reading import Reading, Stop

MEMBERS = ("storages", "tensors", "pickle")
_NUMBER = struct.Struct("<q")
_DIMENSIONS = 64


def matches(members: Mapping[str, memoryview]) -> bool:
    """The three files that torch asks for."""
    return all(name in members for name in MEMBERS)


def read(members: Mapping[str, memoryview], reading: Reading, place: str) -> None:
    """The parts of the pickle, its tensors over the storages. Every pickle in all three is run, in our own machine."""
    store = _Store(reading, place)
    store.read(members["storages"], "storages", store.storages_of)
    store.read(members["tensors"], "tensors", store.tensors_of)
    inside = formats.within(place, "pickle")
    evaluate = evaluators(reading, inside)
    with objects.judged(reading, inside) as made:
        value = run(members["pickle"], reading, inside, persistent_load=store.load, evaluate=evaluate, made=made)
    objects.add_parts(value, reading, place)


class _Store:
    """Storages and tensors by the numbers that the file gives them: addresses in the writer's memory."""

    def __init__(self, reading: Reading, place: str) -> None:
        self.reading, self.place = reading, place
        self.found: dict[int, Storage | TensorSpec] = {}

    def read(self, data: memoryview, name: str, fill: Any) -> None:
        """One of the two files of numbers; where it breaks off, what it held before counts."""
        where = formats.within(self.place, name)
        machine = Machine(data, self.reading, where)
        try:
            fill(machine)
        except Stop as stop:
            self.reading.note(stop.rule, stop.message, place=where, offset=stop.offset)
        else:
            if machine.pos < machine.end:
                left = f"{machine.end - machine.pos} bytes after the last of the {name}"
                self.reading.note("pickle.trailing", left, place=where, offset=machine.pos)

    def storages_of(self, machine: Machine) -> None:
        """A pickle for each, and behind it a count and the elements; then a list of views of them."""
        for _ in range(self._count(machine)):
            match machine.load():
                case (int() as key, str(), Global() as kind):
                    dtype = storage_dtype(kind) or "uint8"
                case other:
                    raise Stop("pickle.malformed", f"no storage but a {type(other).__name__}", machine.start)
            numel = machine.number(_NUMBER)
            if numel < 0:
                raise Stop("tensor.bounds", f"a storage of {numel} elements", machine.pos)
            self.found[key] = Storage(self.reading.keep(machine.take(numel * ITEM[dtype])), dtype, numel)
        views = machine.load()
        for entry in views if isinstance(views, list) else ():
            self._add_view(entry, machine.start)

    def _add_view(self, entry: Any, offset: int) -> None:
        match entry:
            case (int() as key, int() as root, int() as start, int() as numel):
                whole = self.found.get(root)
                if isinstance(whole, Storage) and 0 <= start <= start + numel <= whole.numel:
                    self.found[key] = Storage(whole.index, whole.dtype, numel, whole.base + start)
                    return
        raise Stop("tensor.bounds", "a view outside its storage", offset)

    def tensors_of(self, machine: Machine) -> None:
        """A pickle for each, and behind it its sizes, strides and offset as plain numbers."""
        for _ in range(self._count(machine)):
            match machine.load():
                case (int() as key, int() as root, Global()):
                    pass
                case other:
                    raise Stop("pickle.malformed", f"no tensor but a {type(other).__name__}", machine.start)
            dimensions = machine.number(_NUMBER) & 0xFFFFFFFF  # torch reads four bytes and skips as many
            if dimensions > _DIMENSIONS:
                raise Stop("tensor.bounds", f"a tensor of {dimensions} dimensions", machine.pos)
            sizes, strides = ([machine.number(_NUMBER) for _ in range(dimensions)] for _ in range(2))
            self.found[key] = view(self.found.get(root), machine.number(_NUMBER), sizes, strides)

    def _count(self, machine: Machine) -> int:
        n = machine.load()
        if type(n) is not int or not 0 <= n <= self.reading.limits.members:
            raise Stop("pickle.malformed", "the number of entries is none", machine.start)
        return n

    def load(self, identity: Any, offset: int) -> Any:
        """What a persistent id names: a storage or tensor by its number, a module's class beside its source."""
        match identity:
            case (Global() as kind, *_):
                return kind
            case int() | str() if str(identity).isdecimal() and len(str(identity)) < 20:
                if (found := self.found.get(int(identity))) is not None:
                    return found
        raise Stop("pickle.persistent-id", f"byte {offset} asks for something that is no tensor", offset)
