"""25 Gaussians in the plane: every theft where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.report import Claim
from genvet.core.rng import Rng
from genvet.maths.divergence import estimated, jensen_shannon
from genvet.maths.gaussians import Grid, divergence
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, table, values
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.telling import (
    MEASURES,
    NULLS,
    TARGET,
    Where,
    fidelity_below_accuracy,
    less,
    lines,
)
from genvet.reproduce.stealing.thefts import GRID, POINTS, Target, Theft, numbers

EXACT = {
    "exact.likelihood": "mean log-density of samples under the real density, nats",
    "exact.js": "JS divergence over the 25 cells, the real side exact, nats",
    "exact.good": "share of samples within 4 standard deviations of a mean",
    "exact.modes": "means that have such samples",
}
BUDGETS: dict[Scale, tuple[int, ...]] = {
    "smoke": (50, 100),
    "small": (1000, 10_000, 50_000),
    "paper": (10_000, 30_000, 50_000, 70_000, 90_000),
}
SEEDS: dict[Scale, int] = {"smoke": 1, "small": 5, "paper": 10}
TARGET_NET: dict[Scale, str] = {
    "smoke": "dense:steps=2,batch=8,width=4",
    "small": "dense:steps=5000,batch=512,average=0.9",
    "paper": "dense:steps=20000,batch=512,average=0.9",
}
THIEF = TARGET_NET | {"small": "dense:steps=2500,average=0.9"}
"""At small, it sees a quarter of what the target saw."""
UNEVEN = (6, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 6)


class Known(Cell):
    """Samples of a mixture whose weights are uneven, against the real one: the estimate beside the exact value."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    samples: Annotated[int, Field(ge=2)]

    @property
    def name(self) -> str:
        return f"gaussians-known-{self.samples}-{self.seed}"

    def where(self) -> Mapping[str, object]:
        return {"known": True, "seed": self.seed}

    def __call__(self, place: Place) -> Numbers:
        rng, other = Rng(self.seed, "known"), Grid(GRID.side, GRID.step, GRID.std, UNEVEN)
        one, two = (grid.sample(self.samples, rng.fork(name)) for name, grid in (("real", GRID), ("other", other)))
        found = estimated(GRID.cells(one), GRID.cells(two), rng)
        exact = float(jensen_shannon(GRID.masses(GRID), other.masses(GRID)))
        return {
            "js": found.value,
            "js.exact": exact,
            "js.densities": divergence(GRID, other),
            "covered": float(found.low <= exact <= found.high),
            "likelihood": float(GRID.log_density(one).mean()),
            "likelihood.exact": -GRID.entropy(),
        }


class Planar(Theft):
    """A theft of points, with what only a known density can tell."""

    def __call__(self, place: Place) -> Numbers:
        result = self.stolen(place)
        told = numbers(result) | truth(result.x)
        told |= {f"target.{name}": value for name, value in truth(result.sides.raw).items()}
        if self.attack != "fidelity":
            told |= {f"refined.{name}": value for name, value in truth(result.loot.x[: len(result.x)]).items()}
        return told


def truth(x: Tensor) -> dict[str, float]:
    """Of samples (n, 1, 1, 2), by the density that the data were drawn from."""
    points = x.view(-1, 2)
    good, modes = GRID.quality(points)
    return {
        "exact.likelihood": float(torch.clamp(GRID.log_density(points), min=-1000).mean()),
        "exact.js": float(jensen_shannon(GRID.cells(points), GRID.masses(GRID))),
        "exact.good": good,
        "exact.modes": float(modes),
    }


