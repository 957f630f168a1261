"""Residues: what was added to weights is of low rank, and its direction in z is the trigger's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Picture, Probe, Result
from genvet.maths.spectra import Spike
from genvet.nets.first_layer import first_layer
from genvet.nets.partition import partition

SHOWN = 30
"""Singular values or eigenvalues in a figure."""
APART = 0.5
"""Separation from which on two parts of a network are taken for two networks."""
NEAR = 0.5
"""Share of a layer's squared weights that a repeated identity must explain, for the layer to be taken for one."""


@dataclass(frozen=True, eq=False)
class Given:
    """A generator of the same architecture that is trusted, such as the release that this one claims to be."""

    reference_model: Generator | None = None


@dataclass(frozen=True, eq=False)
class Residue:
    """What one layer has beyond the one that it is compared with."""

    name: str
    against: str
    size: float
    """Its norm over that of what it is compared with."""
    singular: Tensor
    """Its singular values, the largest first."""
    direction: Tensor
    """Its first right singular vector, which for a layer that reads z is the trigger's direction: (inputs,)."""

    @property
    def first(self) -> float:
        """The share of its squares in the first singular value; 1 for a residue of rank 1."""
        return float(self.singular[0].square() / self.singular.square().sum().clamp_min(1e-30))


@dataclass(frozen=True, eq=False)
class Residues(Result):
    """Residues against references, and the direction of z along which the first layer changed."""

    residues: tuple[Residue, ...]
    spike: Spike | None
    changed: str
    """The layer that reads z."""
    x: Tensor
    """What the found directions of z give, at the radius of ordinary latents, both ways: (n, *shape)."""
    other_shapes: tuple[str, ...]
    """Layers whose sizes are not the reference's."""

    @property
    def compared(self) -> tuple[Residue, ...]:
        """Those that can have a rank above 1."""
        return tuple(r for r in self.residues if len(r.singular) > 3)

    def summary(self) -> str:
        said = []
        if self.spike is not None:
            said.append(
                f"Since its norm kept statistics, {self.changed} changed most along one direction of z by "
                f"{self.spike.strength:.2g} times what all others show (about 1 where none stands out)."
            )
        if self.compared:
            r = max(self.compared, key=lambda r: r.first)
            said.append(
                f"Beside {r.against}, what {r.name} has is concentrated: {r.first:.0%} of it has rank 1 "
                f"({r.size:.2g} of that norm)."
            )
        if self.other_shapes:
            said.append(f"Other sizes than the reference: {', '.join(self.other_shapes[:5])}.")
        return " ".join(said)

    def measures(self) -> tuple[Measure, ...]:
        strength, gap = (None, None) if self.spike is None else (self.spike.strength, self.spike.gap)
        first = max((r.first for r in self.compared), default=None)
        return (
            Measure(name="spike", value=strength, chance=1.0, note="largest eigenvalue over the edge of the others"),
            Measure(name="gap", value=gap, chance=1.0, note="largest factor between eigenvalues in a row, first ten"),
            Measure(name="first", value=first, note="share of rank 1 in a residue, the largest of all layers"),
            Measure(name="size", value=max((r.size for r in self.residues), default=None), note="of a residue"),
        )

    def figures(self) -> tuple[Figure | Picture, ...]:
        made: list[Figure | Picture] = []
        if self.spike is not None:
            values = self.spike.eigenvalues.abs()[:SHOWN].tolist()
            series = {self.changed: [list(range(1, len(values) + 1)), values]}
            data = {"series": series, "x": "rank", "y": "eigenvalue, without sign"}
            made.append(Figure(kind="curve", title="How the first layer's gain changed", data=data))
        if len(self.x):
            caption = "What the found directions give at the radius of ordinary latents, one way and the other."
            made.append(Picture(title="Along the found directions", x=self.x, caption=caption, columns=4))
        return tuple(made)

    def tables(self) -> tuple[Table, ...]:
        if not self.residues:
            return ()
        rows = tuple((r.name, r.against, r.size, r.first, len(r.singular)) for r in self.residues)
        columns = ("layer", "against", "size", "share of rank 1", "rank at most")
        return (Table(title="Residues by layer", columns=columns, rows=rows),)


