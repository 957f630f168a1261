"""Constructors of plain values that the reader carries out itself, on inert arguments. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genvet.files.pickles.inert import BytesLike, Global, Record, key
from genvet.files.reading import Stop

_GENERATORS = ("generator", "bit_generator", "randomstate")


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


def _new_ex(args: tuple[Any, ...], offset: int) -> Record:
    """`copyreg.__newobj_ex__(class, arguments, keywords)`."""
    match args:
        case (Global() as kind, tuple() as given, dict() as named):
            return Record(kind, given, "newobj_ex", offset, dict(named))
    raise Stop("pickle.malformed", "copyreg makes an object of something that is no class")


def _random(name: str) -> Callable[[tuple[Any, ...], int], Record]:
    """Numpy's makers of random generators: they call the class or function that they are given."""

    def make(args: tuple[Any, ...], offset: int) -> Record:
        for given in args:
            if isinstance(given, Global) and not given.module.startswith("numpy.random."):
                raise Stop("call.unlisted", f"byte {offset} has {given.path} called as a random generator's maker")
        return Record(Global("numpy.random._pickle", name, offset), args, "reduce", offset)

    return make


def _mapping(module: str, name: str, skipped: int = 0) -> Callable[[tuple[Any, ...], int], Record]:
    """`OrderedDict([(key, value), ...])` and its like, its pairs as they are now, after `skipped` other arguments."""

    def make(args: tuple[Any, ...], offset: int) -> Record:
        record = Record(Global(module, name, offset), args[:skipped], "reduce", offset)
        for given in args[skipped:]:
            pairs = given.items() if isinstance(given, dict) else given.items if isinstance(given, Record) else given
            if len(args) > skipped + 1 or not _are_pairs(pairs):
                raise Stop("pickle.malformed", f"{name} made of something that is no list of pairs")
            record.items.extend((key, value) for key, value in pairs)
        return record

    return make


def _are_pairs(pairs: Any) -> bool:
    if isinstance(pairs, (str, bytes, memoryview)) or not hasattr(pairs, "__iter__"):
        return False
    return all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)


def _sequence(kind: type) -> Callable[[tuple[Any, ...], int], Any]:
    """`list(...)` and `tuple(...)` of what is one already."""

    def make(args: tuple[Any, ...], offset: int) -> Any:
        if len(args) > 1 or (args and not isinstance(args[0], (list, tuple))):
            raise Stop("pickle.malformed", f"{kind.__name__}() of something that is neither list nor tuple")
        return kind(*args)

    return make


def _deque(args: tuple[Any, ...], offset: int) -> Record:
    if len(args) > 2 or (args and not isinstance(args[0], (list, tuple))):
        raise Stop("pickle.malformed", "a deque of something that is neither list nor tuple")
    return Record(Global("collections", "deque", offset), (), "reduce", offset, elements=list(*args[:1]))


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
    ("builtins", "dict"): _mapping("builtins", "dict"),
    ("builtins", "list"): _sequence(list),
    ("builtins", "tuple"): _sequence(tuple),
    ("collections", "OrderedDict"): _mapping("collections", "OrderedDict"),
    ("collections", "Counter"): _mapping("collections", "Counter"),
    ("collections", "deque"): _deque,
    ("collections", "defaultdict"): _mapping("collections", "defaultdict", skipped=1),
    ("dnnlib.util", "EasyDict"): _mapping("dnnlib.util", "EasyDict"),
    ("dnnlib", "EasyDict"): _mapping("dnnlib", "EasyDict"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    **{("numpy.random._pickle", f"__{kind}_ctor"): _random(f"__{kind}_ctor") for kind in _GENERATORS},
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _new,
    ("copyreg", "__newobj__"): _new,
    ("copyreg", "__newobj_ex__"): _new_ex,
}


def raw_bytes(value: Any) -> BytesLike:
    """Bytes, or the text that a Python 2 pickle has in their place."""
    return _latin1(value) if isinstance(value, str) else value
