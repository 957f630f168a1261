"""Attacks on a served generator within one budget, and what its policy costs an honest client: `genvet guard-test`.

No attack here is made for this: each is the technique that `genvet attack` and `genvet study` run, on the queries that
its share of the budget pays for, behind the service's policy and, where the bare model is at hand, without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from genvet.catalogue import find
from genvet.core.data import Images, Split
from genvet.core.errors import BadInput, BudgetSpent, GenVetError, Unsupported
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.queries import Queries, Reply
from genvet.core.report import Finding, Measure, NotChecked, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.severity import worst
from genvet.core.technique import Probe
from genvet.engine.exposure import EXPOSURES, exposes, weighed
from genvet.engine.guarding import side_by_side
from genvet.engine.running import gift, measured

LEAST = 1000
"""Queries, below which a test says nothing."""
SHARES = {"honest": 0.10, "borders": 0.10, "theft": 0.40, "nearest": 0.15, "recovery": 0.25}
"""Of the budget, whether a part runs or not: so that two tests of one budget compare."""
SINGLE = 0.2
"""Of the honest client's share, for queries one at a time."""
MOST_SINGLE, MOST_HONEST, MOST_EACH, MOST_SAMPLES = 200, 2000, 64, 2000
RECORDS, PAIRS = (64, 48, 32, 24), 4
"""Of each set that are searched for, the most that the budget pays for; and pairs of queries in a step."""
HONEST = "honest"


@dataclass(frozen=True, eq=False, kw_only=True)
class Known:
    """What a tester has beside the address."""

    members: Images | None = None
    """Records that the model was trained on."""
    non_members: Images | None = None
    """Records of the same kind that it never saw."""
    split: Split | None = None
    """Both in one."""
    reference: Images | None = None
    """Real samples like those that the model learned from."""
    undefended: Generator | None = None
    """The model without its policy."""


