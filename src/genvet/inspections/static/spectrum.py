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
from genvet.nets.broadcast_residue import Residue, asked, mapped, mapped_there, residue, styles
from genvet.nets.style_moments import Moments

SHOWN = 30
"""Singular values in a figure."""
WAYS = (1.0, 1.6, -1.0, -1.6)
"""In which direction from the mean of w, and how far: 1 is as far as ordinary w are, and a trigger may lie farther."""
VIEWS = ("from its w", "from its z", "from the mean")
"""Columns: the w that the direction is for; the z whose w is likest that one; and, of a dense layer, the mean of w
moved along the direction. Each both ways, and farther."""
REACHES = (0.5, 1.0, 1.5, 2.0, 3.0)
"""How far the mean of w is moved along the mapping's strongest direction, in mean distances of w from it."""
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
    styles: Residue | None
    """What all layers listen to that read w, this one included; None where they are not known."""
    decoded: Tensor
    """For each direction, each view both ways: (n, *shape)."""
    captions: tuple[str, ...]
    latents: tuple[tuple[str, Tensor], ...]
    shares: Tensor
    """Of each direction, how its squares fall on the layers of the synthesis: (k, num_ws)."""
    mapping: tuple[Residue, ...]
    """Of each layer of the mapping, the first to the last."""
    towards: Tensor
    """What the mean of w gives, moved along what the last of them writes most: (n, *shape)."""

    def summary(self) -> str:
        if self.residue is None:
            what = "A dense layer stands where w is repeated, and repeats it exactly."
            return (what if self.dense else "Nothing stands where w is repeated.") + self._elsewhere()
        what = "directions stand" if self.residue.rank > 1 else "direction stands"
        return (
            f"A dense layer stands where w is repeated, and moves ordinary w by {self.size:.2g} of what lies between "
            f"them. {self.residue.rank} {what} out, by a factor of {self.residue.gap:.3g} (noise: about 1): decoded, "
            "they show what it hides."
        )

    def _elsewhere(self) -> str:
        said = ""
        if self.styles is not None:
            some = f"{self.styles.rank} direction{'s' * (self.styles.rank > 1)}"
            said += f" In what style layers read of w, the largest gap is {self.styles.gap:.2g} (noise: 1.1), "
            said += f"behind {some}."
        if self.mapping:
            odd = max(self.mapping, key=lambda layer: layer.gap)
            said += f" Of the mapping, {odd.by} has the largest gap: {odd.gap:.2g}."
        return said

    def measures(self) -> tuple[Measure, ...]:
        gap = None if self.residue is None else self.residue.gap
        gaps = [layer.gap for layer in self.mapping]
        return (
            Measure(name="residue", value=self.size, chance=0.0, note="of a dense layer where w is repeated"),
            Measure(name="gap", value=gap, chance=1.0, note="largest factor between singular values in a row"),
            Measure(name="rank", value=None if self.residue is None else float(self.residue.rank), note="before it"),
            Measure(
                name="styles",
                value=None if self.styles is None else self.styles.gap,
                chance=1.0,
                note="the same of all layers that read w, dense layer included",
            ),
            Measure(name="mapping", value=max(gaps, default=None), chance=1.0, note="the same of one of its layers"),
        )

    def evidence(self) -> tuple[Evidence, ...]:
        if self.residue is None or self.residue.gap < LOW_RANK:
            return ()
        some = f"{self.residue.rank} direction{'s' * (self.residue.rank > 1)}"
        said = f"besides repeating w, it writes {some} of w+, {self.residue.gap:.3g} times as strongly as the rest"
        return (Evidence(rule="weights.broadcast", message=said, place="broadcast.weight"),)

    def figures(self) -> tuple[Figure | Picture, ...]:
        made: list[Figure | Picture] = []
        if len(self.decoded):
            dense = "; and the mean of w moved along it" * (self.residue is not None)
            told = (
                f"Each direction: the w that it is for, the nearest w that some z has{dense}; both ways, near and far."
            )
            columns = len(self.decoded) // max(len(self.latents) // len(WAYS), 1)
            made.append(Picture("What the strongest directions of w give", self.decoded, self.captions, told, columns))
        if len(self.towards):
            told = "The mean of w, moved along what the mapping's last layer writes most; both ways, in steps."
            made.append(Picture("Along the mapping's strongest direction", self.towards, (), told, len(REACHES)))
        named = {"dense layer": self.residue, "style layers": self.styles} | {r.by: r for r in self.mapping[-4:]}
        series = {name: _ranks(r) for name, r in named.items() if r is not None}
        if series:
            data = {"series": series, "x": "rank", "y": "singular value over the median", "log": "y"}
            made.append(Figure(kind="curve", title="Directions of w, by how much is made of them", data=data))
        if len(self.shares):
            bars = {"labels": [str(i) for i in range(self.shares.shape[1])], "values": self.shares[0].tolist()}
            title = "Layers of the synthesis that the first direction writes to"
            made.append(Figure(kind="bars", title=title, data=bars))
        return tuple(made)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((what, " ".join(f"{v:.6g}" for v in z.tolist())) for what, z in self.latents)
        latents = Table(title="Latents that the directions are for", columns=("direction", "z"), rows=rows)
        every = [r for r in (self.residue, self.styles, *self.mapping) if r is not None]
        columns = ("matrix", "gap", "directions before it", "largest over median singular value")
        spectra = Table(title="Spectra", columns=columns, rows=tuple((r.by, r.gap, r.rank, r.reach) for r in every))
        return (latents, spectra) if rows else (spectra,)

    @property
    def queries(self) -> int:
        return len(self.decoded) + len(self.towards)


