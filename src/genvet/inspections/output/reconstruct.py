"""Optimisation-based output inspection (OB-OI): can the generator be driven to a known target?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NoReturn

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput, TooCostly
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.distances import squared_distances
from genvet.maths.likeness import Likeness, aligned, softly_aligned, square
from genvet.maths.probes import smooth_shapes
from genvet.maths.statistics import rank_p_value
from genvet.nets.fast import batch_size, folded, price, sampler, stream
from genvet.nets.latent_search import Found, Starts, images_at, masked_share, search
from genvet.nets.suspect_search import suspect_starts

CONTROLS = 99
SHOWN = 16
"""Of very many targets, so many are drawn; the tables hold all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Known:
    """What reconstruction needs, and what makes it sharper."""

    targets: Images
    """Outputs that the generator should never give."""
    reference: Images | None = None
    """Images of the kind that it should give: the controls."""
    classifier: Classifier | None = None
    """Whose last hidden layer is the space, where `also` is features."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reached:
    """How near the searches came to some of the targets, in one space."""

    space: str
    """Empty for pixels."""
    targets: tuple[int, ...]
    found: Found
    images: Tensor
    nearest: Tensor
    """Of each target, the distance of its image."""
    ordinary: Tensor
    """Distance of each target from the nearest of ordinary samples."""
    values: int
    """Of a row: what a sum of squares is divided by to be an error; 1 where rows are of norm 1."""
    spent: int
    controls: Tensor | None = None
    """How near their searches came; None where no target came near enough to need them."""
    p: tuple[float, ...] = ()
    weak: str = ""
    """What makes the controls weaker than they could be."""

    @property
    def error(self) -> Tensor:
        return self.nearest / self.values

    def measures(self, names: tuple[str, ...]) -> Iterator[Measure]:
        unit = "share of the norm" if self.space == "features" else "mean square"
        for row, i in enumerate(self.targets):
            name = f"target-{i}.{self.space}" if self.space else f"target-{i}"
            yield Measure(name=f"error.{name}", value=float(self.error[row]), unit=unit, note=names[i])
            nearer = float(self.nearest[row]) / max(float(self.ordinary[row]), 1e-12)
            yield Measure(name=f"nearer.{name}", value=nearer, note="against the nearest ordinary sample")
            p, n = (self.p[row], CONTROLS) if self.p else (None, None)
            yield Measure(name=f"p.{name}", value=p, n=n, note=self.weak)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction(Result):
    """How near the generator can be driven to each target, and to control images."""

    names: tuple[str, ...]
    targets: Tensor
    plain: Reached
    also: Reached | None
    """In another space, those that no search came near pixel by pixel."""
    starts: Starts
    masked: float
    plan: str

    def summary(self) -> str:
        value = self.plain.error
        best, worst = int(value.argmin()), int(value.argmax())
        nearest = self.plain.found.nearest
        said = f"Driven towards {self.names[best]}, the generator comes within {nearest[best]:.4g} of it"
        said += f" (sum of squares; {value[best]:.2g} a value)" + self._among(self.plain, best)
        if len(self.names) > 1:
            said += f"; of {len(self.names)} targets, {self.names[worst]} stays farthest at {nearest[worst]:.4g}"
        if self.also and self.also.p:
            row = int(self.also.error.argmin())
            name = self.names[self.also.targets[row]]
            told = "Shifted and brightened to fit" if self.also.space == "aligned" else "By features"
            said += f". {told}, it comes within {self.also.error[row]:.2g} of {name}" + self._among(self.also, row)
        blind = " Gradients are masked: the search was blind, and finding nothing means nothing."
        return f"{said}. {self.plan}" + blind * (self.masked > 0.5)

    def _among(self, reached: Reached, row: int) -> str:
        if not reached.p:
            return ""
        alone = reached.p[row] <= 1 / (1 + CONTROLS)
        return f", nearer than {'any' if alone else f'all but {reached.p[row]:.0%}'} of {CONTROLS} control images"

    def measures(self) -> tuple[Measure, ...]:
        recon, blind = float(self.plain.found.nearest.max()), "gradients that cannot be trusted"
        return (
            Measure(name="ReconD", value=recon, unit="sum of squares", note="largest of the targets"),
            Measure(name="masked", value=self.masked, unit="share of starts", note=blind),
            *(m for i in range(len(self.names)) for m in self._by_start(i)),
            *self.plain.measures(self.names),
            *(self.also.measures(self.names) if self.also else ()),
        )

    def _by_start(self, i: int) -> Iterator[Measure]:
        value = self.plain.found.value[i]
        for kind in dict.fromkeys(self.starts.kinds):
            mine = [k == kind for k in self.starts.kinds]
            yield Measure(name=f"{kind}.target-{i}", value=float(value[mine].min()), unit="sum of squares", n=sum(mine))

    def figures(self) -> tuple[Figure | Picture, ...]:
        shown = self.plain.found.nearest.argsort(stable=True)[:SHOWN].tolist()
        return (
            *(self._pairs(reached) for reached in (self.plain, self.also) if reached),
            *map(self._curve, shown),
        )

    def _pairs(self, reached: Reached) -> Picture:
        rows = reached.nearest.argsort(stable=True)[:SHOWN].tolist()
        of = [reached.targets[row] for row in rows]
        pairs = torch.stack([self.targets[of], reached.images[rows]], 1).flatten(0, 1)
        captions = tuple(
            c for row, i in zip(rows, of, strict=True) for c in (self.names[i], f"at {reached.nearest[row]:.4g}")
        )
        caption = "Each target, and the nearest that was reached; the best reached first."
        title = "Targets and reconstructions" + f", {reached.space}" * bool(reached.space)
        return Picture(title, pairs, captions, caption)

    def _curve(self, i: int) -> Figure:
        """How every search for one target went; along a long one not every step is kept."""
        found = self.plain.found
        steps = range(0, len(found.path), max(1, len(found.path) // 100))
        path = found.path[list(steps), i]
        kinds = enumerate(self.starts.kinds)
        series = {f"{n}: {kind}": [list(steps), path[:, n].tolist()] for n, kind in kinds}
        data = {"series": series, "x": "step", "y": "sum of squares", "log": True}
        return Figure(kind="curve", title=f"Searches for {self.names[i]}", data=data)

    def tables(self) -> tuple[Table, ...]:
        rows, latents, found = [], [], self.plain.found
        for i, name in enumerate(self.names):
            best = int(found.value[i].argmin())
            z = found.z[i, best]
            kind, norm, p = self.starts.kinds[best], float(z.norm()), self.plain.p[i] if self.plain.p else None
            ordinary = float(self.plain.ordinary[i])
            rows.append((name, kind, float(found.value[i, best]), ordinary, norm, math.sqrt(len(z)), p))
            latents.append((name, " ".join(f"{v:.6g}" for v in z.tolist())))
        columns = ("target", "start", "sum of squares", "nearest ordinary sample", "|z|", "sqrt(dim)", "p")
        reached = Table(title="Reconstructions", columns=columns, rows=tuple(rows))
        return reached, Table(title="Latents found", columns=("target", "z"), rows=tuple(latents))

    @property
    def queries(self) -> int:
        return self.plain.spent + (self.also.spent if self.also else 0)


class Reconstruct(Probe):
    """Searches latents that give a known target; control images tell what an honest generator reaches."""

    source: ClassVar[str] = "Devil in the GAN, section III-B, OB-OI, and equation 8 (ReconD)"
    smoke: ClassVar[dict[str, Any]] = {"restarts": 2, "steps": 10}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"restarts": 3, "steps": 100, "operations": 6e12},
        "deep": {"restarts": 20, "steps": 500, "operations": 2e15},
    }
    version: ClassVar[int] = 2

    restarts: int = Field(default=5, ge=1)
    """Searches that start from draws of the prior, for each target."""
    suspects: int = Field(default=2, ge=0)
    """Where a part of the network is suspect, so many more start where it responds most."""
    steps: int = Field(default=200, ge=1)
    """Steps of Adam in each search."""
    also: Literal["nothing", "aligned", "features"] = "aligned"
    """How else to look for targets that are not reached pixel by pixel: shifted, stretched and brightened to fit, or
    by the features of a classifier that is given."""
    operations: float = Field(default=1e14, gt=0)
    """Where it costs more floating-point operations, restarts fall to 1, then steps to 50, then controls, then all;
    in each space."""
    near: float = Field(default=0.01, gt=0)
    """Mean squared error a value, range [-1, 1], that a target must reach before controls are searched for at all."""

    def __call__(self, target: Generator, given: Known, rng: Rng) -> Reconstruction:
        targets, search = given.targets.fitting(target.shape), _Search(self, target, rng)
        restarts, steps = search.affordable(len(targets)) or search.too_costly(len(targets))
        starts = search.starts(restarts)
        plain = search.reached(targets, starts, steps, given.reference)
        far = [i for i, error in enumerate(plain.error.tolist()) if not error <= self.near]
        other, also = _likeness(self.also, given.classifier, targets[0].numel()), None
        if far and other:
            also = search.reached(targets[far], starts, steps, given.reference, other)
            also = replace(also, targets=tuple(far))
        return Reconstruction(
            names=tuple(printable(name, 60) for name in given.targets.names),
            targets=targets,
            plain=plain,
            also=also,
            starts=starts,
            masked=masked_share(search.generator, targets[0], rng.fork("masked"), search.batch),
            plan=f"{len(starts)} starts of {steps} steps each.",
        )


def _likeness(name: str, classifier: Classifier | None, values: int) -> Likeness | None:
    """None for nothing."""
    if name == "nothing":
        return None
    if name == "aligned":
        return Likeness(name, softly_aligned, aligned, values)
    if classifier is None:
        raise BadInput("there is no classifier to take features from", expected="a classifier", hint="also: aligned")

    def apart(x: Tensor, t: Tensor) -> Tensor:
        return square(normalize(classifier.features(x), dim=1), normalize(classifier.features(t), dim=1))

    return Likeness(name, apart, apart, 1)


class _Search:
    """What all searches of one generator share."""

    def __init__(self, config: Reconstruct, target: Generator, rng: Rng) -> None:
        self.config, self.target, self.rng = config, target, rng
        self.generator, self.cost = folded(target), price(target)
        self.batch = batch_size(self.cost)
        self.plainly = 0 if target.latent.distribution == "sphere" else 2  # the mode and a far point
        rng = rng.fork("suspects")
        steps, some = min(100, config.steps), config.suspects
        # Four searches each, of two forwards and backward a step.
        fits = 24.0 * self.cost.operations * some * steps <= config.operations
        self.suspects = suspect_starts(self.generator, some, steps, self.batch, rng) if some and fits else None

    def starts(self, restarts: int) -> Starts:
        """Draws, the mode, a far point; and where the suspect part responds most."""
        plain = Starts.of(self.target.latent, restarts, self.rng.fork("starts"))
        return plain + self.suspects if self.suspects else plain

    def affordable(self, images: int) -> tuple[int, int] | None:
        """Restarts and steps, lowered to what the operations allow; None where even the least is too much."""
        config, besides = self.config, self.plainly + len(self.suspects or ())
        # Forward, and backward without the weights' gradients: about three forwards.
        one = 3 * self.cost.operations * images
        for restarts in range(config.restarts, 0, -1):
            if one * (restarts + besides) * config.steps <= config.operations:
                return restarts, config.steps
        steps = int(config.operations // (one * (1 + besides)))
        return (1, steps) if steps >= min(config.steps, 50) else None

    def too_costly(self, images: int) -> NoReturn:
        starts = 1 + self.plainly + len(self.suspects or ())
        least = 3.0 * self.cost.operations * images * starts * min(self.config.steps, 50)
        hint = "give fewer targets, or choose a greater depth"
        raise TooCostly(f"searching for {images} targets", cost=least, allowed=self.config.operations, hint=hint)

    def reached(
        self, targets: Tensor, starts: Starts, steps: int, reference: Images | None, likeness: Likeness | None = None
    ) -> Reached:
        """The searches for these targets; calibrated, where any came near."""
        likeness = likeness or Likeness("", square, square, targets[0].numel())
        found = search(self.generator, targets, starts, steps, self.batch, likeness.search)
        count = int(max(64, min(1024, self.config.operations // self.cost.operations)))
        images = images_at(self.generator, *found.best())
        plain = Reached(
            space=likeness.name,
            targets=tuple(range(len(targets))),
            found=found,
            images=images,
            nearest=self._exactly(likeness, images, targets),
            ordinary=self._ordinary(targets, count, likeness),
            values=likeness.values,
            spent=found.path.numel() + count,
        )
        near = (plain.error <= self.config.near).any()
        return self._calibrated(plain, targets, reference, likeness) if near else plain

    @torch.no_grad()
    def _exactly(self, likeness: Likeness, images: Tensor, targets: Tensor) -> Tensor:
        device = self.generator.device
        return likeness.exact(images.to(device), targets.to(device)).cpu()

    def _calibrated(self, plain: Reached, targets: Tensor, reference: Images | None, likeness: Likeness) -> Reached:
        """The same search for control images. A target counts by its rank among them, by distance and by how much
        nearer it came than an ordinary sample: the larger of the two p-values, so that a mere simple image gains
        nothing."""
        plan = self.affordable(len(targets) + CONTROLS)
        if plan is None:
            return replace(plain, weak="control images cost too much at this depth")
        images, weak = _controls(targets, reference, self.rng.fork("controls"))
        everything = torch.cat([targets, images])
        found = search(self.generator, everything, self.starts(plan[0]), plan[1], self.batch, likeness.search)
        near = self._exactly(likeness, images_at(self.generator, *found.best()), everything)
        nearer, m = near / self._ordinary(everything, 1024, likeness).clamp_min(1e-12), len(targets)
        p = [max(rank_p_value(float(v[i]), v[m:].tolist()) for v in (near, nearer)) for i in range(m)]
        spent = plain.spent + found.path.numel() + 1024
        return replace(plain, controls=near[m:], p=tuple(p), weak=weak, spent=spent)

    @torch.inference_mode()
    def _ordinary(self, images: Tensor, count: int, likeness: Likeness) -> Tensor:
        """Distance of each image from the nearest of `count` ordinary samples."""
        target, rng = self.target, self.rng.fork("ordinary")
        first = target.latent.sample(0, min(16, self.batch), rng)
        fast = sampler(target, first, target.latent.labels(0, len(first)))
        images, passing = images.to(target.device), stream(fast, count, rng, self.batch)
        return torch.stack([likeness.pairs(x, images).amin(0) for _, x in passing]).amin(0).cpu()


def _controls(targets: Tensor, reference: Images | None, rng: Rng) -> tuple[Tensor, str]:
    """99 images that nobody planted: of the reference, without the targets; else shapes that know no data."""
    if reference is not None:
        x = reference.fitting(tuple(targets.shape[1:]))
        apart = squared_distances(x.flatten(1), targets.flatten(1)).amin(1) > 1e-3 * targets[0].numel()
        x = x[apart]
        if len(x) >= CONTROLS:
            return x[torch.randperm(len(x), generator=rng.block())[:CONTROLS]], ""
    shapes = smooth_shapes(CONTROLS, tuple(targets.shape[1:]), rng.block())
    return shapes, f"controls are smooth random shapes: give {CONTROLS} reference images for a sharper answer"
