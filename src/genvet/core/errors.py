"""One tree of errors. Each carries a message and a hint; the command line turns any of them into exit code 2.

GenVetError
├─ UnsafeFile          would run code, or is not what it claims to be
├─ Unsupported         cannot be done to this target; the hint says what would help
│  └─ AccessDenied     needs more access than was given
├─ BadInput            shape, range, dtype, missing: shows expected and got   (also a ValueError)
│  └─ NoModel          text, a picture, a table: nothing that a loader of models would take
├─ BudgetSpent         queries used and allowed; carries the partial result
│  └─ TooCostly        even the least would cost more than is allowed
└─ Refused             the guard said no
"""

from __future__ import annotations

from typing import Any


class GenVetError(Exception):
    """Something GenVet can explain: what was expected, what was found, and what would help."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnsafeFile(GenVetError):
    """The file would run code when loaded, or is not what it claims to be."""


class Unsupported(GenVetError):
    """This cannot be done to this target; the hint says what would help."""


class AccessDenied(Unsupported):
    """The technique needs more access to the target than it was given."""


class BadInput(GenVetError, ValueError):
    """A value of the wrong shape, range or kind, or a missing one."""

    def __init__(self, what: str, *, expected: str = "", got: str = "", hint: str = "") -> None:
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if got:
            parts.append(f"got {got}")
        super().__init__("; ".join(parts), hint=hint)


class NoModel(BadInput):
    """The file is plainly no model: text, a picture, a table. A scan of a folder passes it by."""


class BudgetSpent(GenVetError):
    """The query budget is used up; `partial` holds what was measured until then."""

    def __init__(self, used: int, allowed: int, *, partial: Any = None) -> None:
        super().__init__(f"{used} queries used of {allowed} allowed", hint="raise the budget, or ask for less")
        self.used, self.allowed, self.partial = used, allowed, partial


class TooCostly(BudgetSpent):
    """Even the least that makes sense would cost more than is allowed, so nothing was done."""

    def __init__(self, what: str, *, cost: float, allowed: float, hint: str = "") -> None:
        super().__init__(0, 0)
        self.message = f"{what} would cost {cost:.2g} operations; {allowed:.2g} are allowed"
        self.args, self.hint = (self.message,), hint or "a greater depth allows more"


class Refused(GenVetError):
    """The guard before this view said no."""
