"""Pickles where none should be: inside other data, as encoded text, or behind the point where a stream breaks.

Standard library only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from genvet.core.modelfile import Call
from genvet.core.printable import printable
from genvet.files.pickles.calls import RULES
from genvet.files.pickles.globals import is_known, standing
from genvet.files.pickles.inert import BytesLike
from genvet.files.reading import Limits, Reading, Stop

if TYPE_CHECKING:
    from genvet.files.pickles.machine import Machine

_NAME = rb"[A-Za-z_][\w.]{0,100}"
_NAME_LINE = re.compile(rb"\n(?=(" + _NAME + rb")(?:\n|\Z))")
_MODULE_BEFORE = re.compile(rb"[ci](" + _NAME + rb")\Z")
_STACK_IMPORT = re.compile(
    rb"(?:\x8c.|X..\x00\x00|U.)(" + _NAME + rb")\x94?(?:q.)?(?:\x8c.|X..\x00\x00|U.)(" + _NAME + rb")\x94?(?:q.)?\x93",
    re.DOTALL,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{16,}+={0,2}\s*+", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}\s?+)++", re.ASCII)
_ENCODED_OPENINGS = "gYKXfS" + "862574"  # PROTO, c, (, ], } and I in base64; the first digits of them in hexadecimal
_SEARCHED = 64 << 20
_SUSPECTS = 10_000
_STREAMS = 100
_DEEPEST = 3  # pickles in pickles in pickles: more would let a small file cost much time


def looks_like_pickle(raw: BytesLike) -> bool:
    """Whether these bytes may be a pickle that imports something; a cheap first look.

    >>> looks_like_pickle(b"cos\\nsystem\\n(S'ls'\\ntR."), looks_like_pickle(b"hello, world")
    (True, False)
    """
    if len(raw) < 8:
        return False
    if raw[0] == 0x80:
        return raw[1] <= 5
    return raw[0] in b"c(]}I" and any(_text_imports(bytes(raw[:4096])))


def looks_encoded(text: str) -> bool:
    """Whether this text may be a pickle in base64, in hexadecimal, or as it is."""
    head = text[:64]
    if len(text) < 16:
        return False
    if head[0] in "c(]}I" and "\n" in text:
        return True
    return text[0] in _ENCODED_OPENINGS and (
        _BASE64.fullmatch(head) is not None or _HEX.fullmatch(head.rstrip()) is not None
    )


def examine(machine: Machine) -> None:
    """Note every value of a stream that is itself a pickle which imports something."""
    if machine.nesting >= _DEEPEST:
        return
    suspects = [(at, value) for at, value in machine.suspects if id(value) not in machine.read_inside]
    for offset, value in suspects[:_SUSPECTS]:
        for kind, raw in _decoded(value):
            names = _imports(machine, raw)
            if names:
                _tell(machine, offset, kind, names)
                break


def _decoded(value: str | BytesLike) -> list[tuple[str, BytesLike]]:
    if not isinstance(value, str):
        return [("bytes", value)]
    found: list[tuple[str, BytesLike]] = [("a text", value.encode("utf-8", "surrogatepass"))]
    if _BASE64.fullmatch(value):
        found.append(("base64 text", _from_base64(value)))
    if _HEX.fullmatch(value):
        found.append(("hexadecimal text", binascii.unhexlify("".join(value.split()))))
    return [(kind, raw) for kind, raw in found if looks_like_pickle(raw)]


def _from_base64(text: str) -> bytes:
    """Decoded as far as it goes, with either alphabet and without regard to padding."""
    letters = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + "=" * (-len(letters) % 4))


def _imports(machine: Machine, raw: BytesLike) -> list[str]:
    """The names that these bytes would import, where they are a pickle to its end or ask for something off the list."""
    aside = Reading(limits=Limits(unpacked=0, text=machine.reading.limits.text))
    inner = type(machine)(memoryview(raw), aside, limits=machine.limits, nesting=machine.nesting + 1)
    complete: list[str] = []
    try:
        for _ in range(_STREAMS):
            if inner.pos < inner.end:
                inner.load()
                complete = list(inner.calls.names)
    except Stop:
        wrong = any(call.standing in ("dangerous", "unlisted") for call in aside.calls)
        return inner.calls.names if wrong else complete
    return complete


def _tell(machine: Machine, offset: int, kind: str, names: list[str]) -> None:
    listed = ", ".join(names[:10])
    message = f"{kind} at byte {offset} is a pickle that imports {listed}"
    machine.reading.note("pickle.nested", message, place=machine.place, offset=offset)
    for name in names[:100]:
        module, _, last = name.rpartition(".")
        _list(machine, f"{machine.place} > {kind} at byte {offset}".strip(" >"), module, last, offset)


def salvage(machine: Machine) -> None:
    """Search what lies behind the point where the stream breaks for names that it would import.

    Loaders differ in what they make of a broken stream, and a broken one may be made so that scanners give up.
    """
    machine.salvaged = True
    first = machine.at
    rest = bytes(machine.data[first : first + _SEARCHED])
    in_stack = ((m.start(), m[1], m[2]) for m in _STACK_IMPORT.finditer(rest))
    seen: set[tuple[bytes, bytes]] = set()
    for at, module, name in chain(_text_imports(rest), in_stack):
        if (module, name) not in seen and len(seen) < 200:
            seen.add((module, name))
            _salvaged(machine, str(module, "ascii", "replace"), str(name, "ascii", "replace"), first + at)


def _text_imports(raw: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset, module, name) wherever GLOBAL or INST could stand. Linear in the length, whatever the bytes are."""
    for line in _NAME_LINE.finditer(raw):
        before = max(0, line.start() - 102)
        module = _MODULE_BEFORE.search(raw, before, line.start())
        if module:
            yield module.start(), module[1], line[1]


def _salvaged(machine: Machine, module: str, name: str, offset: int) -> None:
    grade = standing(module, name)
    if grade in ("dangerous", "unlisted") and is_known(module):
        message = f"the rest of the broken stream names {module}.{name} at byte {offset}"
        machine.reading.note(RULES[grade], message, place=machine.place, offset=offset)
        _list(machine, machine.place, module, name, offset)


def _list(machine: Machine, place: str, module: str, name: str, offset: int) -> None:
    machine.reading.calls.append(
        Call(
            module=printable(module, 200),
            name=printable(name, 200),
            called=False,
            standing=standing(module, name),
            place=printable(place, 200),
            offset=offset,
        )
    )
