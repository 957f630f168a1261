"""Disentangle: whether single dimensions account for single factors, beside random turns of the same latent basis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result
from genvet.maths.boundaries import boundary
from genvet.maths.disentanglement import Fit, dci, mig, random_turn, sap, squared_correlations
from genvet.maths.quality import Estimate, estimate_one
from genvet.maths.statistics import rank_p_value
from genvet.nets.editing import Readings, readings_at
from genvet.nets.path_length import path_lengths, without_extremes
from genvet.nets.random_features import NAME, random_features
from genvet.nets.style_space import S, Space, space

SCORES = ("dci.disentanglement", "dci.completeness", "mig", "sap")
"""Those that depend on the basis; each is put beside turned ones."""
FEWEST_PATHS = 4
"""For a mean with an interval."""


@dataclass(frozen=True)
class Given:
    """A classifier: its classes are read beside the factors, and its last hidden layer measures path lengths."""

    classifier: Classifier | None = None


@dataclass(frozen=True)
class Named:
    """The dimension that goes along most with one factor, and the same of every turned basis."""

    factor: str
    dimension: str
    value: Estimate
    """Squared correlation."""
    turned: tuple[float, ...]

    @property
    def p(self) -> float:
        """How often a turned basis has a dimension as good."""
        return rank_p_value(-self.value.value, [-t for t in self.turned])


@dataclass(frozen=True, eq=False, kw_only=True)
class Disentangled(Result):
    """Scores of the basis as it is, of turned ones, and the dimensions that come nearest to a factor."""

    where: str
    dims: int
    fit: Fit
    scores: dict[str, Estimate]
    turned: dict[str, tuple[float, ...]]
    explained: float
    named: tuple[Named, ...]
    correlations: Tensor
    """Squared, (dimensions, factors)."""
    dimensions: tuple[str, ...]
    path: Estimate | None
    path_space: str
    separable: dict[str, float]
    """Bits of each factor that a plane leaves open."""
    n: int
    paths: int

    @property
    def special(self) -> int:
        """Factors whose best dimension no turned basis has the like of."""
        return sum(all(named.value.value > t for t in named.turned) for named in self.named)

    @property
    def by_chance(self) -> float:
        return len(self.named) / (1 + len(self.named[0].turned)) if self.named else 0.0

    def p(self, score: str) -> float:
        """How often a turned basis has as high a score, itself among them."""
        return rank_p_value(-self.scores[score].value, [-t for t in self.turned[score]])

    def summary(self) -> str:
        best = max(self.named, key=lambda named: named.value.value)
        told = [
            f"{score} {self.scores[score].value:.3g} (turned {_middle(self.turned[score]):.3g}, p {self.p(score):.2g})"
            for score in SCORES
        ]
        return (
            f"{self.dims} dimensions of {self.where} and {len(self.named)} factors, on {self.n} images, beside "
            f"{len(best.turned)} random turns of the basis: {', '.join(told)}. For {self.special} of the factors some "
            f"dimension goes along more than in any turned basis ({self.by_chance:.2g} by chance); "
            f"{best.dimension} explains most, {100 * best.value.value:.3g} % of {best.factor}."
        )

    def measures(self) -> tuple[Measure, ...]:
        made = []
        for name in SCORES:
            value, low, high = self.scores[name]
            note = f"by chance: the median of turned bases; p {self.p(name):.2g}"
            chance = _middle(self.turned[name])
            made.append(Measure(name=name, value=value, low=low, high=high, chance=chance, n=self.n, note=note))
        how = "on pairs held back, by a lasso" if self.fit == "l1" else "on pairs held back, by boosted trees"
        made.append(Measure(name="dci.informativeness", value=self.explained, chance=0.0, n=self.n, note=how))
        made.append(Measure(name="special", value=self.special, chance=self.by_chance, n=len(self.named)))
        if self.path:
            note = f"mean squared distance over squared step in {self.path_space}; compare within it alone"
            value, low, high = self.path
            made.append(Measure(name="path-length", value=value, low=low, high=high, n=self.paths, note=note))
        if self.separable:
            value = 2 ** sum(self.separable.values())
            chance = 2.0 ** len(self.separable)
            note = "2 to the bits that planes leave open of the factors, the highest quarter against the lowest"
            made.append(Measure(name="linear-separability", value=value, chance=chance, n=self.n, note=note))
        return tuple(made)

    def figures(self) -> tuple[Figure, ...]:
        most = self.correlations.amax(1).argsort(descending=True)[:40].sort().values.tolist()
        heat = Figure(
            kind="heat",
            title="How far a dimension goes along with a factor",
            caption="Squared correlations; of more than 40 dimensions, those with the largest.",
            data={
                "values": self.correlations[most].tolist(),
                "rows": [self.dimensions[k] for k in most],
                "columns": [named.factor for named in self.named],
            },
        )
        at = list(range(len(self.named)))
        series = {
            "turned bases": [
                [i for i in at for _ in self.named[i].turned],
                [t for named in self.named for t in named.turned],
            ],
            "this basis": [[i + 0.2 for i in at], [named.value.value for named in self.named]],
        }
        factors = ", ".join(f"{i} {named.factor}" for i, named in enumerate(self.named))
        data = {"series": series, "x": "factor", "y": "largest squared correlation", "log": False}
        title = "The best dimension of each factor, beside turned bases"
        return heat, Figure(kind="scatter", title=title, caption=f"Factors: {factors}.", data=data)

    def tables(self) -> tuple[Table, ...]:
        columns = ("factor", "dimension", "squared correlation", "low", "high", "n", "turned: median", "largest", "p")
        title = "Which dimension is which factor, beside turned bases"
        return (Table(title=title, columns=columns, rows=tuple(self._rows())), *self._planes())

    def _rows(self) -> Iterator[tuple[Scalar, ...]]:
        for named in self.named:
            reached = (_middle(named.turned), max(named.turned))
            yield (named.factor, named.dimension, *named.value, self.n, *reached, named.p)

    def _planes(self) -> tuple[Table, ...]:
        rows = tuple(self.separable.items())
        title = f"What a plane in {self.where} leaves open of a factor, its highest quarter against its lowest"
        return (Table(title=title, columns=("factor", "bits of 1"), rows=rows),) if rows else ()

    @property
    def queries(self) -> int:
        return self.n + 2 * self.paths


class Disentangle(Probe):
    """Measures whether single dimensions account for single factors, beside turned bases."""

    source: ClassVar[str] = (
        "Eastwood, Williams 2018 (DCI); Chen et al. 2018 (MIG); Kumar et al. 2018 (SAP); Karras et al. 2019, sec. 4"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 200, "turns": 3, "paths": 8}

    space: Literal["z", "w", "s"] = "z"
    """Whose dimensions: the latent's, those of w, or the channels of the layers' styles."""
    layers: str = ""
    """Of s, such as b8.conv0,b8.conv1; all of them unless given."""
    samples: Annotated[int, Field(ge=160, le=200_000)] = 2000
    """Images whose factors are measured."""
    turns: Annotated[int, Field(ge=1, le=1000)] = 39
    """Random turns of the basis to compare with."""
    fit: Literal["l1", "boosted"] = "l1"
    """Importances for DCI: a lasso's coefficients, or those of boosted trees, which take much longer."""
    most: Annotated[int, Field(ge=2, le=4096)] = 256
    """Dimensions at most: those that vary most, where there are more."""
    paths: Annotated[int, Field(ge=0, le=100_000)] = 200
    """Ways for the perceptual path length; fewer than 4 leave it out."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images at once."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Disentangled:
        here, read = space(target, self.space, self.layers), Readings(target.shape, given.classifier)
        z, labels = (
            target.latent.sample(0, self.samples, rng.fork("samples")),
            target.labels_of(torch.arange(self.samples)),
        )
        points = here.drawn(z, labels)
        factors = readings_at(here, points, labels, read, self.batch)
        varies = factors.std(0) > 1e-6
        if not bool(varies.any()):
            raise Unsupported("all images of this generator are the same", hint="nothing can be told of its dimensions")
        names = tuple(name for name, v in zip(read.names, varies.tolist(), strict=True) if v)
        codes, dimensions = self._codes(here, points)
        factors = factors[:, varies]
        turned, nearest = self._turned(codes, factors, rng.fork("turns"))
        groups, rows = 10 if self.fit == "l1" else 4, torch.cat([codes, factors], dim=1)
        ranked = squared_correlations(codes, factors)
        path = self._path(here, given, rng.fork("paths"))
        return Disentangled(
            where=f"{self.space}{f' ({self.layers})' if self.layers else ''}",
            dims=codes.shape[1],
            fit=self.fit,
            scores={name: _bounded(self._alone(name, codes.shape[1]), rows, groups) for name in SCORES},
            turned=turned,
            explained=dci(codes, factors, self.fit).informativeness,
            named=tuple(
                _named(codes, factors[:, j], ranked[:, j], names[j], dimensions, t) for j, t in enumerate(nearest)
            ),
            correlations=ranked.float(),
            dimensions=dimensions,
            path=path,
            path_space=NAME if given.classifier is None else f"the last hidden layer of {given.classifier}",
            separable=dict(_planes(codes, factors, names)),
            n=self.samples,
            paths=self.paths if path else 0,
        )

    def _codes(self, here: Space, points: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """The dimensions that are looked at, (n, d), and their names; styles of different layers on one scale."""
        codes = here.weights(points)
        chosen = codes.var(0).argsort(descending=True, stable=True)[: self.most].sort().values
        codes = codes[:, chosen]
        if isinstance(here, S):
            codes = codes / codes.std(0).clamp_min(1e-8)
        return codes, tuple(here.called(k) for k in chosen.tolist())

    def _turned(
        self, codes: Tensor, factors: Tensor, rng: Rng
    ) -> tuple[dict[str, tuple[float, ...]], list[tuple[float, ...]]]:
        """The scores of bases turned at random, and of each the largest squared correlation with every factor."""
        found: dict[str, list[float]] = {name: [] for name in SCORES}
        nearest = []
        for k in track(range(self.turns), self.turns, "turned bases"):
            other = codes @ random_turn(codes.shape[1], rng.block(k))
            modular = dci(other, factors, self.fit)
            values = (modular.disentanglement, modular.completeness, mig(other, factors), sap(other, factors))
            for name, value in zip(SCORES, values, strict=True):
                found[name].append(value)
            nearest.append(squared_correlations(other, factors).amax(0).tolist())
        return {name: tuple(v) for name, v in found.items()}, list(zip(*nearest, strict=True))

    def _alone(self, score: str, dims: int) -> Callable[[Tensor], float]:
        """One score of rows that hold codes and factors side by side."""

        def told(rows: Tensor) -> float:
            codes, factors = rows[:, :dims], rows[:, dims:]
            if score in ("mig", "sap"):
                return (mig if score == "mig" else sap)(codes, factors)
            return getattr(dci(codes, factors, self.fit), score.removeprefix("dci."))  # type: ignore[no-any-return]

        return told

    def _path(self, here: Space, given: Given, rng: Rng) -> Estimate | None:
        """The mean perceptual path length, without extremes."""
        if self.paths < FEWEST_PATHS:
            return None
        features = given.classifier.embedded if given.classifier else random_features
        lengths = without_extremes(path_lengths(here, features, self.paths, rng, self.batch))
        mixed = lengths[torch.randperm(len(lengths), generator=rng.fork("groups").block())]
        return estimate_one(_mean, mixed, min(10, len(mixed)))


def _bounded(statistic: Callable[[Tensor], float], rows: Tensor, groups: int = 10) -> Estimate:
    """The estimate of what lies between 0 and 1."""
    value, low, high = estimate_one(statistic, rows, groups)
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def _mean(rows: Tensor) -> float:
    return float(rows.mean())


def _middle(values: tuple[float, ...]) -> float:
    return float(torch.tensor(values).quantile(0.5))


def _named(
    codes: Tensor, factor: Tensor, ranked: Tensor, name: str, dimensions: tuple[str, ...], turned: tuple[float, ...]
) -> Named:
    """The dimension that goes along most with a factor."""
    best = int(ranked.argmax())
    estimate = _bounded(_alike, torch.stack([codes[:, best], factor], dim=1))
    return Named(name, dimensions[best], estimate, turned)


def _alike(rows: Tensor) -> float:
    """The squared correlation of two columns."""
    return float(squared_correlations(rows[:, :1], rows[:, 1:]))


def _planes(codes: Tensor, factors: Tensor, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """What a plane leaves open of the highest quarter of each factor against the lowest, where they are apart."""
    quarter = len(codes) // 4
    for name, values in zip(names, factors.T, strict=True):
        order = values.argsort(stable=True)
        if values[order[quarter - 1]] < values[order[-quarter]]:
            ends = torch.cat([order[:quarter], order[-quarter:]])
            yield name, boundary(codes[ends], torch.arange(2 * quarter) >= quarter).open_bits
