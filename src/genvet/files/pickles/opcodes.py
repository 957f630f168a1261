"""The opcodes of pickle protocols 0 to 5, one small function each, over the machine of files.pickles.machine.

What an opcode means is in the standard library's Lib/pickletools.py. Standard library only.
"""

from __future__ import annotations

import codecs
import math
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genvet.files.pickles.globals import standing
from genvet.files.pickles.inert import Global, Record
from genvet.files.reading import Stop

if TYPE_CHECKING:
    from genvet.files.pickles.machine import Machine

_U2, _U4, _U8 = (struct.Struct("<" + c) for c in "HIQ")
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")

_DECIMAL = re.compile(rb"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(rb"-?([0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?|inf|nan)")
codecs.lookup("raw-unicode-escape")  # now, since the child process imports nothing once it reads


def _unknown(m: Machine) -> None:
    raise Stop("pickle.malformed", f"byte {m.at} is no opcode ({m.data[m.at]:#04x})", m.at)


def _decimal(m: Machine, line: bytes) -> int:
    """Only as Python writes it: of 010 and 0x10 one loader makes 8 and 16, another 10 or an error."""
    if not _DECIMAL.fullmatch(line):
        raise Stop("pickle.malformed", f"the integer at byte {m.at} is not written as Python writes it", m.at)
    return int(line)


TABLE: list[Callable[[Machine], None]] = [_unknown] * 256


def _opcode(code: bytes) -> Callable[[Callable[[Machine], None]], Callable[[Machine], None]]:
    def enter(function: Callable[[Machine], None]) -> Callable[[Machine], None]:
        TABLE[code[0]] = function
        return function

    return enter


# --- The stream itself.


@_opcode(b"\x80")
def _proto(m: Machine) -> None:
    version = m.byte()
    if version > 5:
        raise Stop("pickle.malformed", f"protocol {version} at byte {m.at} does not exist", m.at)
    if m.at != m.start:
        m.note("pickle.opcode", f"PROTO at byte {m.at}, in the middle of the stream")


@_opcode(b"\x95")
def _frame(m: Machine) -> None:
    length = m.number(_U8)
    if m.at < m.frame_end < 1 << 62:
        m.note("pickle.frame", f"a frame begins at byte {m.at}, inside the one that ends at {m.frame_end}")
    m.frame_end = m.pos + length


# --- Scalars.


@_opcode(b"N")
def _none(m: Machine) -> None:
    m.push(None, 8)


@_opcode(b"\x88")
def _newtrue(m: Machine) -> None:
    m.push(True, 8)


@_opcode(b"\x89")
def _newfalse(m: Machine) -> None:
    m.push(False, 8)


@_opcode(b"I")
def _int(m: Machine) -> None:
    line = m.line(400)
    m.push(line == b"01" if line in (b"00", b"01") else _decimal(m, line))


@_opcode(b"L")
def _long(m: Machine) -> None:
    m.push(_decimal(m, m.line(400).removesuffix(b"L")))


@_opcode(b"J")
def _binint(m: Machine) -> None:
    m.push(m.number(_I4))


@_opcode(b"K")
def _binint1(m: Machine) -> None:
    m.push(m.byte(), 8)


@_opcode(b"M")
def _binint2(m: Machine) -> None:
    m.push(m.number(_U2))


@_opcode(b"\x8a")
def _long1(m: Machine) -> None:
    _integer(m, m.byte())


@_opcode(b"\x8b")
def _long4(m: Machine) -> None:
    _integer(m, m.number(_I4))


def _integer(m: Machine, n: int) -> None:
    if n < 0:
        raise Stop("pickle.malformed", f"an integer of {n} bytes at byte {m.at}", m.at)
    if n > m.limits.integer:
        raise Stop("pickle.limit", f"an integer of {n} bytes at byte {m.at}", m.at)
    m.push(int.from_bytes(m.take(n), "little", signed=True), 40 + n)


@_opcode(b"F")
def _float(m: Machine) -> None:
    line = m.line(400)
    value = float(line) if _FLOAT.fullmatch(line) else math.inf
    if math.isinf(value) and b"inf" not in line:
        raise Stop("pickle.malformed", f"the number at byte {m.at} is none", m.at)
    m.push(value)


@_opcode(b"G")
def _binfloat(m: Machine) -> None:
    m.push(m.number(_F8), 32)


# --- Texts and bytes.


@_opcode(b"S")
def _string(m: Machine) -> None:
    line = m.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise Stop("pickle.malformed", f"the string at byte {m.at} has no quotes", m.at)
    m.charge(2 * len(line))
    raw: bytes = codecs.escape_decode(line[1:-1])[0]  # type: ignore[attr-defined]
    m.push_found(str(raw, "ascii") if raw.isascii() else raw)


@_opcode(b"T")
def _binstring(m: Machine) -> None:
    n = m.number(_I4)
    if n < 0:
        raise Stop("pickle.malformed", f"a string of {n} bytes at byte {m.at}", m.at)
    m.push(m.old_text(n))


@_opcode(b"U")
def _short_binstring(m: Machine) -> None:
    m.push(m.old_text(m.byte()))


@_opcode(b"B")
def _binbytes(m: Machine) -> None:
    m.push(m.binary(m.number(_U4)))


@_opcode(b"C")
def _short_binbytes(m: Machine) -> None:
    m.push(m.binary(m.byte()))


@_opcode(b"\x8e")
def _binbytes8(m: Machine) -> None:
    m.push(m.binary(m.number(_U8)))


@_opcode(b"\x96")
def _bytearray8(m: Machine) -> None:
    m.push(m.binary(m.number(_U8)))  # numpy arrays of protocol 5 come this way; as data it is bytes like others


@_opcode(b"V")
def _unicode(m: Machine) -> None:
    line = m.line()
    m.charge(4 * len(line))
    m.push_found(str(line, "raw-unicode-escape"))


@_opcode(b"X")
def _binunicode(m: Machine) -> None:
    m.push(m.text(m.number(_U4)), 56)


@_opcode(b"\x8c")
def _short_binunicode(m: Machine) -> None:
    m.push(m.text(m.byte()), 56)


@_opcode(b"\x8d")
def _binunicode8(m: Machine) -> None:
    m.push(m.text(m.number(_U8)), 56)


@_opcode(b"\x97")
def _next_buffer(m: Machine) -> None:
    m.note("pickle.opcode", f"NEXT_BUFFER at byte {m.at}: the data would come from outside the file")
    m.push(b"")


@_opcode(b"\x98")
def _readonly_buffer(m: Machine) -> None:
    m.note("pickle.opcode", f"READONLY_BUFFER at byte {m.at}: the data would come from outside the file")


# --- Containers.


@_opcode(b"]")
def _empty_list(m: Machine) -> None:
    m.push([], 88)


@_opcode(b"}")
def _empty_dict(m: Machine) -> None:
    m.push({}, 88)


@_opcode(b")")
def _empty_tuple(m: Machine) -> None:
    m.push((), 8)


@_opcode(b"\x8f")
def _empty_set(m: Machine) -> None:
    m.push(set(), 224)


@_opcode(b"(")
def _mark(m: Machine) -> None:
    m.charge(72)
    m.marked.append(m.stack)
    m.stack = []


@_opcode(b"l")
def _list(m: Machine) -> None:
    items = m.pop_mark()
    m.push(items, 64 + 8 * len(items))


@_opcode(b"t")
def _tuple(m: Machine) -> None:
    items = m.pop_mark()
    m.push(tuple(items), 48 + 8 * len(items))


@_opcode(b"d")
def _dict(m: Machine) -> None:
    items = m.pop_mark()
    made: dict[Any, Any] = {}
    _fill(m, made, items)
    m.push(made, 72)


@_opcode(b"\x91")
def _frozenset(m: Machine) -> None:
    items = m.pop_mark()
    m.push(frozenset(m.hashable(item) for item in items), 224 + 64 * len(items))


@_opcode(b"\x85")
def _tuple1(m: Machine) -> None:
    m.push((m.stack.pop(),), 56)


@_opcode(b"\x86")
def _tuple2(m: Machine) -> None:
    _tuple_of(m, 2)


@_opcode(b"\x87")
def _tuple3(m: Machine) -> None:
    _tuple_of(m, 3)


def _tuple_of(m: Machine, n: int) -> None:
    if len(m.stack) < n:
        raise IndexError("the stack is too short")
    items = tuple(m.stack[-n:])
    del m.stack[-n:]
    m.push(items, 72)


@_opcode(b"a")
def _append(m: Machine) -> None:
    value = m.stack.pop()
    _extend(m, m.stack[-1], [value])


@_opcode(b"e")
def _appends(m: Machine) -> None:
    items = m.pop_mark()
    _extend(m, m.stack[-1], items)


def _extend(m: Machine, target: Any, items: list[Any]) -> None:
    m.charge(10 * len(items))
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Record):
        _add_elements(m, target, items)
    else:
        raise Stop("pickle.malformed", f"byte {m.at} appends to a {type(target).__name__}", m.at)


def _add_elements(m: Machine, target: Record, items: list[Any]) -> None:
    """A loader calls the object's own `extend`, `append` or `add`, which its state may have put there."""
    root = target.root
    if standing(root.module, root.name) == "expected" and root.name != "deque":
        m.note("pickle.malformed", f"byte {m.at} appends to a record of {target.path}")
    target.elements.extend(items)


@_opcode(b"s")
def _setitem(m: Machine) -> None:
    value, name = m.stack.pop(), m.stack.pop()
    _fill(m, m.stack[-1], [name, value])


@_opcode(b"u")
def _setitems(m: Machine) -> None:
    items = m.pop_mark()
    _fill(m, m.stack[-1], items)


def _fill(m: Machine, target: Any, items: list[Any]) -> None:
    """Keys and values in turn, into a dict or a record of something like it."""
    if len(items) % 2:
        raise Stop("pickle.malformed", f"byte {m.at} sets a key without a value", m.at)
    m.charge(90 * len(items))
    pairs = zip(items[::2], items[1::2], strict=True)
    if isinstance(target, dict):
        for name, value in pairs:
            target[m.hashable(name)] = value
    elif isinstance(target, Record):
        target.items.extend(pairs)
    else:
        raise Stop("pickle.malformed", f"byte {m.at} sets items of a {type(target).__name__}", m.at)


@_opcode(b"\x90")
def _additems(m: Machine) -> None:
    items = m.pop_mark()
    target = m.stack[-1]
    m.charge(64 * len(items))
    if isinstance(target, set):
        target.update(m.hashable(item) for item in items)
    elif isinstance(target, Record):
        _add_elements(m, target, items)
    else:
        raise Stop("pickle.malformed", f"byte {m.at} adds to a {type(target).__name__}", m.at)


# --- Stack and memo.


@_opcode(b"0")
def _pop(m: Machine) -> None:
    if m.stack:
        m.handle(m.stack.pop(), -1)
    else:
        m.pop_mark()


@_opcode(b"1")
def _pop_mark(m: Machine) -> None:
    m.pop_mark()


@_opcode(b"2")
def _dup(m: Machine) -> None:
    m.handle(m.stack[-1], 1)
    m.push(m.stack[-1], 8)


@_opcode(b"p")
def _put(m: Machine) -> None:
    m.remember(_decimal(m, m.line(400)))


@_opcode(b"q")
def _binput(m: Machine) -> None:
    m.remember(m.byte())


@_opcode(b"r")
def _long_binput(m: Machine) -> None:
    m.remember(m.number(_U4))


@_opcode(b"\x94")
def _memoize(m: Machine) -> None:
    m.remember(len(m.memo))


@_opcode(b"g")
def _get(m: Machine) -> None:
    m.recall(_decimal(m, m.line(400)))


@_opcode(b"h")
def _binget(m: Machine) -> None:
    m.recall(m.byte())


@_opcode(b"j")
def _long_binget(m: Machine) -> None:
    m.recall(m.number(_U4))


# --- What would import, call and reach outside: recorded, never done.


@_opcode(b"c")
def _global(m: Machine) -> None:
    module, name = str(m.line(4096), "utf-8"), str(m.line(4096), "utf-8")
    m.find(module, name)


@_opcode(b"\x93")
def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.find(module, name)


@_opcode(b"R")
def _reduce(m: Machine) -> None:
    args, callee = m.stack.pop(), m.stack.pop()
    m.call(callee, args, "reduce")


@_opcode(b"\x81")
def _newobj(m: Machine) -> None:
    args, callee = m.stack.pop(), m.stack.pop()
    m.call(callee, args, "newobj")


@_opcode(b"\x92")
def _newobj_ex(m: Machine) -> None:
    kwargs, args, callee = m.stack.pop(), m.stack.pop(), m.stack.pop()
    m.call(callee, args, "newobj_ex", kwargs if isinstance(kwargs, dict) else {})


@_opcode(b"b")
def _build(m: Machine) -> None:
    state, target = m.stack.pop(), m.stack[-1]
    if isinstance(target, Global):
        m.note("pickle.opcode", f"BUILD at byte {m.at} would change {target.path} itself")
    elif not isinstance(target, Record):
        m.note("pickle.malformed", f"BUILD at byte {m.at} sets the state of a {type(target).__name__}")
    elif target.state is not None:
        m.note("pickle.malformed", f"BUILD at byte {m.at} sets a state for the second time")
    else:
        # As it is now: what the stream does to this dict later, through the memo, comes too late for a loader.
        m.charge(100 * len(state) if isinstance(state, dict) else 0)
        target.state = dict(state) if isinstance(state, dict) else state


@_opcode(b"i")
def _inst(m: Machine) -> None:
    m.note("pickle.opcode", f"INST at byte {m.at}: it imports and calls at once")
    module, name = str(m.line(4096), "utf-8"), str(m.line(4096), "utf-8")
    args = tuple(m.pop_mark())
    m.find(module, name)
    m.call(m.stack.pop(), args, "inst")


@_opcode(b"o")
def _obj(m: Machine) -> None:
    m.note("pickle.opcode", f"OBJ at byte {m.at} calls what lies below it")
    callee, *args = m.pop_mark()
    m.call(callee, tuple(args), "obj")


@_opcode(b"\x82")
def _ext1(m: Machine) -> None:
    _extension(m, m.byte())


@_opcode(b"\x83")
def _ext2(m: Machine) -> None:
    _extension(m, m.number(_U2))


@_opcode(b"\x84")
def _ext4(m: Machine) -> None:
    _extension(m, m.number(_I4))


def _extension(m: Machine, number: int) -> None:
    m.note(
        "pickle.opcode", f"byte {m.at} imports extension {number} of the copyreg registry: nobody can say what it is"
    )
    m.push(Global("copyreg", f"extension_{number}", m.at), 300)


@_opcode(b"P")
def _persid(m: Machine) -> None:
    identity = str(m.line(4096), "ascii", "replace")
    m.note("pickle.persistent-id", f"PERSID at byte {m.at} asks for {identity!r}")
    m.push(Record(Global("", "persistent", m.at), (identity,), "persid", m.at), 600)


@_opcode(b"Q")
def _binpersid(m: Machine) -> None:
    found = m.persistent(m.stack.pop())
    m.handle(found, 1)  # of a module's class it is the class itself
    m.push(found, 600)
