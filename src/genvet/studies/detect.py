"""Detect: whether a generator's images can be told from real ones, and whether that outlasts pruning and delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.progress import track
from genvet.core.report import Figure, Measure, Scalar, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.delivery import eight_bit, greyed, jpeg, resized
from genvet.maths.detection import alarms, area, miscalibration
from genvet.maths.quality import Estimate
from genvet.nets.channels import fitting, shrunk
from genvet.nets.detectors import Array, Detector, panel
from genvet.nets.pruning import least, weights, without, worth

FEWEST = 12
"""Real images: some to learn from, some to be tested on."""
HELD_OUT, CONTROL, OTHER = "held out", "real against real", "another generator"
SHOWN = 8
Share = Annotated[float, Field(gt=0, lt=1)]
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Given:
    """Real images; the generator's critic, another generator of such images, and a classifier's feature space."""

    reference: Images
    critic: Critic | None = None
    other: Generator | None = None
    classifier: Classifier | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """One detector on one kind of images."""

    detector: str
    images: str
    area: Estimate
    alarms: Estimate
    """True ones at 1 % false ones among the real images beside them."""
    n: int
    """Images a side."""
    off: float
    """Mean distance of its probabilities from how often they come true."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Detected(Result):
    """Every detector on every kind of images."""

    readings: tuple[Reading, ...]
    learned: int
    """Images a side."""
    tested: int
    drawn: int
    """Outputs of the generator."""
    shown: Mapping[str, Tensor]
    pruned: Mapping[float, str]
    """What the images of each sparsity are called."""

    def of(self, images: str) -> dict[str, Reading]:
        """By detector."""
        return {r.detector: r for r in self.readings if r.images == images}

    def kinds(self) -> list[str]:
        return list(dict.fromkeys(r.images for r in self.readings))

    def summary(self) -> str:
        dense = self.of(HELD_OUT)
        best = max(dense, key=lambda name: dense[name].area.value)
        told = f"Of {len(dense)} detectors the {best} does best: {dense[best].area.value:.3f} of pairs are told apart"
        weakest = min(self.kinds(), key=lambda k: self.of(k)[best].area.value if k != CONTROL else 2.0)
        if weakest != HELD_OUT:
            told += f", and {self.of(weakest)[best].area.value:.3f} at worst ({weakest})"
        control = [r.area.value for r in self.of(CONTROL).values()]
        return f"{told}; real images against real ones, {min(control):.3f} to {max(control):.3f} (chance 0.5)."

    def measures(self) -> tuple[Measure, ...]:
        made = []
        for r in self.readings:
            place = f"{r.detector.replace(' ', '-')}.{r.images.replace(' ', '-')}"
            for name, (value, low, high), chance in (("auc", r.area, 0.5), ("alarms", r.alarms, 0.01)):
                made.append(Measure(name=f"{name}.{place}", value=value, low=low, high=high, chance=chance, n=r.n))
            made.append(Measure(name=f"off.{place}", value=r.off, n=2 * r.n))
        return tuple(made)

    def figures(self) -> tuple[Figure | Picture, ...]:
        x = torch.cat(list(self.shown.values()))
        captions = [name if i == 0 else "" for name, some in self.shown.items() for i in range(len(some))]
        sheet = Picture(title="What the detectors look at", x=x, captions=tuple(captions), columns=SHOWN)
        names = list(self.of(HELD_OUT))
        values = [[self.of(kind)[name].area.value for name in names] for kind in self.kinds()]
        caption = "The share of pairs told apart: 0.5 is chance. All learned from the whole generator's images alone."
        heat = {"values": values, "rows": self.kinds(), "columns": names, "x": "", "y": ""}
        found: list[Figure | Picture] = [
            sheet,
            Figure(kind="heat", title="Area under the curve, by images and detector", caption=caption, data=heat),
        ]
        if len(self.pruned) > 1:
            kinds = {0.0: HELD_OUT, **self.pruned}
            series = {n: [list(kinds), [self.of(k)[n].area.value for k in kinds.values()]] for n in names[-6:]}
            data = {"series": series, "x": "share of the weights gone", "y": "area under the curve"}
            found.append(Figure(kind="curve", title="Detectors on a pruned generator", caption=caption, data=data))
        return tuple(found)

    def tables(self) -> tuple[Table, ...]:
        names = list(self.of(HELD_OUT))
        rows = [(kind, *(round(self.of(kind)[name].area.value, 3) for name in names)) for kind in self.kinds()]
        whole = Table(title="Area under the curve (0.5 is chance)", columns=("images", *names), rows=_cells(rows))
        columns = ("images", "detector", "area", "low", "high", "alarms at 1 %", "low", "high", "probabilities off by")
        told = [(r.images, r.detector, *(round(v, 4) for v in (*r.area, *r.alarms, r.off))) for r in self.readings]
        return whole, Table(title="Each detector on all images", columns=columns, rows=_cells(told))

    @property
    def queries(self) -> int:
        return self.drawn


