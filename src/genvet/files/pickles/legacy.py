"""Torch files from before the zip format: five pickles behind one another, then the storages' bytes.

The StyleGAN pickles carry one such file for each tensor. Standard library only.
"""

from __future__ import annotations

from typing import Any

from genvet.files.pickles.inert import BytesLike, Global, Record
from genvet.files.pickles.machine import SNIFFING, Evaluate, Machine
from genvet.files.pickles.storages import ITEM, Storage, storage_dtype
from genvet.files.reading import Reading, Stop

MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
PROTOCOL = 1001
# The first three pickles as torch writes them, to the byte: known to be plain data, so that thousands need no reading.
_USUAL_START = (
    b"\x80\x02" + _MAGIC_BYTES + b".\x80\x02M\xe9\x03.\x80\x02}q\x00(X\x10\0\0\0protocol_versionq\x01M\xe9\x03"
    b"X\r\0\0\0little_endianq\x02\x88X\n\0\0\0type_sizesq\x03}q\x04(X\x05\0\0\0shortq\x05K\x02"
    b"X\x03\0\0\0intq\x06K\x04X\x04\0\0\0longq\x07K\x04uu."
)


def matches(data: BytesLike) -> bool:
    """Whether the content opens with a pickle of torch's magic number, however that integer is written."""
    head = bytes(data[:64])
    if head[:1] == b"\x80":
        return 2 <= head.find(_MAGIC_BYTES) <= 16
    if head[:1] not in (b"I", b"L", b"\x8a", b"\x8b", b"\x95"):
        return False
    machine = Machine(memoryview(head), Reading(), nesting=SNIFFING)
    try:
        return bool(machine.load() == MAGIC)
    except Stop:
        return False


def read_value(
    data: memoryview, reading: Reading, place: str, evaluate: Evaluate | None = None, made: list[Record] | None = None
) -> Any:
    """The pickled value, its storages kept in `reading`. Raises Stop where the file breaks off or is inconsistent."""
    store = _Store(reading)
    machine = Machine(data, reading, place, persistent_load=store.load, evaluate=evaluate, made=made)
    if data[: len(_USUAL_START)] == _USUAL_START:
        machine.pos = len(_USUAL_START)
    else:
        _expect(machine, machine.load() == MAGIC, "the magic number is not torch's")
        _expect(machine, machine.load() == PROTOCOL, f"the protocol is not {PROTOCOL}")
        _expect(machine, isinstance(machine.load(), dict), "the system's description is no dict")
    value = machine.load()
    keys = machine.load()
    _expect(machine, isinstance(keys, list), "the list of storages is no list")
    store.fill(machine, keys)
    if machine.pos < machine.end:
        left = machine.end - machine.pos
        reading.note("pickle.trailing", f"{left} bytes after the last storage", place=place, offset=machine.pos)
    return value


def _expect(machine: Machine, held: bool, message: str) -> None:
    if not held:
        raise Stop("pickle.malformed", f"{message} (at byte {machine.start})", machine.start)


class _Store:
    """Storages by their key; first named by persistent ids, then filled from the end of the file."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.named: dict[str, tuple[Storage, str]] = {}

    def load(self, identity: Any, offset: int) -> Any:
        """The storage that a persistent id names; for a module's class with its source, the class."""
        match identity:
            case ("module", Global() as kind, *_):
                return kind
            case ("storage", Global() as kind, str() as key, str(), int() as numel, *more):
                return self._storage(kind, key, numel, more[0] if more else None, offset)
        raise Stop("pickle.persistent-id", f"byte {offset} asks for something that is no storage", offset)

    def _storage(self, kind: Global, key: str, numel: int, window: Any, offset: int) -> Storage:
        dtype = storage_dtype(kind)
        if numel < 0:
            raise Stop("tensor.bounds", f"a storage of {numel} elements at byte {offset}", offset)
        if key not in self.named:
            self.named[key] = (Storage(self.reading.keep(b""), dtype, numel), dtype)
        whole, first = self.named[key]
        if (first, whole.numel) != (dtype, numel):
            raise Stop("pickle.malformed", f"two kinds of storage with the key {key!r} at byte {offset}", offset)
        match window:
            case None:
                return whole
            case (_, int() as start, int() as length) if 0 <= start <= start + length <= numel:
                return Storage(whole.index, dtype, length, start)
        raise Stop("tensor.bounds", f"a view outside its storage at byte {offset}", offset)

    def fill(self, machine: Machine, keys: list[Any]) -> None:
        """Take each storage's bytes, in the order of `keys`: an int64 count, then the elements, little-endian."""
        for key in keys:
            if not isinstance(key, str) or key not in self.named:
                raise Stop("pickle.malformed", f"storage {key!r:.60} belongs to no tensor", machine.pos)
            storage, dtype = self.named.pop(key)
            at = machine.at = machine.pos
            numel = int.from_bytes(machine.take(8), "little", signed=True)
            if numel != storage.numel:
                raise Stop("tensor.bounds", f"storage {key!r:.60} has {numel} elements, not {storage.numel}", at)
            self.reading.storages[storage.index] = machine.take(numel * ITEM[dtype or "uint8"])
        if self.named:
            raise Stop("pickle.malformed", f"{len(self.named)} storages have no bytes", machine.pos)
