"""What a filter of outputs blocks and costs, what copies pass it all the same, and what its index gives away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genvet.core.errors import BudgetSpent, Refused, Unsupported
from genvet.core.progress import track
from genvet.core.queries import Queries, Reply
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Picture, Result
from genvet.defences.filter.protecting import Filter, Protecting
from genvet.maths.copied import near_copies, returned
from genvet.maths.coverage import NEIGHBOUR, coverage
from genvet.maths.quality import recall
from genvet.maths.regression import explained
from genvet.maths.retouched import retouched
from genvet.maths.statistics import clopper_pearson
from genvet.nets.between import BATCH
from genvet.nets.distortion import between
from genvet.nets.filtered import Filtered
from genvet.nets.random_features import NAME, random_features

SHOWN, RETOUCHED, WITHHELD, FITTED = 8, 256, 64, 1000
"""Outputs in a picture; copies that are changed; blocked outputs that an attacker wants; images that pixels are fitted
to."""
EVERYTHING = 0.9
"""Of the outputs: a filter that blocks so many is of no use."""


@dataclass(frozen=True)
class Count:
    """So many of so many."""

    hits: int
    n: int

    def measure(self, name: str, note: str, chance: float | None = None) -> Measure:
        """As a share with its exact interval."""
        if not self.n:
            return Measure(name=name, value=None, n=0, note=f"{note}: there are none")
        ends = clopper_pearson(self.hits, self.n)
        value = self.hits / self.n
        return Measure(name=name, value=value, low=ends.low, high=ends.high, n=self.n, chance=chance, note=note)

    def cells(self) -> tuple[Scalar, ...]:
        """Share, low, high, n."""
        ends = clopper_pearson(self.hits, self.n)
        return (self.hits / self.n if self.n else None, ends.low, ends.high, self.n)


@dataclass(frozen=True, eq=False)
class Way:
    """What somebody gets who asks for latents whose images are withheld."""

    images: Tensor
    owner: Tensor
    """The withheld image that each belongs to."""
    back: Tensor
    """Whether an image is as near to the withheld one as none of the controls is."""
    copies: int | None
    """Images that are near copies of a protected one all the same."""
    queries: float
    """For each withheld image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Screened(Result):
    """Outputs at fixed latents with and without the filter."""

    about: tuple[Measure, ...]
    unit: str
    clean: Tensor
    distance: Tensor
    blocked: Tensor
    """Which outputs are too near, (n,)."""
    reply: Reply
    """What is answered, whatever is done about these."""
    nearest: Tensor | None
    """The protected image that is nearest to each output."""
    unseen: Tensor | None
    """Distances of unseen images."""
    threshold: float
    copied: Tensor | None
    """Which outputs are near copies of a protected image."""
    left: Count | None
    """Near copies among the answers."""
    lost: tuple[Measure, ...]
    robust: Mapping[str, Count]
    ways: Mapping[str, Way | str]
    """What attackers get; or why they get nothing."""
    exposed: float | None
    """The share of the pixels' variance that the index's rows explain."""
    price: float
    asked: int

    def summary(self) -> str:
        n, hits = len(self.clean), int(self.blocked.sum())
        told = [f"{hits / n:.1%} of {n} outputs are too near"]
        if hits >= EVERYTHING * n:
            told = [f"The filter holds back {hits / n:.0%} of {n} outputs: it is of no use to anybody"]
        false = next((m for m in self.about if m.name == "false-blocks"), None)
        if false is not None and false.value is not None:
            told.append(f"{false.value:.2%} of {false.n} {false.note} would be ({false.low:.2%} to {false.high:.2%})")
        if self.copied is not None:
            caught = int((self.copied & self.blocked).sum())
            told.append(f"of {int(self.copied.sum())} near copies {caught} are held back")
        for name, way in self.ways.items():
            back = int(way.back.sum()) if isinstance(way, Way) else 0
            if isinstance(way, Way) and hits and (name != PLAIN or back):
                copies = "" if way.copies is None else f", and {way.copies} near copies"
                told.append(f"who {name} gets what looks like {back} of {self._withheld} withheld images{copies}")
        return "; ".join(told) + "."

    @property
    def _withheld(self) -> int:
        return min(WITHHELD, int(self.blocked.sum()))

    def measures(self) -> tuple[Measure, ...]:
        return (*self.about, *self._stopped(), *self.lost, *self._rest())

    def _stopped(self) -> Iterator[Measure]:
        n = len(self.clean)
        yield Count(int(self.blocked.sum()), n).measure("blocked", "outputs that are too near")
        answered = int((self.reply.status == 0).sum())
        yield Count(answered, n).measure("answered", "queries that are answered all the same")
        if self.copied is None:
            return
        copies = int(self.copied.sum())
        rank = "nearer to a protected image than any unseen one is, in pixels"
        yield Count(copies, n).measure("copies", f"outputs that are {rank}")
        yield Count(int((self.copied & self.blocked).sum()), copies).measure("copies.stopped", f"of those {rank}")
        if self.left is not None:
            yield self.left.measure("copies.left", f"answers that are {rank}")

    def _rest(self) -> Iterator[Measure]:
        yield Measure(name="price", value=self.price, n=len(self.clean), note="generator outputs that a query costs")
        if self.exposed is not None:
            note = "of the variance of protected images' pixels, told from the index by a regression on unseen images"
            yield Measure(name="index.exposes", value=self.exposed, chance=0.0, note=note)

    def tables(self) -> tuple[Table, ...]:
        columns = ("copies of", "held back", "low", "high", "n")
        rows = tuple((name, *count.cells()) for name, count in self.robust.items())
        every = [Table(title="Copies that somebody has changed", columns=columns, rows=rows)] if rows else []
        heads = ("what is done", "queries each", "answered", "got back", "low", "high", "n", "near copies", "why not")
        lines = tuple(self._row(name, way) for name, way in self.ways.items())
        return (*every, Table(title="What an attacker gets who wants what is withheld", columns=heads, rows=lines))

    def _row(self, name: str, way: Way | str) -> tuple[Scalar, ...]:
        if isinstance(way, str):
            return (name, *(None,) * 7, way)
        answered = len(way.owner.unique())
        return (name, way.queries, answered, *Count(int(way.back.sum()), self._withheld).cells(), way.copies, "")

    def figures(self) -> tuple[Figure | Picture, ...]:
        found: list[Figure | Picture] = [self._histogram()]
        top = nearest_first(self.blocked, self.distance)[:SHOWN]
        if self.clean.ndim == 4 and len(top):
            found.append(self._withheld_ones(top))
        return tuple(found)

    def _withheld_ones(self, top: Tensor) -> Picture:
        rows = {"output": self.clean[top]}
        if self.nearest is not None:
            rows["nearest protected image"] = self.nearest[top]
        ways = {"what is answered": self._answers(top)} | {
            name: _placed(way, len(top), self.clean.shape[1:])
            for name, way in self.ways.items()
            if isinstance(way, Way)
        }
        ways.pop(PLAIN, None)
        rows |= ways
        told = f"From top to bottom: {'; '.join(rows)}. An even grey stands for no answer."
        x = torch.cat(list(rows.values()))
        return Picture(title="Outputs that are held back", x=x, columns=len(top), caption=told)

    def _answers(self, top: Tensor) -> Tensor:
        """What is answered in the place of these outputs; 0 where nothing is."""
        found = torch.zeros_like(self.clean[top])
        for place, query in enumerate(top.tolist()):
            mine = (self.reply.owner == query).nonzero().flatten()
            if len(mine):
                found[place] = self.reply.images[mine[0]].float().clamp(-1, 1)
        return found

    def _histogram(self) -> Figure:
        parts = {"outputs": self.distance, "unseen images": self.unseen}
        known = {name: some[some.isfinite()] for name, some in parts.items() if some is not None}
        every = torch.cat([*known.values(), torch.tensor([self.threshold])])
        low, high = float(every.min()), float(every.max())
        high = high if high > low else low + 1
        edges, bins = torch.linspace(low, high, 41), 40
        middle = ((edges[1:] + edges[:-1]) / 2).tolist()
        series = {
            name: [middle, (some.float().histc(bins, low, high) / max(1, len(some))).tolist()]
            for name, some in known.items()
        }
        series["threshold"] = [[self.threshold] * 2, [0.0, max(max(ys) for _, ys in series.values())]]
        data = {"series": series, "x": self.unit, "y": "share"}
        return Figure(kind="curve", title="How near the nearest protected image is", data=data)

    @property
    def queries(self) -> int:
        return self.asked


