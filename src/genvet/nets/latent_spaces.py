"""The spaces in which a generator's latents are searched: Z, W, and both with one latent for each layer (Z+, W+)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.nets.p_space import PSpace

Name = Literal["z", "w", "z+", "w+"]
Border = Literal["none", "box", "shell"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentSpace:
    """One space of a generator: points u (n, times, dim), their images, and the border that they are kept in."""

    generator: Generator
    name: Name = "z"
    border: Border = "none"
    """box: every number within `c` standard deviations; shell: as far from the mean as ordinary ones are."""
    c: float = 1.0
    p: PSpace | None = None
    """Needed for a border in W."""
    truncation: float = 1.0
    """Pulls the w of the first `cutoff` layers towards their mean before they are seen."""
    cutoff: int | None = None
    """All of them where this is None."""

    def __post_init__(self) -> None:
        if self.name != "z" and not isinstance(self.generator, StyleGenerator):
            raise Unsupported(f"this generator has no space {self.name}", hint="search in z, or take a style generator")
        if self.of_w and self.border != "none" and self.p is None:
            raise Unsupported("a border in W needs the moments of P")

    @property
    def of_w(self) -> bool:
        return self.name in ("w", "w+")

    @property
    def times(self) -> int:
        """Latents that one image takes."""
        return self.generator.num_ws if "+" in self.name else 1  # type: ignore[attr-defined]

    @torch.no_grad()
    def start(self, z: Tensor) -> Tensor:
        """The point (n, times, dim) at which ordinary latents z (n, dim) lie."""
        u = self.generator.mapping(z) if self.of_w else z  # type: ignore[attr-defined]
        return u[:, None].expand(-1, self.times, -1).clone()

    def images(self, u: Tensor) -> Tensor:
        """(n, *shape), cut to [-1, 1]: what a classifier would be shown."""
        if not isinstance(self.generator, StyleGenerator):
            return self.generator(u[:, 0]).clamp(-1, 1)
        w = u
        if not self.of_w:
            w = self.generator.mapping(u.flatten(0, 1)).view(len(u), self.times, -1)
        ws = self.generator.broadcast(w[:, 0]) if self.times == 1 else w
        return self.generator.synthesis(self._truncated(ws)).float().clamp(-1, 1)

    @torch.no_grad()
    def rendered(self, u: Tensor, batch: int = 64) -> Tensor:
        """The same some at a time, on the CPU."""
        return torch.cat([self.images(some.to(self.generator.device)).cpu() for some in u.split(batch)])

    def _truncated(self, ws: Tensor) -> Tensor:
        if self.truncation == 1.0:
            return ws
        average: Tensor = self.generator.module.mapping.w_avg  # type: ignore[assignment, union-attr]
        pulled = average + self.truncation * (ws - average)
        first = torch.arange(ws.shape[1], device=ws.device) < (ws.shape[1] if self.cutoff is None else self.cutoff)
        return torch.where(first[None, :, None], pulled, ws)

    @torch.no_grad()
    def kept(self, u: Tensor) -> Tensor:
        """u inside the border: it changes nothing where it is there already."""
        if self.border == "none":
            return u
        if self.of_w:
            assert self.p is not None
            return self.p.clip(u, self.c) if self.border == "box" else self.p.shell(u)
        if self.border == "box":
            return u.clamp(-self.c, self.c)  # of a normal or uniform prior
        return u / u.norm(dim=-1, keepdim=True).clamp_min(1e-12) * u.shape[-1] ** 0.5

    def energy(self, u: Tensor) -> Tensor:
        """How far a point is from ordinary ones, over what these are: about 1 for them; (n,), with gradients."""
        if self.of_w:
            if self.p is None:
                raise Unsupported("the energy of W needs the moments of P")
            return self.p.energy(u).mean(1) / u.shape[-1]
        return u.square().mean((1, 2))
