"""Guards before a view: any attack that sees samples, queries or scores runs behind them as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.core.errors import BadInput, Unsupported
from genvet.core.report import Finding, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Probe, Result

if TYPE_CHECKING:
    from genvet.core.generator import Generator

BEST = "best"


@dataclass(frozen=True, eq=False)
class Standing:
    """A guard, and what it was given."""

    guard: Guard
    given: Any = None
    """The guard's own dataclass; None where it is given nothing."""

    def __str__(self) -> str:
        """As the report names it: gaussian_noise(sigma=0.1), with what is not at its default."""
        changed = self.guard.model_dump(mode="json", exclude_defaults=True)
        told = ", ".join(f"{name}={value}" for name, value in changed.items())
        short = self.guard.name().rpartition(".")[2]
        return f"{short}({told})" if told else short


def through(guards: Sequence[Standing], knowing: str = "") -> str:
    """What an access says of the guards before it; nothing without any."""
    if not guards:
        return ""
    ways = ", then ".join(name for name, _ in _ways(guards, knowing)) if knowing else ""
    by = f", by an attacker who {ways}" if ways else ""
    return f" through {', then '.join(map(str, guards))}{by}"


def behind(probe: Probe, target: Any, guards: Sequence[Standing], seed: int, knowing: str = "") -> tuple[Any, Any]:
    """The view that a probe is handed when guards stand before it, and the one that is charged.

    The first guard stands nearest to the model; `knowing` is a word of the way in which the attacker undoes them, or
    "best". Raises Unsupported where a guard is of no use, or before another view.
    """
    from genvet.core.queries import Queries, Samples

    access = probe.access()
    view = _plain(probe, target)
    for i, standing in enumerate(guards):
        before = standing.guard.guards()
        if before is not (Queries if access is Samples else access):
            what = f"{standing.guard.name()} stands before {before.__name__}"
            hint = "genvet list defence tells what each guard stands before"
            raise Unsupported(f"{what}, and {probe.name()} looks at {access.__name__}", hint=hint)
        given = standing.given or standing.guard.gift()()
        view = standing.guard(view, given, Rng(seed).fork("guards").fork(f"{i}"))
    charged = view
    for _, undo in _ways(guards, knowing) if knowing else ():
        view = undo(view)
    if access is Samples:
        from genvet.nets.between import Shown

        view = Shown(view)
    return view, charged


def _plain(probe: Probe, target: Any) -> Any:
    """The view that the first guard is to stand before."""
    from genvet.core.classifier import Classifier
    from genvet.core.generator import Generator
    from genvet.core.queries import Queries, Samples
    from genvet.core.scores import Scores

    access = probe.access()
    if access not in (Samples, Queries, Scores):
        what = f"{probe.name()} looks at a {access.__name__}: a guard before queries or scores is of no use against it"
        raise Unsupported(what, hint="guards stand before attacks that look at Samples, Queries or Scores")
    wanted = Scores if access is Scores else Queries
    if isinstance(target, Classifier if wanted is Scores else Generator):
        return target.seen_as(wanted)
    if not isinstance(target, wanted):
        raise Unsupported(f"no guard can stand before a {type(target).__name__}", hint=f"give what is seen as {wanted}")
    return target


def _ways(guards: Sequence[Standing], word: str) -> list[tuple[str, Callable[[Any], Any]]]:
    """What an attacker does who knows these guards, the outermost first: what holds this word, or else the best."""
    found, every = [], list[str]()
    for standing in reversed(guards):
        known = standing.guard.known()
        if not known:
            raise Unsupported(f"nothing is known against {standing.guard.name()}", hint="leave --knowing out")
        every += known
        name = next((name for name in known if word in name), next(iter(known)))
        found.append((name, known[name]))
    if word != BEST and not any(word in name for name, _ in found):
        raise BadInput(f"nothing that is known has {word!r} in it", expected=f"{BEST}, or part of: {'; '.join(every)}")
    return found


def worth(
    guard: Guard,
    target: Generator,
    given: Any = None,
    *,
    samples: int = 1024,
    seed: int = 0,
    out: Path | None = None,
    part: str = "",
) -> tuple[Result, Finding]:
    """What a guard costs an honest user, and what an attacker gets who knows it; pictures go to `out`/figures."""
    from genvet.core.queries import Queries
    from genvet.defences.filter.protecting import Filter
    from genvet.defences.filter.screened import screened
    from genvet.defences.query.utility import worth as perturbed
    from genvet.engine.running import found, gift
    from genvet.engine.shelf import Shelf

    if guard.guards() is not Queries:
        what = f"{guard.name()} stands before {guard.guards().__name__}, not before a generator's queries"
        raise Unsupported(what, hint="genvet attack INVERSION CLASSIFIER --guard measures what it is worth")
    shelf, rng = Shelf(out, target.rate), Rng(seed).fork("guards")  # the same latents for all, so that they compare
    began = time.perf_counter()
    view: Any = target.seen_as(Queries)
    measured: Callable[..., Result] = screened if isinstance(guard, Filter) else perturbed
    result = measured(guard, gift(guard, {}) if given is None else given, view, rng, samples)
    seconds = round(time.perf_counter() - began, 3)
    about = {"access": "Queries", "part": part, "seed": seed, "seconds": seconds, "device": str(target.device)}
    return result, found(guard, result, shelf, **about)


def side_by_side(findings: Sequence[Finding], titles: Sequence[str]) -> Table:
    """The measures of one attack with and without guards."""
    names = list(dict.fromkeys(m.name for finding in findings for m in finding.measures))
    told = [{m.name: m for m in finding.measures} for finding in findings]
    rows = tuple((name, *(_cell(measures.get(name)) for measures in told)) for name in names)
    return Table(title="With and without the guards", columns=("measure", *titles), rows=rows)


def _cell(measure: Any) -> Scalar:
    if measure is None or measure.value is None:
        return None
    if measure.low is None or measure.high is None:
        return float(measure.value)
    return f"{measure.value:.3g} ({measure.low:.3g} to {measure.high:.3g})"