@dataclass(frozen=True, eq=False)
class Part:
    """One technique of the test, on its share of the budget."""

    name: str
    probe: Probe
    given: dict[str, Any]
    queries: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a test came to."""

    findings: tuple[Finding, ...]
    """The summary first, then one of each part."""
    not_checked: tuple[NotChecked, ...]
    used: int


@dataclass(eq=False)
class Allowance:
    """A share of a view's budget, on which a clock is kept."""

    view: Queries
    allowed: int
    used: int = 0
    seconds: list[tuple[int, float]] = field(default_factory=list)
    """Of each request: its queries, and how long it took."""

    def __post_init__(self) -> None:
        self.latent, self.shape = self.view.latent, self.view.shape
        self.chooses: bool = getattr(self.view, "chooses", True)
        self.brings: int = getattr(self.view, "brings", 1)

    @property
    def left(self) -> int | None:
        """Queries that both this share and the view still pay for."""
        mine = self.allowed - self.used
        return mine if self.view.left is None else min(mine, self.view.left)

    def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
        """Whatever comes back; raises BudgetSpent before any is asked that this share does not pay for."""
        reply: Reply = self._clocked(len(z), lambda: self.view.ask(z, labels))
        return reply

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images (n, *shape); raises Refused unless each query brings one."""
        return self.ask(z, labels).one_each()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """The first `n` images of this stream."""
        found: Tensor = self._clocked(-(-n // self.brings), lambda: self.view.sample(n, rng))
        return found

    def _clocked(self, n: int, work: Callable[[], Any]) -> Any:
        left = self.left
        if left is not None and n > left:
            raise BudgetSpent(self.used, self.allowed)
        before, began = self.view.used, time.perf_counter()
        try:
            return work()
        finally:
            charged = self.view.used - before
            self.used += charged
            self.seconds.append((max(charged, 1), time.perf_counter() - began))


def guard_test(
    view: Queries,
    budget: int,
    known: Known,
    *,
    attacker: str = "adversarial:steps=1000",
    plain: bool = True,
    seed: int = 0,
    out: Path | None = None,
) -> Outcome:
    """Attack a served generator with `budget` queries, and measure what an honest client gets.

    With the bare model in `known`, every part runs on it too, in this process, on as many queries; `plain` False leaves
    that out. Raises BadInput where the budget tells nothing.
    """
    if budget < LEAST:
        raise BadInput("so few queries tell nothing", expected=f"{LEAST} or more", got=str(budget))
    findings, beside, gaps, used = list[Finding](), dict[str, Finding](), list(_left_out(view, known)), 0
    parts = list(_parts(view, budget, known, attacker))
    for part in track(parts, len(parts), "attacks on the endpoint"):
        allowance = Allowance(view, part.queries)
        try:
            finding = _run(part, allowance, seed, out)
            findings.append(weighed(finding.model_copy(update={"queries": allowance.used})))
        except GenVetError as error:
            gaps.append(_gap(part, error))
        used += allowance.used
    if known.undefended is not None and plain:
        beside = dict(_without_policy(parts, findings, known.undefended, seed))
    findings = [_beside(f, beside[f.technique]) if f.technique in beside else f for f in findings]
    return Outcome((_summary(findings, beside, used, budget, seed), *findings), tuple(gaps), used)


def _gap(part: Part, error: GenVetError) -> NotChecked:
    reason: Literal["budget", "error"] = "budget" if isinstance(error, BudgetSpent) else "error"
    return NotChecked(technique=part.probe.name(), reason=reason, detail=printable(error.message, 300))


def _left_out(view: Queries, known: Known) -> Iterator[NotChecked]:
    """What does not apply, and what was not asked for."""
    chooses = getattr(view, "chooses", True)
    told = known.split is not None or (known.members is not None and known.non_members is not None)
    if not chooses:
        for name in ("borders", "membership.latent_recovery_black_box"):
            why = "the service draws its latents itself: nobody can send any"
            yield NotChecked(technique=name, reason="not_applicable", detail=why)
    if not told:
        names = ["membership.nearest"] + ["membership.latent_recovery_black_box"] * chooses
        for name in names:
            why = "who is a member, and who is not? --members and --non-members, or --split"
            yield NotChecked(technique=name, reason="not_requested", detail=why)


def _parts(view: Queries, budget: int, known: Known, attacker: str) -> Iterator[Part]:
    """The techniques that apply, each set to what its share pays for."""
    share = {name: int(budget * part) for name, part in SHARES.items()}
    chooses, bare = getattr(view, "chooses", True), {"undefended": known.undefended}
    honest = min(share["honest"], MOST_HONEST)
    yield _part("honest", {"queries": honest - _single(honest)}, bare, honest)
    if chooses:
        each = min(share["borders"] // 15, MOST_EACH)  # seven kinds, and eight latents again and again
        yield _part("borders", {"each": each, "repeats": max(2, each)}, bare, share["borders"])
    measuring = 0 if known.undefended is not None else min(int(0.4 * share["theft"]), 2 * MOST_SAMPLES)
    samples = measuring // 2 or min(MOST_SAMPLES, share["theft"])
    theft = {"attacker": attacker, "queries": share["theft"] - measuring, "samples": samples}
    theft |= {"prior": "declared" if chooses else "samples", "clusters": min(30, max(2, samples // 10))}
    yield _part("extraction.fidelity", theft, {**bare, "reference": known.reference}, share["theft"])
    who = {"members": known.members, "non_members": known.non_members, "split": known.split}
    if known.split is None and (known.members is None or known.non_members is None):
        return
    yield _part("membership.nearest", {"samples": share["nearest"]}, who, share["nearest"])
    if chooses:
        few, walk = _walk(who, share["recovery"])
        yield _part("membership.latent_recovery_black_box", walk, {"split": few}, share["recovery"])


def _part(name: str, settings: dict[str, Any], have: dict[str, Any], queries: int) -> Part:
    probe: Any = find(name).load()(**settings)
    return Part(name, probe, have, queries)


def _single(honest: int) -> int:
    return min(int(SINGLE * honest), MOST_SINGLE)


def _walk(who: dict[str, Any], queries: int) -> tuple[Split, dict[str, int]]:
    """Whose records are searched for, and how: fewer of them, where the budget pays for no three steps of each."""
    split = who["split"] or Split(who["members"], who["non_members"])
    rest = queries - queries // 4
    for count in RECORDS:
        few = _first(split, count)
        steps = rest // (2 * PAIRS * (len(few.members) + len(few.non_members)))
        if steps >= 3:
            break
    return few, {"samples": queries // 4 if steps else queries, "steps": steps, "pairs": PAIRS}


def _first(split: Split, count: int) -> Split:
    """The first records of both sets: a search for each takes queries of its own."""

    def first(images: Images) -> Images:
        return replace(images, x=images.x[:count], names=images.names[:count])

    people = None if split.people is None else (split.people[0][:count], split.people[1][:count])
    return Split(first(split.members), first(split.non_members), people)


def _run(part: Part, view: Allowance, seed: int, out: Path | None) -> Finding:
    """One part's finding; of the honest client, with how long answers took."""
    _, finding = measured(part.probe, view, gift(part.probe, part.given), seed=seed, out=out)
    if part.name != HONEST:
        return finding
    batched = [(n, seconds) for n, seconds in view.seconds if n > 1]
    view.seconds.clear()
    rng = Rng(seed).fork("one at a time")
    for i in range(_single(part.queries)):
        try:
            if view.chooses:
                view.ask(view.latent.sample(i, i + 1, rng), view.latent.labels(i, i + 1))
            else:
                view.sample(1, rng.fork(str(i)))
        except Unsupported:
            raise
        except GenVetError:
            continue
    taken = torch.tensor([seconds for _, seconds in view.seconds]).double()
    told = [] if not len(taken) else [_seconds("latency.p50", taken, 0.5), _seconds("latency.p99", taken, 0.99)]
    if batched:
        n, seconds = sum(n for n, _ in batched), sum(seconds for _, seconds in batched)
        note = "of requests for several images, one after another; the way there and back included"
        told.append(Measure(name="queries-per-second", value=n / max(seconds, 1e-9), n=n, note=note))
    return finding.model_copy(update={"measures": (*finding.measures, *told)})


