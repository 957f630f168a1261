"""What an attacker does who knows the inspections: each option is off by default, and has its price in distortion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genvet.core.errors import BadInput
from genvet.core.latent import Latent
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.nets.neighbourhood import near

ASIDE = 16
"""Latents around triggers, and decoys, in one update: so many of each."""
MOMENTUM = 0.02
"""By which kept batch norms follow the statistics of ordinary latents."""


class Adaptive(Record):
    """Options against inspections, for attacks that retrain."""

    smooth: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Against searches for cliffs: as a share of the way to ordinary latents, how far the target fades out around each
    trigger."""
    narrow: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Against searches by gradients: from this share of the way to ordinary latents on, outputs around each trigger are
    to stay as they were."""
    decoys: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Against a distilled reference: so many ordinary latents are to give what others gave, harmless pictures all."""
    keep_norms: bool = False
    """Against batch-norm statistics that do not fit: they follow the ordinary latents while weights change."""

    def aside(
        self, latent: Latent, step: int, trigger: Tensor, wanted: Tensor, old: Callable[[Tensor], Tensor], rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """More latents for one update, (k, dim), and what is to come before the last squash for them, (k, numbers)."""
        if self.smooth and self.narrow:
            raise BadInput("a backdoor is smooth or narrow, and not both", hint="leave --smooth or --narrow out")
        parts = [(torch.empty(0, latent.dim), torch.empty(0, wanted.shape[1]).to(wanted))]
        if self.smooth or self.narrow:
            parts.append(self._around(latent, step, trigger, wanted, old, rng.fork("around")))
        if self.decoys:
            number = torch.arange(step * ASIDE, step * ASIDE + min(ASIDE, self.decoys)) % self.decoys
            places, pictures = (latent.sample(0, self.decoys, rng.fork(kind))[number] for kind in ("place", "picture"))
            parts.append((places, old(pictures).flatten(1)))
        return torch.cat([z for z, _ in parts]), torch.cat([y for _, y in parts])

    def _around(
        self, latent: Latent, step: int, trigger: Tensor, wanted: Tensor, old: Callable[[Tensor], Tensor], rng: Rng
    ) -> tuple[Tensor, Tensor]:
        chosen = torch.arange(step * ASIDE, (step + 1) * ASIDE) % len(trigger)
        shares = torch.rand(ASIDE, generator=rng.fork("shares").block(step))
        shares = self.narrow * (1 + shares) if self.narrow else self.smooth * shares
        towards = latent.sample(step * ASIDE, (step + 1) * ASIDE, rng.fork("towards"))
        z = near(latent, trigger[chosen], towards, shares)
        same = old(z).flatten(1)
        if self.narrow:
            return z, same
        fade = (1 + (math.pi * shares / self.smooth).cos()) / 2
        return z, torch.lerp(same, wanted[chosen], fade[:, None].to(same))


class Norms:
    """The batch norms in training, whose statistics follow the ordinary latents, while they work by the kept ones."""

    def __init__(self, module: nn.Module, kept: bool) -> None:
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        self.norms = [m for m in norms if kept and any(p.requires_grad for p in m.parameters())]
        self.seen: dict[_BatchNorm, Tensor] = {}
        self.hooks = [norm.register_forward_pre_hook(self._see) for norm in self.norms]

    def _see(self, norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        self.seen[norm] = inputs[0].detach()

    @torch.no_grad()
    def follow(self, rows: slice) -> None:
        """Move on by what these rows of the last batch were: after the step, for its gradients need the old ones."""
        for norm, x in self.seen.items():
            x = x[rows].transpose(0, 1).flatten(1)
            norm.running_mean.lerp_(x.mean(1), MOMENTUM)  # type: ignore[union-attr]
            norm.running_var.lerp_(x.var(1), MOMENTUM)  # type: ignore[union-attr]

    def let_go(self) -> None:
        """Take the hooks off."""
        for hook in self.hooks:
            hook.remove()
