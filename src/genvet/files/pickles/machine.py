"""A pickle machine that builds nothing: it walks the opcodes of protocols 0 to 5 and keeps inert values and evidence.

Runs in the child process: standard library only. Nothing is ever imported or called for the file. What loading *would*
import and call is listed with byte offsets, and reading goes on behind it, so that the list is complete.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genvet.files.pickles import hidden, opcodes
from genvet.files.pickles.calls import Calls
from genvet.files.pickles.globals import is_special, normal
from genvet.files.pickles.inert import BytesLike, Global, How, Record, key
from genvet.files.pickles.plain import PLAIN
from genvet.files.pickles.unfolding import check_expansion
from genvet.files.reading import MIB, Reading, Stop

Value = Any
PersistentLoad = Callable[[Value, int], Value]
Evaluate = Mapping[tuple[str, str], Callable[[tuple[Value, ...], int], Value]]
"""Constructors that our own code carries out: (module, name) -> function of the arguments and the byte offset."""

_NO_FRAME = 1 << 62
_NOTHING = object()
_COPIED = {str: 1, list: 100, tuple: 64, dict: 110}
"""Bytes for each element of an argument that a constructor may copy."""
_COPIED_UP_TO = 1024
SNIFFING = 9
"""As `nesting`: the stream is only tried, to see whether it is one."""
_FATAL = ("pickle.limit", "archive.bomb")
_READ_INSIDE = ("torch.storage", "_load_from_bytes")
"""Its argument is a pickle on purpose: torch_files reads it, so that it need not be told as a hidden one."""


@dataclass(frozen=True)
class Limits:
    """Caps on one pickle that no honest model file comes near."""

    opcodes: int = 5_000_000
    memo: int = 5_000_000
    """The largest memo index: CPython allocates a table of twice that size."""
    memory: int = 64 * MIB
    """Bytes that the inert values may take, beside four times the stream's length."""
    integer: int = 1024
    """Bytes of one integer; converting decimal text takes quadratic time."""
    depth: int = 1000
    unfolded: int = 10_000_000
    """Values that a walk through the result would meet, if it did not remember where it has been."""
    tuple_keys: int = 10_000
    streams: int = 100
    """Pickles behind one another."""


def run(
    data: memoryview,
    reading: Reading,
    place: str,
    *,
    persistent_load: PersistentLoad | None = None,
    evaluate: Evaluate | None = None,
    made: list[Record] | None = None,
) -> Value:
    """Read a file or member that should be one pickle; gives its inert value.

    Bytes come as `bytes`, or as a read-only memoryview where they are long. Raises Stop where the stream breaks off;
    what could be seen in the rest is noted before that. `made` takes every record that the stream makes, also those
    that it throws away again.
    """
    machine = Machine(data, reading, place, persistent_load=persistent_load, evaluate=evaluate, made=made)
    value = machine.load()
    if machine.pos < len(data):
        _read_on(machine)
    return value


def _read_on(machine: Machine) -> None:
    """Tell what follows STOP, and read it too: some loaders do."""
    reading, place, data = machine.reading, machine.place, machine.data
    left = len(data) - machine.pos
    reading.note("pickle.trailing", f"{left} bytes after the end of the pickle", place=place, offset=machine.pos)
    for _ in range(machine.limits.streams):
        if machine.pos >= len(data):
            return
        try:
            machine.load()
        except Stop:
            return  # the rest was searched for names by then


