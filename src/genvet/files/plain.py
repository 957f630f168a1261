"""Constructors of plain values that the reader carries out itself, on inert arguments. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genvet.files.inert import BytesLike, Global, Record, key
from genvet.files.reading import Stop


def _elements(args: tuple[Any, ...]) -> list[Any]:
    """The elements of a set that came as a list, each fit to be hashed."""
    if not args:
        return []
    if len(args) != 1 or not isinstance(args[0], (list, tuple)) or len(args[0]) > 1_000_000:
        raise Stop("pickle.malformed", "a set is made of something that is no list")
    return [key(item) for item in args[0]]


def _set(args: tuple[Any, ...], offset: int) -> set[Any]:
    return set(_elements(args))


def _frozenset(args: tuple[Any, ...], offset: int) -> frozenset[Any]:
    return frozenset(_elements(args))


def _bytes(args: tuple[Any, ...], offset: int) -> bytes:
    """`bytes()`, `bytearray(b"...")`, `bytearray(text, "latin-1")` and `bytearray([1, 2])`: never bytes(10**12)."""
    match args:
        case ():
            return b""
        case (bytes() | bytearray() | memoryview() as raw,):
            return bytes(raw)
        case (str() as text, "latin-1" | "latin1"):
            return _latin1(text)
        case (list() as numbers,) if all(isinstance(n, int) and 0 <= n < 256 for n in numbers):
            return bytes(numbers)
    raise Stop("pickle.malformed", "bytes made of something that is neither bytes nor text")


def _encode(args: tuple[Any, ...], offset: int) -> bytes:
    """How protocols 0 to 2 write bytes."""
    match args:
        case (str() as text, "latin1" | "latin-1"):
            return _latin1(text)
        case (bytes() as raw, "latin1" | "latin-1"):
            return raw
    raise Stop("pickle.malformed", "_codecs.encode with something else than a text and latin1")


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Stop("pickle.malformed", "a text that latin-1 cannot encode stands for bytes") from None


def _complex(args: tuple[Any, ...], offset: int) -> complex:
    match args:
        case (int() | float() as real, int() | float() as imaginary) if abs(real) + abs(imaginary) < 1e300:
            return complex(real, imaginary)
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise Stop("pickle.malformed", "complex() of something else than two numbers")


def _new(args: tuple[Any, ...], offset: int) -> Record:
    """`copyreg._reconstructor(class, base, state)` and `__newobj__(class, ...)`: an empty object of that class."""
    if not args or not isinstance(args[0], Global):
        raise Stop("pickle.malformed", "copyreg makes an object of something that is no class")
    return Record(args[0], args[1:], "newobj", offset)


def _ordered(args: tuple[Any, ...], offset: int) -> Record:
    """`OrderedDict()` and `OrderedDict([(key, value), ...])`, its pairs as they are now."""
    record = Record(Global("collections", "OrderedDict", offset), (), "reduce", offset)
    if args:
        pairs = args[0].items() if isinstance(args[0], dict) else args[0]
        if len(args) != 1 or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            raise Stop("pickle.malformed", "an OrderedDict made of something that is no list of pairs")
        record.items.extend((name, value) for name, value in pairs)
    return record


def _persistent(args: tuple[Any, ...], offset: int) -> Record:
    """A NVlabs object, with its text and state as they are now: it is run at this point, not when the stream ends."""
    if len(args) != 1 or not isinstance(args[0], dict):
        raise Stop("pickle.malformed", f"the persistent object at byte {offset} is not made of one dict")
    callee = Global("torch_utils.persistence", "_reconstruct_persistent_obj", offset)
    return Record(callee, (dict(args[0]),), "reduce", offset)


PLAIN: dict[tuple[str, str], Callable[[tuple[Any, ...], int], Any]] = {
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _frozenset,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "complex"): _complex,
    ("collections", "OrderedDict"): _ordered,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _new,
    ("copyreg", "__newobj__"): _new,
}


def raw_bytes(value: Any) -> BytesLike:
    """Bytes, or the text that a Python 2 pickle has in their place."""
    return _latin1(value) if isinstance(value, str) else value