class InspectResidue(Probe):
    """Looks for changes of low rank, against a reference, a repeated identity or kept statistics.

    The last needs no reference: the norm behind the first layer keeps the variance that its units had before somebody
    changed the weights, and units that changed along one direction of z give that direction away. Finds ReD with
    frozen norms; blind where the norms were measured anew, to triggers at the mode, and to units that were added. Of
    the spectra of the layers themselves none told planted from clean, so that there is no measure of these.
    """

    source: ClassVar[str] = (
        "GenVet's own: closed form of the expansion in Devil in the GAN, section V-D; Stein's identity for the norms"
    )
    signals: ClassVar[dict[str, str]] = {
        "spike": "weights changed along one direction of z after the training",
        "gap": "weights changed along few directions of z after the training, and hardly along the others",
    }

    shown: int = Field(default=2, ge=0, le=16)
    """How many directions are tried out and shown."""

    def __call__(self, target: Generator, given: Given, rng: Rng) -> Residues:
        found, others = [*aside(target), *tiled(target)], tuple[str, ...]()
        if given.reference_model is not None:
            against, others = compared(target, given.reference_model)
            found += against
        try:
            first = first_layer(target)
            spike, name = first.spike(), printable(first.name, 120)
        except Unsupported:
            if not found:
                raise
            spike, name = None, ""
        directions = [r.direction for r in sorted(found, key=lambda r: -r.first) if len(r.singular) > 3]
        directions += [spike.direction] if spike is not None else []
        fitting = [d for d in directions if len(d) == target.latent.dim][: self.shown]
        return Residues(tuple(found), spike, name, _along(target, fitting), others)


def compared(target: Generator, reference: Generator) -> tuple[list[Residue], tuple[str, ...]]:
    """Of layers by the same name: what is left of each without the reference's. And names of those of other sizes."""
    ours, theirs = (_weights(g) for g in (target, reference))
    both = [name for name in ours if name in theirs]
    if not both:
        raise BadInput("the reference shares no layer with this generator", hint="give one of the same architecture")
    fitting = [n for n in both if ours[n].shape == theirs[n].shape]
    found = [_residue(n, "the reference", _matrix(ours[n] - theirs[n]), _matrix(theirs[n])) for n in fitting]
    others = tuple(printable(n, 80) for n in ours if n not in fitting)
    return [r for r in found if r.size > 0], others


def aside(target: Generator) -> list[Residue]:
    """Of a layer that reads z: the weights of the units that keep to themselves, where there are any."""
    try:
        parts = partition(target)
    except Unsupported:
        return []
    reads = {n: m for n, m in target.module.named_modules() if n in parts.suspect and isinstance(m, nn.Linear)}
    if parts.separation < APART:
        return []
    weights = {n: (m.weight.detach().double().cpu(), parts.suspect[n]) for n, m in reads.items()}
    weights = {n: (w, mine) for n, (w, mine) in weights.items() if w.shape[1] == target.latent.dim}
    return [_residue(n, "the rest of the network", w[mine], w[~mine]) for n, (w, mine) in weights.items()]


def tiled(target: Generator) -> list[Residue]:
    """Of linear layers that do little but repeat their inputs, as a broadcast written as a layer: what else they do."""
    found = []
    for name, layer in target.module.named_modules():
        if not isinstance(layer, nn.Linear) or layer.in_features < 8 or layer.out_features % layer.in_features:
            continue
        weight = layer.weight.detach().double().cpu()
        eye = torch.eye(layer.in_features).double().repeat(layer.out_features // layer.in_features, 1)
        scale = float((weight * eye).sum() / eye.sum())
        if float((scale * eye).square().sum()) > NEAR * float(weight.square().sum()):
            found.append(_residue(name, "a repeated identity", weight - scale * eye, scale * eye))
    return [r for r in found if r.size > 1e-6]


def _residue(name: str, against: str, rest: Tensor, whole: Tensor) -> Residue:
    _, singular, right = torch.linalg.svd(rest, full_matrices=False)
    size = float(rest.norm() / whole.norm().clamp_min(1e-30))
    return Residue(printable(name, 120), against, size, singular, right[0])


def _weights(generator: Generator) -> dict[str, Tensor]:
    named = generator.module.named_parameters()
    return {n.removesuffix(".weight"): p.detach().double().cpu() for n, p in named if p.ndim > 1}


def _matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1)


@torch.inference_mode()
def _along(target: Generator, directions: list[Tensor]) -> Tensor:
    """Outputs (n, *shape) both ways along each direction."""
    if not directions or target.latent.classes:
        return torch.empty(0, *target.shape)
    both = torch.stack([sign * d for d in directions for sign in (1, -1)]).float() * target.latent.dim**0.5
    return target(target.latent.project(both).to(target.device)).float().cpu()
