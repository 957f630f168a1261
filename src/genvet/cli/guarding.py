"""`--guard`: what stands before the view that an attack is handed, written as name:field=value,field=value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from genvet.cli import by_name
from genvet.cli.options import Flag
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.report import Finding
    from genvet.core.technique import Guard, Probe, Result
    from genvet.engine import Standing


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Guards:
    """What every attack takes that looks at samples, queries or scores."""

    guard: Annotated[list[str] | None, Parameter(negative="")] = None
    """A guard before the model, such as gaussian_noise:sigma=0.1; said again for the next one, further from the model.
    `genvet list defence` names those that stand before Queries or Scores; attacks that look at samples take the
    former."""
    knowing: str | None = None
    """Run it also as an attacker who knows the guards: best, or a word of the way, such as denoises."""
    alone: Annotated[bool, Flag] = False
    """Leave out the run without guards, which is as long."""


GUARDS = Guards()


def measured(
    probe: Probe, target: Any, gift: Any, guards: Guards, *, seed: int, out: Path | None
) -> tuple[Result, list[Finding]]:
    """Run an attack behind the guards that are asked for, and without them; the first finding is what was asked for."""
    from genvet import engine

    if not guards.guard:
        if guards.knowing or guards.alone:
            raise BadInput("there is no guard", expected="--guard NAME", hint="genvet list defence names them")
        result, finding = engine.measured(probe, target, gift, seed=seed, out=out)
        return result, [finding]
    before = standing(guards.guard, target)
    runs: dict[str, dict[str, Any]] = {"guarded": {"guards": before}}
    if guards.knowing:
        engine.through(before, guards.knowing)  # says what is not known before the work, not after it
        runs["guarded, known"] = {"guards": before, "knowing": guards.knowing}
    if not guards.alone:
        runs["plain"] = {}
    done = {title: engine.measured(probe, target, gift, seed=seed, out=out, **how) for title, how in runs.items()}
    findings = [finding for _, finding in done.values()]
    return next(iter(done.values()))[0], beside(findings, list(done))


def beside(findings: Sequence[Finding], titles: Sequence[str]) -> list[Finding]:
    """The first one with a table of all beside each other, and each one's summary under its title."""
    from genvet import engine

    if len(findings) == 1:
        return [*findings]
    told = " ".join(f"{title.capitalize()}: {f.summary}" for title, f in zip(titles, findings, strict=True))
    tables = (engine.side_by_side(findings, titles), *findings[0].tables)
    return [findings[0].model_copy(update={"summary": told, "tables": tables}), *findings[1:]]


def standing(texts: Sequence[str], target: Any) -> tuple[Standing, ...]:
    """The guards that these texts ask for, each with what it is given; raises BadInput where one does not fit."""
    from genvet import engine

    return tuple(engine.Standing(*asked(text, target)) for text in texts)


def asked(text: str, target: Any) -> tuple[Guard, Any]:
    """One guard and what it is given: fields by their names, and files for what may be given."""
    from pydantic import ValidationError

    from genvet.catalogue import find
    from genvet.core.technique import Guard
    from genvet.engine.running import gift

    name, _, rest = text.partition(":")
    kind: Any = find(name, "defence").load()
    if not issubclass(kind, Guard):
        raise BadInput(f"{kind.name()} is no guard", hint="it changes a model: genvet defend")
    # Values may hold commas; what has no = goes on with the value before it.
    pairs: list[list[str]] = []
    for part in filter(None, rest.split(",")):
        key, equal, value = part.partition("=")
        if equal:
            pairs.append([key.strip().replace("-", "_"), value.strip()])
        elif pairs:
            pairs[-1][1] += f",{part}"
        else:
            raise BadInput(f"--guard {text} does not parse", expected="name:field=value,field=value", got=part)
    settings = dict(pairs)
    given = {f.name: settings.pop(f.name) for f in fields(kind.gift()) if f.name in settings}
    try:
        guard = kind(**settings)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}; got {e['input']}" for e in error.errors())
        known = ", ".join([*kind.model_fields, *(f.name for f in fields(kind.gift()))])
        raise BadInput(f"--guard {name}: {told}", expected=f"fields: {known}") from None
    have = {key: by_name.read_for(kind, key, Path(value), target) for key, value in given.items()}
    return guard, gift(guard, have)