class Gaussians(Experiment):
    """Every theft of a small GAN of 25 Gaussians, over seeds of target and thief."""

    title: ClassVar[str] = "Data of Figure 5: 25 Gaussians, stolen in every way"
    source: ClassVar[str] = f"{SOURCE}, appendix A.1 and Algorithm 1"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_seeds(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        rows = [(words, where) for words, where in _rows(scale).items()]
        told = lines(done, rows, MEASURES | EXACT)
        own: Where = {"attack": "fidelity", "asked": BUDGETS[scale][-1]}
        told += lines(done, [(("the target itself",), own)], TARGET | _under("target"))
        refined: dict[str, Where] = {
            "what Metropolis-Hastings refined": {"attack": "accuracy_mh", "sampler": "metropolis"},
            "what rejection refined": {"attack": "accuracy_mh", "sampler": "rejection"},
        }
        counts = {"queries.raw": "raw queries", "learned-from": "samples", "acceptance": "acceptance", "stuck": "stuck"}
        told += lines(done, [((name,), where) for name, where in refined.items()], _under("refined") | counts)
        known = [
            Line(("a mixture that is known", name), None, median(values(done, name, Known)))
            for name in ("js", "js.exact", "js.densities", "covered", "likelihood", "likelihood.exact")
        ]
        differs = (
            "The figure and its numbers are in the part of the paper that we do not have: no number of it stands here.",
            f"The plane is scaled by 0.4; {POINTS:,} points, four layers of 128 units, and averaged weights.",
            "The paper does not say how long chains are, nor how much real data the attacker has.",
            NULLS,
        )
        return Told(
            (table(self.title, ("theft", "measure"), [*told, *known]),), tuple(_claims(scale, done)), (), differs
        )


def _under(name: str) -> dict[str, str]:
    return {f"{name}.{key}": words for key, words in EXACT.items()}


def _rows(scale: Scale) -> dict[tuple[str, ...], Where]:
    asked: dict[tuple[str, ...], Where] = {
        (f"fidelity, {n:,} queries",): {"attack": "fidelity", "asked": n} for n in BUDGETS[scale]
    }
    return asked | {
        ("accuracy, Metropolis-Hastings",): {"attack": "accuracy_mh", "sampler": "metropolis"},
        ("accuracy, rejection sampling",): {"attack": "accuracy_mh", "sampler": "rejection"},
        ("accuracy, white box (ours)",): {"attack": "accuracy_white_box"},
    }


def _seeds(scale: Scale) -> Iterator[Cell]:
    """Seed after seed, each with every theft once."""
    smoke = scale == "smoke"
    refined, chain = {"smoke": (60, 5), "small": (20_000, 50), "paper": (50_000, 640)}[scale]
    usual: dict[str, Any] = {"samples": 40, "clusters": 5} if smoke else {"samples": 3000, "batch": 4096}
    real = 60 if smoke else 10_000
    for seed in range(1, SEEDS[scale] + 1):
        yield Known(seed=seed, samples=POINTS if not smoke else 500)
        target = Target(data="gaussians", recipe=TARGET_NET[scale], size=1, seed=seed)
        for n in BUDGETS[scale]:
            yield Planar(target=target, attacker=THIEF[scale], settings={"queries": n, **usual})
        more: dict[str, Any] = {"attacker": THIEF[scale], "target": target, "real": real}
        refining = {"refined": refined, "chain": chain, **usual}
        yield Planar(attack="accuracy_mh", settings=refining, **more)
        yield Planar(attack="accuracy_mh", settings={**refining, "sampler": "rejection"}, **more)
        yield Planar(attack="accuracy_white_box", settings=refining, **more)


def _claims(scale: Scale, done: Done) -> Iterator[Claim]:
    plain: Where = {"attack": "fidelity", "asked": BUDGETS[scale][-1]}
    fewer: Where = {"attack": "fidelity", "asked": BUDGETS[scale][0]}
    chains: Where = {"attack": "accuracy_mh", "sampler": "metropolis"}
    inside: Where = {"attack": "accuracy_white_box"}
    yield fidelity_below_accuracy(done, "stealing.gaussians.fidelity-below-accuracy")
    words = "the most queries against the fewest"
    yield less(done, "stealing.gaussians.more-queries", words, "fidelity.js", plain, fewer)
    words = "Metropolis-Hastings against plain"
    yield less(done, "stealing.gaussians.mh-below-plain", words, "exact.js", chains, plain)
    yield less(done, "stealing.gaussians.white-box-below-mh", "white box against MH", "exact.js", inside, chains)
    refined = _gain(done)
    true = refined is not None and refined.high < 0
    note = "what chains kept, less the target: JS over the 25 cells, seed by seed"
    yield claim("stealing.gaussians.chains-come-nearer", refined, true, note, decided=refined is not None)
    covered = values(done, "covered", Known)
    share = Spread(sum(v or 0 for v in covered) / len(covered), 0, 1, len(covered)) if covered else None
    note = "intervals of the divergence that hold the exact one"
    yield claim("stealing.gaussians.intervals-cover", share, share and share.value >= 0.8, note)


def _gain(done: Done) -> Spread | None:
    return median(
        (told["refined.exact.js"] or 0) - (told["target.exact.js"] or 0)
        for cell, told in done
        if isinstance(cell, Planar) and cell.attack == "accuracy_mh" and cell.where()["sampler"] == "metropolis"
    )