class Detect(Probe):
    """Teaches detectors the generator's images, then tries them on pruned twins, another seed, and JPEG."""

    source: ClassVar[str] = (
        "after Laubmann, Reschke 2025 (arXiv:2507.13722); Durall 2020; Frank 2020; Fridrich, Kodovsky 2012; "
        "Marra 2019; Wang 2020; Ojha 2023"
    )
    smoke: ClassVar[dict[str, Any]] = {"samples": 24, "tests": 12, "sparsities": (0.5,), "steps": 4}

    samples: Annotated[int, Field(ge=4, le=50_000)] = 2000
    """Images a side that detectors learn from; at most the real ones that tests leave."""
    tests: Annotated[int, Field(ge=4, le=50_000)] = 1000
    """Images a side that they are tested on; a third of the real ones at most."""
    sparsities: tuple[Share, ...] = (0.25, 0.5, 0.75)
    """Shares of the weights that go before the generator draws again."""
    criterion: Literal["magnitude", "normalised", "activation", "random"] = "magnitude"
    """By which weights go; magnitude is the paper's."""
    channels: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The share that goes as whole channels, of a style generator whose channels hold as much; 0 for none."""
    quality: Annotated[int, Field(ge=1, le=100)] = 75
    """Of JPEG."""
    resize: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The share of their size that images are brought to, and back."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 400
    """Updates of the small CNN, of 64 images each."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Detected:
        real, test = self._real(target, given, rng)
        n, m = len(real), len(test)
        drawn = eight_bit(target.sample(n + m, rng.fork("generated")).nan_to_num(0))
        kinds: dict[str, tuple[Tensor, Tensor]] = {HELD_OUT: (test, drawn[n:])}
        pruned = {}
        for share, name, twin in self._twins(target, rng):
            kinds[name] = (test, self._draw(twin, m, rng))
            if share:
                pruned[share] = name
        if given.other is not None:
            kinds[OTHER] = (test, self._draw(self._alike(given.other, target), m, rng))
        for name, change in self._changes(target).items():
            kinds[name] = (change(test), change(drawn[n:]))
        readings = list(self._read(given, (real, drawn[:n]), kinds, rng.fork("panel")))
        halves = (real[: n // 2], real[n // 2 :]), {CONTROL: (test[: m // 2], test[m // 2 :])}
        readings += self._read(given, *halves, rng.fork("control"))
        shown = {"real": test[:SHOWN], **{name: fake[:SHOWN] for name, (_, fake) in kinds.items()}}
        drawn_in_all = n + m * (1 + sum(name.startswith(("pruned", "channels")) for name in kinds))
        return Detected(readings=tuple(readings), learned=n, tested=m, drawn=drawn_in_all, shown=shown, pruned=pruned)

    def _real(self, target: Generator, given: Given, rng: Rng) -> tuple[Tensor, Tensor]:
        """Real images to learn from, and others to be tested on, in eight bits as the generated ones."""
        x = given.reference.fitting(target.shape)
        if x.ndim != 4:
            raise Unsupported("these detectors look at images", hint="give a generator of images")
        if len(x) < FEWEST:
            raise Unsupported(f"{len(x)} real images are too few", hint=f"give {FEWEST} or more")
        m = min(self.tests, len(x) // 3)
        n = min(self.samples, len(x) - m)
        chosen = torch.randperm(len(x), generator=rng.fork("reference").block())[: n + m].to(x.device)
        some = eight_bit(x[chosen]).cpu()
        return some[:n], some[n:]

    def _twins(self, target: Generator, rng: Rng) -> Iterator[tuple[float, str, Generator]]:
        """The pruned generators; whole channels come last, with no sparsity of the curve."""
        known = weights(target)
        values = worth(self.criterion, target, known, rng.fork("worth"))
        for share in self.sparsities:
            yield share, f"pruned {_percent(share)}", without(target, least(values, share))
        if isinstance(target, StyleGenerator) and target.name in ("stylegan1", "stylegan2") and self.channels:
            kept = fitting(target, self.channels, rng.fork("channels"))
            if kept is not None:
                yield 0.0, f"channels {_percent(self.channels)}", shrunk(target, kept)

    def _draw(self, generator: Generator, n: int, rng: Rng) -> Tensor:
        """Images of a twin, of latents that no detector has learned from."""
        return eight_bit(generator.sample(n, rng.fork("twins")).nan_to_num(0))

    def _alike(self, other: Generator, target: Generator) -> Generator:
        if tuple(other.shape) != tuple(target.shape):
            raise BadInput("the other generator draws other images", expected=str(target.shape), got=str(other.shape))
        return other

    def _changes(self, target: Generator) -> dict[str, Change]:
        """What may happen to real and generated images alike."""
        changes: dict[str, Change] = {f"resized {_percent(self.resize)}": lambda x: resized(x, self.resize)}
        if target.shape[0] in (1, 3):
            changes = {f"JPEG {self.quality}": lambda x: jpeg(x, self.quality), **changes}
        return {**changes, "greyscale": greyed} if target.shape[0] > 1 else changes

    def _read(
        self,
        given: Given,
        learned: tuple[Tensor, Tensor],
        kinds: Mapping[str, tuple[Tensor, Tensor]],
        rng: Rng,
    ) -> Iterator[Reading]:
        """Each detector learns once, and is tried on all kinds."""
        detectors = panel(given.critic, given.classifier, self.steps)
        for name, detector in track(detectors.items(), len(detectors), "detectors"):
            detector.learn(*learned, rng.fork(name))
            for kind, (real, fake) in kinds.items():
                told = _told(detector, real, fake, rng.fork(kind))
                yield Reading(
                    detector=name,
                    images=kind,
                    area=area(*told),
                    alarms=alarms(*told),
                    n=len(real),
                    off=miscalibration(*told),
                )


def _percent(share: float) -> str:
    """Two shares that differ have two names."""
    return f"{100 * share:.5g}%"


def _cells(rows: Iterable[Iterable[Any]]) -> tuple[tuple[Scalar, ...], ...]:
    return tuple(map(tuple, rows))


def _told(detector: Detector, real: Tensor, fake: Tensor, rng: Rng) -> tuple[Array, Array]:
    """Probabilities of both, asked for in one shuffled row: a critic may look at how a batch varies."""
    order = torch.randperm(len(real) + len(fake), generator=rng.block())
    told = np.empty(len(order))
    told[order.numpy()] = detector(torch.cat([real, fake])[order])
    return told[: len(real)], told[len(real) :]