PLAIN = "asks as the filter expects"


def _placed(way: Way, n: int, shape: tuple[int, ...]) -> Tensor:
    """The first answer to each of n withheld images; 0 where there is none."""
    found = torch.zeros(n, *shape)
    for image, query in zip(way.images.flip(0), way.owner.flip(0).tolist(), strict=True):
        if query < n:
            found[query] = image
    return found


def screened(guard: Guard, given: Any, view: Queries, rng: Rng, samples: int) -> Screened:
    """Measure a filter before a view that has no budget: what is answered at fixed latents, with and without it."""
    assert isinstance(guard, Filter)
    began, latents = view.used, rng.fork("latents")
    z, labels = view.latent.sample(0, samples, latents), view.latent.labels(0, samples)
    clean = _asked(view, z, labels).images.float().cpu().clamp(-1, 1)[: len(z)]
    standing = guard(view, given, rng.fork("guard"))
    assert isinstance(standing, Filtered)
    before = view.used
    reply = _asked(standing, z, labels)
    price = (view.used - before) / len(z)
    near = _near(standing, clean)
    protected, unseen = _images(given, "protected"), _images(given, "unseen")
    answers = reply.images.float().cpu().clamp(-1, 1)
    answered = _copied(answers, protected, unseen)
    return Screened(
        about=standing.about,
        unit=standing.index.unit if standing.index else "distance",
        clean=clean,
        distance=near[0],
        blocked=near[1],
        reply=Reply(answers, reply.owner.cpu(), reply.status.cpu()),
        nearest=None if near[2] is None or protected is None else protected[near[2]],
        unseen=None if unseen is None else standing.distance(unseen[:FITTED]),
        threshold=standing.threshold,
        copied=_copied(clean, protected, unseen),
        left=None if answered is None else Count(int(answered.sum()), len(answered)),
        lost=tuple(_lost(clean, answers, view, rng)),
        robust=_robust(standing, protected, clean[near[1]], rng),
        ways=_ways(guard, standing, z, labels, clean, near, protected, unseen),
        exposed=_exposed(guard, standing, given, protected, unseen),
        price=price,
        asked=view.used - began,
    )