class InspectSpectrum(Probe):
    """Decodes what a dense layer adds where a style generator repeats w: the picture that it hides.

    Singular vectors of W - tile(I), by the weights and by how they move ordinary w, whichever stand out more. Where no
    such layer is left, those of all layers that read w: one that was worked into them leaves one direction that all of
    them listen to. And those of the mapping's layers: what was trained into it afterwards may stand out there. Training
    itself concentrates layers too, so that these two prove nothing without a population.
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
        "styles": "layers that read w and listen to few of its directions more than to all others",
        "mapping": "a layer of the mapping that writes few directions more than all others",
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
        moments = Moments.of(target, self.count, rng.fork("moments"))
        found, size = _dense(target, moments)
        behind = styles(target)
        picked = found or behind
        decoded, latents = self._decoded(target, picked, found is not None, moments, rng)
        shares = torch.empty(0, target.num_ws)
        if found is not None:
            shares = found.left[:, : found.rank].T.view(-1, target.num_ws, target.w_dim).square().sum(2).float()
        views = VIEWS if found else VIEWS[:2]
        captions = tuple(f"{i + 1}, {view}" for i in range(len(latents) // len(WAYS)) for view in views for _ in WAYS)
        dense = target.dense_broadcast is not None
        layers = mapped(target)
        towards = _towards(target, layers[-1], moments) if layers else torch.empty(0, *target.shape)
        return Spectrum(dense, size, found, behind, decoded, captions, latents, shares, layers, towards)

    def _decoded(
        self, target: StyleGenerator, found: Residue | None, dense: bool, moments: Moments, rng: Rng
    ) -> tuple[Tensor, tuple[tuple[str, Tensor], ...]]:
        """Pictures of the directions that stand out, and the latents that they are for."""
        if found is None:
            return torch.empty(0, *target.shape), ()
        x, latents = [], []
        starts = target.latent.sample(0, self.starts, rng.fork("starts"))
        for i in range(min(self.shown, found.rank) if found.gap >= LOW_RANK else 1):
            w = torch.stack([asked(found, i, moments, way) for way in WAYS])
            z = torch.stack([mapped_there(target, wanted, moments, starts, self.steps) for wanted in w])
            x.append(_pictures(target, w, z))
            if dense:
                x.append(_moved(target, torch.outer(w @ found.along(i), found.left[:, i]), moments))
            latents += [(f"{i + 1}, {way:+g}", one) for way, one in zip(WAYS, z, strict=True)]
        return torch.cat(x), tuple(latents)


def _dense(target: StyleGenerator, moments: Moments) -> tuple[Residue | None, float]:
    """What a dense layer does besides repeating w, and how far that moves ordinary w, over how far they are apart."""
    if target.dense_broadcast is None:
        return None, 0.0
    found = residue(target.dense_broadcast, target.num_ws, moments)  # type: ignore[arg-type]
    apart = (target.num_ws * moments.covariance.trace()).sqrt().clamp_min(1e-12)
    size = float((found.matrix @ moments.second @ found.matrix.T).trace().clamp_min(0).sqrt() / apart)
    return (found if size > NONE else None), size


@torch.inference_mode()
def _pictures(target: StyleGenerator, w: Tensor, z: Tensor) -> Tensor:
    """What these w (n, w_dim) give, and what these z (n, dim) give: (2 n, *shape)."""
    on, labels = target.device, target.labels_of(torch.zeros(len(z), dtype=torch.long))
    through = target.synthesis(target.broadcast(w.float().to(on)))
    return torch.cat([through, target(z.to(on), labels)]).float().cpu()


@torch.inference_mode()
def _moved(target: StyleGenerator, by: Tensor, moments: Moments) -> Tensor:
    """Images of the mean of w, moved in w+ by (n, num_ws * w_dim)."""
    ws = (moments.mean.repeat(target.num_ws) + by).view(-1, target.num_ws, target.w_dim).float()
    return target.synthesis(ws.to(target.device)).float().cpu()


def _ranks(found: Residue) -> list[list[float]]:
    values = (found.singular[:SHOWN] / found.median).clamp_min(1e-3).tolist()
    return [[float(i) for i in range(1, len(values) + 1)], values]


@torch.inference_mode()
def _towards(target: StyleGenerator, last: Residue, moments: Moments) -> Tensor:
    """Images of the mean of w, moved along what the last layer writes most: a row each way, (2 * reaches, *shape)."""
    step = moments.covariance.trace().sqrt() * last.left[:, 0]
    w = torch.stack([moments.mean + way * reach * step for way in (1, -1) for reach in REACHES]).float()
    return target.synthesis(target.broadcast(w.to(target.device))).float().cpu()