def _seconds(name: str, taken: Tensor, share: float) -> Measure:
    note = "of requests for one image, one after another; the way there and back included"
    return Measure(name=name, value=float(taken.quantile(share)), unit="s", n=len(taken), note=note)


def _without_policy(
    parts: Sequence[Part], done: Sequence[Finding], bare: Generator, seed: int
) -> Iterator[tuple[str, Finding]]:
    """The same parts on the bare model, for as many queries; those that went wrong on the endpoint are left out."""
    ran = {f.technique for f in done}
    for part in (part for part in parts if part.probe.name() in ran):
        try:
            view = Allowance(bare.seen_as(Queries), part.queries)  # type: ignore[arg-type]
            yield part.probe.name(), _run(part, view, seed, None)
        except GenVetError:
            continue


def _beside(finding: Finding, plain: Finding) -> Finding:
    table = side_by_side([finding, plain], ["endpoint", "without its policy"])
    table = table.model_copy(update={"title": "With and without the policy"})
    return finding.model_copy(update={"tables": (table, *finding.tables)})


def _summary(findings: Sequence[Finding], plain: dict[str, Finding], used: int, budget: int, seed: int) -> Finding:
    """What the policy costs the attacker and the honest client, on one page."""
    severity = worst(f.severity for f in findings)
    reasons = [f"{f.technique}: {f.reason}" for f in findings if f.severity is severity]
    shown = sorted((one for f in findings for one in exposes(f)), key=lambda one: -one[0].rank)
    told = "; ".join(f"{why} ({severity})" for severity, why in shown)
    told = f"Exposed: {told}." if told else "Nothing that these attacks look for was exposed, at their power."
    honest = " ".join(f"The honest client: {f.summary}" for f in findings if f.technique == HONEST)
    return Finding(
        technique="endpoint",
        version=1,
        access="Queries",
        config={"budget": budget},
        severity=severity,
        reason="; ".join(reasons) if severity.rank else "nothing that this test counts",
        summary=f"{used} of {budget} queries were used. {told} {honest}".strip(),
        tables=(
            _costs("What an attacker gets", ATTACKER, findings, plain),
            _costs("What an honest client gets", CLIENT, findings, plain),
        ),
        queries=used,
        seed=seed,
    )


CLIENT = tuple(
    (HONEST, name)
    for name in ("answered", "price", "latency.p50", "latency.p99", "queries-per-second", "psnr", "ssim", "frechet")
)
LESS = ("far-2.answered", "fidelity.js")
"""What the attacker's table leaves to the findings themselves: a page shows ten rows at once."""
ATTACKER = tuple((e.technique, e.measure) for e in EXPOSURES if e.measure not in LESS)


def _costs(title: str, names: Sequence[tuple[str, str]], done: Sequence[Finding], plain: dict[str, Finding]) -> Table:
    """A row for each of these numbers that there is, beside that without the policy."""
    of, bare = ({f.technique: {m.name: m for m in f.measures} for f in some} for some in (done, plain.values()))
    rows: list[tuple[Scalar, ...]] = []
    for technique, name in names:
        m, other = of.get(technique, {}).get(name), bare.get(technique, {}).get(name)
        if m is not None:
            what = f"{technique} {name}" + f" ({m.unit})" * bool(m.unit)
            rows.append((what, m.value, m.low, m.high, m.chance, m.n, None if other is None else other.value))
    columns = ("what", "endpoint", "low", "high", "chance", "n", "without its policy")
    return Table(title=title, columns=columns, rows=tuple(rows))
