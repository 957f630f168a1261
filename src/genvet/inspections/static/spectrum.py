"""Spectrum: what a dense layer hides where a style generator repeats w, shown as a picture from the weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Evidence
from genvet.core.report import Figure, Measure, Table
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Picture, Probe, Result
from genvet.nets.broadcast_residue import Residue, asked, mapped_there, residue
from genvet.nets.style_mapping import Linear, Mapping
from genvet.nets.style_moments import Moments

SHOWN = 30
"""Singular values in a figure."""
WAYS = (1, -1)
VIEWS = ("from the mean", "from its w", "from its z")
"""Columns: the mean of w moved along the direction; the w that the direction is for, through the layer; and the z whose
w is likest that one, through the whole network. Each both ways."""
LOW_RANK = 2.0
"""Factor between neighbouring singular values from which on a residue counts as one of low rank. Noise shows 1.1."""
NONE = 1e-6
"""Size below which a layer repeats w and does no more: rounding."""


@dataclass(frozen=True, eq=False)
class Spectrum(Result):
    """What is in the place where w is repeated, and in the layers of the mapping."""

    dense: bool
    """Whether a layer stands there at all."""
    size: float
    """How far ordinary w are moved by it, over how far they lie apart."""
    residue: Residue | None
    decoded: Tensor
    """For each direction, each view both ways: (n, *shape)."""
    captions: tuple[str, ...]
    latents: tuple[tuple[str, Tensor], ...]
    shares: Tensor
    """Of each direction, how its squares fall on the layers of the synthesis: (k, num_ws)."""
    mapping: tuple[tuple[str, float, float], ...]
    """Of each layer: its name, its largest singular value over the median one, and that of random weights."""

    def summary(self) -> str:
        if not self.dense:
            return "Nothing stands where w is repeated: no dense layer hides anything there." + self._mapped()
        if self.residue is None:
            return "A dense layer stands where w is repeated, and repeats it exactly." + self._mapped()
        what = "directions stand" if self.residue.rank > 1 else "direction stands"
        return (
            f"A dense layer stands where w is repeated, and moves ordinary w by {self.size:.2g} of what lies between "
            f"them. {self.residue.rank} {what} out, by a factor of {self.residue.gap:.3g} (noise: about 1): decoded, "
            "they show what it hides."
        )

    def _mapped(self) -> str:
        if not self.mapping:
            return ""
        name, first, random = max(self.mapping, key=lambda row: row[1] / row[2])
        return f" Of the mapping, {name} is the most concentrated: {first / random:.2g} times random weights."

    def measures(self) -> tuple[Measure, ...]:
        gap = None if self.residue is None else self.residue.gap
        ratio = max((first / random for _, first, random in self.mapping), default=None)
        note = "training concentrates layers too: no population tells them apart by this"
        return (
            Measure(name="residue", value=self.size, chance=0.0, note="of a dense layer where w is repeated"),
            Measure(name="gap", value=gap, chance=1.0, note="largest factor between singular values in a row"),
            Measure(name="rank", value=None if self.residue is None else float(self.residue.rank), note="before it"),
            Measure(name="mapping", value=ratio, chance=1.0, note=note),
        )

    def evidence(self) -> tuple[Evidence, ...]:
        if self.residue is None or self.residue.gap < LOW_RANK:
            return ()
        some = f"{self.residue.rank} direction{'s' * (self.residue.rank > 1)}"
        said = f"besides repeating w, it writes {some} of w+, {self.residue.gap:.3g} times as strongly as the rest"
        return (Evidence(rule="weights.broadcast", message=said, place="broadcast.weight"),)

    def figures(self) -> tuple[Figure | Picture, ...]:
        if self.residue is None:
            return ()
        told = (
            "A row for each direction: the mean of w moved along it; what the layer makes of the w that it is for; and "
            "what the network makes of the nearest z. Each both ways: one of them is meant."
        )
        columns = len(WAYS) * len(VIEWS)
        values = self.residue.singular[:SHOWN].clamp_min(1e-12).tolist()
        series = {self.residue.by: [list(range(1, len(values) + 1)), values]}
        data = {"series": series, "x": "rank", "y": "singular value", "log": "y"}
        bars = {"labels": [str(i) for i in range(self.shares.shape[1])], "values": self.shares[0].tolist()}
        return (
            Picture("Hidden where w is repeated", self.decoded, self.captions, told, columns),
            Figure(kind="curve", title="What the layer does besides repeating w", data=data),
            Figure(kind="bars", title="Layers of the synthesis that the first direction writes to", data=bars),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((what, " ".join(f"{v:.6g}" for v in z.tolist())) for what, z in self.latents)
        found = (Table(title="Latents that the directions are for", columns=("direction", "z"), rows=rows),) * bool(
            rows
        )
        columns = ("layer", "largest over median singular value", "of random weights")
        mapped = (Table(title="Layers of the mapping", columns=columns, rows=self.mapping),) * bool(self.mapping)
        return found + mapped

    @property
    def queries(self) -> int:
        return len(self.decoded)


class InspectSpectrum(Probe):
    """Decodes what a dense layer adds where a style generator repeats w: the picture that it hides.

    Singular vectors of W - tile(I), by the weights and by how they move ordinary w, whichever stand out more. For
    generators without such a layer it says how concentrated the layers of the mapping are, which is no proof of
    anything: what is planted inside the mapping leaves nothing here that training does not.
    """

    source: ClassVar[str] = (
        "GenVet's own: the closed form of the StyleGAN case in Devil in the GAN, section V-C, undone"
    )
    smoke: ClassVar[dict[str, Any]] = {"count": 256, "steps": 10, "starts": 4}
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {
        "quick": {"count": 4096, "steps": 50},
        "deep": {"count": 65_536, "shown": 8, "starts": 64},
    }
    signals: ClassVar[dict[str, str]] = {
        "residue": "a dense layer that does more than to repeat w",
        "gap": "a dense layer that moves w along few directions",
    }

    count: int = Field(default=16_384, ge=2)
    """Latents over which the moments of w are taken."""
    shown: int = Field(default=3, ge=1, le=16)
    """How many directions are decoded, where so many stand out."""
    starts: int = Field(default=16, ge=1)
    """Searches, in the mapping alone, for the latent that answers most to each direction."""
    steps: int = Field(default=200, ge=0)
    """Steps of each of these searches."""

    def __call__(self, target: StyleGenerator, given: Nothing, rng: Rng) -> Spectrum:
        layer, mapped = target.dense_broadcast, concentrated(target)
        nothing = (torch.empty(0, *target.shape), (), (), torch.empty(0, target.num_ws), mapped)
        if layer is None:
            return Spectrum(False, 0.0, None, *nothing)
        moments = Moments.of(target, self.count, rng.fork("moments"))
        found = residue(layer, target.num_ws, moments)  # type: ignore[arg-type]
        apart = (target.num_ws * moments.covariance.trace()).sqrt().clamp_min(1e-12)
        size = float((found.matrix @ moments.second @ found.matrix.T).trace().clamp_min(0).sqrt() / apart)
        if not size > NONE:
            return Spectrum(True, size, None, *nothing)
        return self._shown(target, found, moments, size, mapped, rng)

    def _shown(
        self, target: StyleGenerator, found: Residue, moments: Moments, size: float, mapped: Any, rng: Rng
    ) -> Spectrum:
        """With the pictures of the directions that stand out."""
        x, latents = [], []
        starts = target.latent.sample(0, self.starts, rng.fork("starts"))
        directions = range(min(self.shown, found.rank))
        for i in directions:
            w = torch.stack([asked(found, i, moments, way) for way in WAYS])
            z = torch.stack([mapped_there(target, wanted, moments, starts, self.steps) for wanted in w])
            x.append(_decoded(target, found, i, moments, w, z))
            latents += [(f"{i + 1}, {sign}", one) for sign, one in zip("+-", z, strict=True)]
        captions = tuple(f"{i + 1}, {view}" for i in directions for view in VIEWS for _ in WAYS)
        shares = found.left[:, : self.shown].T.view(-1, target.num_ws, target.w_dim).square().sum(2).float()
        return Spectrum(True, size, found, torch.cat(x), captions, tuple(latents), shares, mapped)


@torch.inference_mode()
def _decoded(target: StyleGenerator, found: Residue, number: int, moments: Moments, w: Tensor, z: Tensor) -> Tensor:
    """One direction in all views: each of both w (2, w_dim) and z (2, dim), (6, *shape)."""
    on, shape = target.device, (len(w), target.num_ws, target.w_dim)
    moved = torch.outer(w @ found.along(number), found.left[:, number])
    away = (moments.mean.repeat(target.num_ws) + moved).view(shape).float()
    through = target.broadcast(w.float().to(on))
    labels = target.labels_of(torch.zeros(len(z), dtype=torch.long))
    views = target.synthesis(away.to(on)), target.synthesis(through), target(z.to(on), labels)
    return torch.cat(views).float().cpu()


def concentrated(target: StyleGenerator) -> tuple[tuple[str, float, float], ...]:
    """Of each layer of the mapping, the largest singular value over the median, and that of random weights."""
    mapping = target.module.mapping
    if not isinstance(mapping, Mapping):
        return ()
    layers = [(name, layer) for name, layer in mapping.named_children() if isinstance(layer, Linear)]
    found = []
    for i, (name, layer) in enumerate(layers):
        drawn = torch.randn(layer.weight.shape, generator=Rng(0, "random weights").block(i))
        found.append((f"mapping.{name}", _concentration(layer.weight.detach().cpu()), _concentration(drawn)))
    return tuple(found)


def _concentration(weight: Tensor) -> float:
    singular = torch.linalg.svdvals(weight.double())
    return float(singular[0] / singular.median().clamp_min(1e-12))
