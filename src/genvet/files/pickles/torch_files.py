"""Torch's own files: the zip format's `data.pkl` with its storages, and what came before it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genvet.files.pickles import legacy, machine, objects
from genvet.files.pickles.inert import Global, Record
from genvet.files.pickles.rebuilding import evaluators
from genvet.files.pickles.storages import ITEM, Storage, storage_dtype, swapped
from genvet.files.reading import Reading, Stop

matches = legacy.matches
_BESIDE = ("byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """Read a legacy torch file: its parts, with every storage it holds."""
    with objects.judged(reading, place) as made:
        value = legacy.read_value(data, reading, place, evaluators(reading, place), made)
    objects.add_parts(value, reading, place)


def read_zip(members: Mapping[str, memoryview], reading: Reading, place: str, nesting: int) -> set[str]:
    """Read a torch zip file from its members, their names without the folder; gives the names that it took."""
    inside = f"{place}/data.pkl" if place else "data.pkl"
    storages = Storages(members, reading)
    try:
        with objects.judged(reading, inside) as made:
            value = unpickle(members["data.pkl"], storages, reading, inside, made)
        objects.add_parts(value, reading, place)
    except Stop as stop:
        reading.note(stop.rule, stop.message, place=inside, offset=stop.offset)
    else:
        storages.tell_unused(inside)
    return {"data.pkl", *storages.used, *(name for name in _BESIDE if name in members)}


def unpickle(data: memoryview, storages: Storages, reading: Reading, place: str, made: list[Record]) -> Any:
    """The inert value of one pickle of a torch zip, its tensors as specs over `storages`."""
    evaluate = evaluators(reading, place)
    return machine.run(data, reading, place, persistent_load=storages.load, evaluate=evaluate, made=made)


class Storages:
    """The storages of one pickle in a torch zip: members named data/0, data/1 ... beside it."""

    def __init__(self, members: Mapping[str, memoryview], reading: Reading, folder: str = "data/") -> None:
        self.members, self.folder, self.reading = members, folder, reading
        self.indices: dict[tuple[str, str], int] = {}
        self.big = bytes(members.get("byteorder", b"little")[:16]).strip() == b"big"

    @property
    def used(self) -> set[str]:
        return {name for name, _ in self.indices}

    def load(self, identity: Any, offset: int) -> Storage:
        """The storage that a persistent id names. Its size is a claim, held against the member's."""
        match identity:
            case ("storage", Global() as kind, str() as key, str(), int() as numel, *_):
                return self._storage(storage_dtype(kind), key, numel, offset)
        raise Stop("pickle.persistent-id", f"byte {offset} asks for something that is no storage", offset)

    def _storage(self, dtype: str, key: str, numel: int, offset: int) -> Storage:
        name = self.folder + key
        if name not in self.members:
            raise Stop("tensor.bounds", f"the storage {key!r:.60} asked for at byte {offset} is not there", offset)
        held, claimed = len(self.members[name]), numel * ITEM[dtype or "uint8"]
        if not 0 <= claimed <= held:
            raise Stop("tensor.bounds", f"storage {key!r:.60} holds {held} bytes and claims {claimed}", offset)
        if claimed < held and name not in self.used:
            self.reading.note("archive.hidden", f"storage {key!r:.60} claims {claimed} of its {held} bytes", place=name)
        return Storage(self._keep(name, dtype), dtype, numel)

    def _keep(self, name: str, dtype: str) -> int:
        """Kept once, however many tensors view it; in big-endian files once for each way to swap."""
        order = dtype if self.big else ""
        if (name, order) not in self.indices:
            raw = self.members[name]
            if self.big and not dtype:
                raise Stop("tensor.dtype", "an untyped storage in big-endian order")
            self.indices[name, order] = self.reading.keep(swapped(raw, dtype, self.reading) if self.big else raw)
        return self.indices[name, order]

    def tell_unused(self, place: str) -> None:
        """Storages that no tensor asks for: what are they there for?"""
        unused = [name for name in self.members if name.startswith(self.folder) and name not in self.used]
        if unused:
            listed = ", ".join(unused[:5])
            message = f"{len(unused)} storages belong to no tensor: {listed}"
            self.reading.note("archive.hidden", message, place=place)