class Machine:
    """Reads one pickle after another from `data`; `pos` is where the next one would begin."""

    def __init__(
        self,
        data: memoryview,
        reading: Reading,
        place: str = "",
        *,
        start: int = 0,
        persistent_load: PersistentLoad | None = None,
        evaluate: Evaluate | None = None,
        made: list[Record] | None = None,
        limits: Limits = Limits(),
        nesting: int = 0,
    ) -> None:
        self.data = data.toreadonly().cast("B")
        self.reading, self.place, self.limits, self.nesting = reading, place, limits, nesting
        self.persistent_load, self.evaluate = persistent_load, {**PLAIN, **(evaluate or {})}
        self.made: list[Record] = [] if made is None else made
        self.start = self.pos = self.at = start
        self.end = len(self.data)
        self.calls = Calls(reading, place)
        self._reset()

    def _reset(self) -> None:
        self.start, self.frame_end, self.tuple_keys, self.salvaged = self.pos, _NO_FRAME, 0, False
        self.memory = self.limits.memory + 4 * (self.end - self.pos)
        self.stack: list[Value] = []
        self.marked: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.suspects: list[tuple[int, str | BytesLike]] = []
        self.read_inside: dict[int, Value] = {}
        self.handed_on: dict[Global, int] = {}

    def load(self) -> Value:
        """Read one pickle to its STOP. Raises Stop where that cannot be done, after searching the rest for names."""
        self._reset()
        try:
            value = self._steps()
        except (Stop, IndexError, ValueError) as error:
            raise self._give_up(error) from None
        finally:
            self._tell_handed_on()
            self.calls.report()
            hidden.examine(self)
        check_expansion(value, self.limits.depth, self.limits.unfolded, self.start)
        return value

    def _tell_handed_on(self) -> None:
        """Where a function that runs what it is given was neither called nor left waiting for its arguments."""
        if any(self.handed_on.values()):
            for waiting in (value for stack in [self.stack, *self.marked] for value in stack):
                self.handle(waiting, -1)
        for found in (f for f, times in self.handed_on.items() if times > 0):
            self.note("call.unlisted", f"{found.path} is handed on as a value: something else would call it")

    def _give_up(self, error: Exception) -> Stop:
        if self.nesting < SNIFFING:
            hidden.salvage(self)
        return error if isinstance(error, Stop) else Stop("pickle.malformed", f"byte {self.at}: {error}", self.at)

    def _steps(self) -> Value:
        data, table, end = self.data, opcodes.TABLE, self.end
        for _ in range(self.limits.opcodes):
            at = self.at = self.pos
            if at >= end:
                raise Stop("file.truncated", f"the pickle breaks off at byte {at}", at)
            code = data[at]
            self.pos = at + 1
            if code == 46:
                return self._stop()
            table[code](self)
            if self.pos >= self.frame_end:
                self._leave_frame()
        raise Stop("pickle.limit", f"more than {self.limits.opcodes} opcodes", self.at)

    def _stop(self) -> Value:
        if self.frame_end not in (_NO_FRAME, self.pos):
            self.note("pickle.frame", f"the stream stops at byte {self.at} but its frame ends at {self.frame_end}")
        value = self.stack.pop()
        if self.stack or self.marked:
            self.note("pickle.malformed", f"values are left on the stack at the STOP at byte {self.at}")
        return value

    def _leave_frame(self) -> None:
        if self.pos > self.frame_end:
            self.note("pickle.frame", f"the opcode at byte {self.at} reaches over the frame's end at {self.frame_end}")
            if not self.salvaged:  # CPython drops the rest of the frame here and goes on elsewhere than we do
                hidden.salvage(self)
        self.frame_end = _NO_FRAME

    # --- What the opcodes below are made of.

    def note(self, rule: str, message: str) -> None:
        self.reading.note(rule, message, place=self.place, offset=self.at)

    def charge(self, n: int) -> None:
        """Count `n` bytes of memory, before they are taken."""
        self.memory -= n
        if self.memory < 0:
            raise Stop(
                "pickle.limit", f"the values take far more memory than the {self.end} bytes of the stream", self.at
            )

    def push(self, value: Value, cost: int = 40) -> None:
        self.memory -= cost
        if self.memory < 0:
            self.charge(0)
        self.stack.append(value)

    def take(self, n: int) -> memoryview:
        """The next `n` bytes, not copied."""
        first = self.pos
        self.pos = last = first + n
        if last > self.end:
            raise Stop("file.truncated", f"byte {self.at} needs {n} bytes more, {self.end - first} are left", self.at)
        return self.data[first:last]

    def byte(self) -> int:
        at = self.pos
        if at >= self.end:
            self.take(1)
        self.pos = at + 1
        return self.data[at]

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def line(self, limit: int | None = None) -> bytes:
        """Up to the next line feed, without it."""
        limit = self.reading.limits.text if limit is None else limit
        size = 256
        while True:
            block = bytes(self.data[self.pos : self.pos + min(size, limit + 1)])
            found = block.find(b"\n")
            if found >= 0:
                self.pos += found + 1
                return block[:found]
            if len(block) > limit:
                raise Stop("pickle.limit", f"the line at byte {self.at} is longer than {limit} bytes", self.at)
            if len(block) < size:
                raise Stop("file.truncated", f"the line at byte {self.at} has no end", self.at)
            size *= 4

    def text(self, n: int) -> str:
        raw = self.take(n)
        if n > self.reading.limits.text:
            raise Stop("pickle.limit", f"a text of {n} bytes at byte {self.at}", self.at)
        self.charge(n)
        value = str(raw, "utf-8", "surrogatepass")
        if n >= 20 and hidden.looks_encoded(value):
            self.suspects.append((self.at, value))
        return value

    def binary(self, n: int) -> BytesLike:
        """Bytes: copied where they are short, a view of the file where they are long."""
        raw: BytesLike = self.take(n)
        if n <= _COPIED_UP_TO:
            self.charge(n)
            raw = bytes(raw)
        if n >= 8 and hidden.looks_like_pickle(raw):
            self.suspects.append((self.at, raw))
        return raw

    def old_text(self, n: int) -> str | BytesLike:
        """A string of Python 2: text where it is ASCII, else bytes."""
        value = self.binary(n)
        if n <= self.reading.limits.text and bytes(value[:4096]).isascii():
            self.charge(n)
            copy = bytes(value)
            return str(copy, "ascii") if copy.isascii() else value
        return value

    def push_found(self, value: str | BytesLike) -> None:
        """Push a text or bytes that came as a line."""
        looks = hidden.looks_encoded(value) if isinstance(value, str) else hidden.looks_like_pickle(value)
        if looks:
            self.suspects.append((self.at, value))
        self.push(value)

    def pop_mark(self) -> list[Value]:
        if not self.marked:
            raise Stop("pickle.malformed", f"byte {self.at} wants a MARK and there is none", self.at)
        items, self.stack = self.stack, self.marked.pop()
        return items

    def hashable(self, value: Value) -> Value:
        if isinstance(value, (list, dict, set, bytearray)):
            raise Stop("pickle.malformed", f"byte {self.at} uses a {type(value).__name__} as a key", self.at)
        if isinstance(value, (tuple, frozenset)):
            self.tuple_keys += 1
            if self.tuple_keys > self.limits.tuple_keys:
                raise Stop("pickle.limit", f"more than {self.limits.tuple_keys} keys that are tuples", self.at)
        return key(value)

    def remember(self, index: int) -> None:
        if not 0 <= index < self.limits.memo:
            raise Stop("pickle.limit", f"memo index {index} at byte {self.at} would exhaust memory", self.at)
        value = self.stack[-1]
        self.charge(140)
        if index in self.memo and self.memo[index] is not value:
            self.note("pickle.memo", f"byte {self.at} overwrites memo entry {index}, which no pickler does")
        self.memo[index] = value

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise Stop("pickle.memo", f"byte {self.at} fetches memo entry {index}, which was never stored", self.at)
        value = self.memo[index]
        self.handle(value, 1)
        self.push(value, 8)

    def handle(self, value: Value, times: int) -> None:
        """Count how often a function that runs what it is given lies on the stack, beside being called."""
        if value.__class__ is Global and is_special(value.module, value.name):
            self.handed_on[value] = self.handed_on.get(value, 0) + times

    def find(self, module: Value, name: Value) -> None:
        """What GLOBAL and STACK_GLOBAL would import."""
        if not (isinstance(module, str) and isinstance(name, str)):
            kinds = f"{type(module).__name__} and {type(name).__name__}"
            raise Stop("pickle.memo", f"the import at byte {self.at} takes its name from {kinds}", self.at)
        found = Global(module, name, self.at)
        self.calls.imported(found)
        self.handle(found, 1)
        self.push(found, 300)

    def persistent(self, identity: Value) -> Value:
        """What a persistent id stands for: a storage in a torch file, nothing elsewhere."""
        if self.persistent_load is None:
            self.note("pickle.persistent-id", f"BINPERSID at byte {self.at} outside a torch file")
        else:
            try:
                return self.persistent_load(identity, self.at)
            except Stop as stop:
                if stop.rule in _FATAL:
                    raise
                self.note(stop.rule, stop.message)
        return Record(Global("", "persistent", self.at), (identity,), "persid", self.at)

    def call(self, callee: Value, args: Value, how: How, kwargs: Mapping[Any, Any] | None = None) -> None:
        """What REDUCE, NEWOBJ and their like would call: carried out by our own code, or kept as a record."""
        if not isinstance(callee, (Global, Record)) or not isinstance(args, tuple):
            kinds = f"{type(callee).__name__} with a {type(args).__name__}"
            raise Stop("pickle.malformed", f"byte {self.at} calls a {kinds}", self.at)
        self.handle(callee, -1)
        self.calls.called(callee, args, how, self.at)
        made = self._carry_out(callee, args) if isinstance(callee, Global) and how == "reduce" else _NOTHING
        if made is _NOTHING:
            made = Record(callee, args, how, self.at, kwargs or {})
        if isinstance(made, Record):
            self.made.append(made)
        self.push(made, 400)

    def _carry_out(self, callee: Global, args: tuple[Value, ...]) -> Value:
        """The value, where our own code can make it."""
        path = normal(callee.module, callee.name)
        function = self.evaluate.get(path)
        if function is None:
            return _NOTHING
        if path == _READ_INSIDE:
            self.read_inside.update((id(a), a) for a in args)
        copied = (a.items if isinstance(a, Record) else a for a in args)
        self.charge(sum(_COPIED[type(a)] * len(a) for a in copied if type(a) in _COPIED))
        try:
            made = function(args, self.at)
        except Stop as stop:
            if stop.rule in _FATAL:
                raise
            self.note(stop.rule, stop.message)
            return _NOTHING
        if isinstance(made, bytes) and hidden.looks_like_pickle(made):
            self.suspects.append((self.at, made))
        return made