def _images(given: Any, name: str) -> Tensor | None:
    """What a filter was given under this name; None where it takes no such thing."""
    images = getattr(given, name, None)
    return None if images is None else images.x


def _copied(x: Tensor, protected: Tensor | None, unseen: Tensor | None) -> Tensor | None:
    """Which images are near copies; None where nothing tells."""
    if protected is None or unseen is None or not len(x):
        return None
    return near_copies(x, protected, unseen).copied


def _near(standing: Filtered, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of each image its distance, whether it is blocked, and the protected image that is nearest."""
    if standing.index is None:
        distance, which = standing.distance(x), None
    else:
        found = standing.index.nearest(x)
        distance, which = found.distance, found.which
    return distance, ~(distance >= standing.threshold), which


def _asked(view: Queries, z: Tensor, labels: Tensor | None) -> Reply:
    """All replies as one."""
    kinds = [None] * len(z) if labels is None else labels.split(BATCH)
    parts = [view.ask(some, kind) for some, kind in zip(z.split(BATCH), kinds, strict=False)]
    owners = [part.owner.cpu() + i * BATCH for i, part in enumerate(parts)]
    return Reply(torch.cat([p.images for p in parts]), torch.cat(owners), torch.cat([p.status for p in parts]))


def _lost(clean: Tensor, answers: Tensor, view: Queries, rng: Rng) -> Iterator[Measure]:
    """How the distribution has moved, and what of it nobody gets any more."""
    other = random_features(view.sample(len(clean), rng.fork("others")).clamp(-1, 1))
    rows, n = random_features(answers) if len(answers) else torch.empty(0, other.shape[1]), len(answers)
    usual = random_features(clean[:n]) if n else rows
    note = f"in {NAME}, answers against clean images of other latents; chance: as many clean images"
    if n <= NEIGHBOUR:
        yield from (Measure(name=name, value=None, n=n, note="too few answers") for name in LOST)
        return
    shift = between("frechet", rows, other, usual)
    yield shift.model_copy(update={"note": note})
    for name, measure in (("recall", recall), ("coverage", coverage)):
        yield Measure(name=name, value=measure(other, rows), chance=measure(other, usual), n=n, note=note)


LOST = ("frechet", "recall", "coverage")


def _robust(standing: Filtered, protected: Tensor | None, blocked: Tensor, rng: Rng) -> dict[str, Count]:
    """Of protected images, or else of blocked outputs, as somebody has changed them: how many are held back."""
    source = blocked if protected is None else protected
    if source.ndim != 4 or source.shape[1] not in (1, 3) or not len(source):
        return {}
    some = source[torch.randperm(len(source), generator=rng.fork("retouched").block())[:RETOUCHED]]
    every = retouched(some, rng.fork("noise"))
    return {name: Count(int(standing.near(x).sum()), len(x)) for name, x in every.items()}


def _ways(
    guard: Filter,
    standing: Filtered,
    z: Tensor,
    labels: Tensor | None,
    clean: Tensor,
    near: tuple[Tensor, Tensor, Tensor | None],
    protected: Tensor | None,
    unseen: Tensor | None,
) -> dict[str, Way | str]:
    """What somebody gets who asks for the latents whose images are withheld, and knows about the filter or not."""
    distance, blocked, _ = near
    mine = nearest_first(blocked, distance)[:WITHHELD]
    controls = unseen if unseen is not None else clean[~blocked]
    if not len(mine) or not len(controls):
        return {name: "nothing is withheld, or everything" for name in (PLAIN, *guard.known())}
    found: dict[str, Way | str] = {}
    known = {PLAIN: lambda view: view, **guard.known()}
    for name, undo in track(known.items(), len(known), "ways around it"):
        before = standing.used
        try:
            reply = _asked(undo(standing), z[mine], None if labels is None else labels[mine])
        except (Unsupported, Refused, BudgetSpent) as error:
            found[name] = error.message
            continue
        x, owner = reply.images.float().cpu().clamp(-1, 1), reply.owner.cpu()
        back = returned(x, clean[mine][owner], controls) if len(x) else torch.zeros(0, dtype=torch.bool)
        copies = None if protected is None or unseen is None else 0
        if copies is not None and len(x):
            assert protected is not None and unseen is not None
            copies = int(near_copies(x, protected, unseen).copied.sum())
        found[name] = Way(x, owner, back, copies, (standing.used - before) / len(mine))
    return found


def nearest_first(blocked: Tensor, distance: Tensor) -> Tensor:
    """The outputs that are blocked, by how near they are."""
    order = distance.argsort(stable=True)
    return order[blocked[order]]


def _exposed(
    guard: Filter, standing: Filtered, given: Any, protected: Tensor | None, unseen: Tensor | None
) -> float | None:
    """How much of the protected images' pixels somebody tells from the index, who has unseen images to learn from."""
    if protected is None or unseen is None or standing.index is None or not isinstance(guard, Protecting):
        return None
    if standing.index.pictures:
        return 1.0
    rows, x, some = standing.index.rows()[:FITTED], protected[:FITTED].flatten(1), unseen[:FITTED]
    return explained(guard.index(some, given).rows(), some.flatten(1), rows, x)
