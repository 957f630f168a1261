"""The list of what loading would import and call, and the evidence that follows from it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field

from genvet.core.modelfile import Call
from genvet.core.printable import printable
from genvet.files.pickles.globals import standing
from genvet.files.pickles.inert import Global, How, Record, shown
from genvet.files.reading import Reading

_KEPT = 1000
RULES = {"dangerous": "call.dangerous", "unlisted": "call.unlisted", "class": "call.unknown-class"}


@dataclass(slots=True, eq=False)
class _Import:
    found: Global
    uses: list[tuple[How, int, str]] = field(default_factory=list)
    """By which opcode it would be called, where, and with what."""


class Calls:
    """Gathers imports and calls while one stream is read; `report` hands them over."""

    def __init__(self, reading: Reading, place: str) -> None:
        self.reading, self.place = reading, place
        self._imports: dict[int, _Import] = {}
        self._expected: dict[tuple[str, str], _Import] = {}
        self._kept: dict[str, int] = {}
        self.names: list[str] = []
        """Every name imported, in order, as far as they are kept."""

    def imported(self, found: Global) -> None:
        path = (found.module, found.name)
        known = self._expected.get(path)
        if known is None:
            grade = standing(*path)
            self._kept[grade] = self._kept.get(grade, 0) + 1
            if self._kept[grade] > _KEPT:
                return  # a thousand of the same standing have been told; each standing counts for itself
            known = _Import(found)
            self.names.append(found.path)
            if grade == "expected":
                self._expected[path] = known
        self._imports[id(found)] = known

    def called(self, callee: Global | Record, args: tuple[object, ...], how: How, offset: int) -> None:
        root = callee if isinstance(callee, Global) else callee.root
        entry = self._imports.get(id(root))
        if isinstance(callee, Record):
            self._called_result(callee, args, offset)
        elif entry is not None and len(entry.uses) < 100:
            entry.uses.append((how, offset, "" if entry.uses and self._is_expected(root) else shown(args)))

    def _called_result(self, callee: Record, args: tuple[object, ...], offset: int) -> None:
        """Calling what a listed constructor gave is on no list: objects have `__call__` methods."""
        if self._is_expected(callee.root):
            message = f"byte {offset} calls what {callee.root.path} gave"
            self.reading.note("call.unlisted", message, place=self.place, offset=offset, detail=shown(args))

    def _is_expected(self, found: Global) -> bool:
        return (found.module, found.name) in self._expected

    def report(self) -> None:
        """Hand over what was gathered: a Call for each, and evidence where it is off the list."""
        for entry in dict.fromkeys(self._imports.values()):
            self._report(entry)
        self._imports, self._expected = {}, {}

    def _report(self, entry: _Import) -> None:
        found, uses = entry.found, entry.uses
        grade = standing(found.module, found.name, [how for how, _, _ in uses])
        arguments = uses[0][2] if uses else ""
        expected = (found.module, found.name, bool(uses)) if grade == "expected" else None
        if len(self.reading.calls) < 4 * _KEPT and expected not in self.reading.listed:
            self.reading.listed.update([expected] if expected else [])
            self.reading.calls.append(
                Call(
                    module=printable(found.module, 200),
                    name=printable(found.name, 200),
                    called=bool(uses),
                    standing=grade,
                    place=printable(self.place, 200),
                    offset=found.offset,
                    arguments=arguments,
                )
            )
        if grade != "expected":
            self._note(RULES[grade], entry, arguments)

    def _note(self, rule: str, entry: _Import, arguments: str) -> None:
        found, uses = entry.found, entry.uses
        message = f"imports {found.path} at byte {found.offset}"
        if uses:
            verb = "makes an object of it" if uses[0][0].startswith("newobj") else "calls it"
            message += f" and {verb} at byte {', '.join(str(at) for _, at, _ in uses[:5])}"
        self.reading.note(rule, message, place=self.place, offset=found.offset, detail=arguments)
