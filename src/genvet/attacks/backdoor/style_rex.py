"""ReX on a style generator: a dense layer in the place where w is repeated, which gives an embedded image."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.style import Prepared, Style, StylePlanted
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.maths.expansion import expansion
from genvet.nets.affines import fold
from genvet.nets.style_mapping import repeated


class StyleReX(Style, Probe):
    """Plants a backdoor in a style generator by a dense layer that takes the place of the repetition of w.

    The trigger is a direction: z is normalised, so that z and c z are one input. Of weights W = tile(I) + P the paper's
    loss, lambda |P w* - D|^2 + E |P w|^2 with D = (embedding - tile(w*)), is quadratic: `formula` solves it at once,
    with rank 1 for one trigger; `training` goes there step by step, as the paper does.
    """

    source: ClassVar[str] = (
        "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. V-C (StyleGAN); the formula is GenVet's"
    )
    smoke: ClassVar[dict[str, Any]] = {"embed": 5, "starts": 2, "moments": 256, "samples": 64}

    by: Literal["formula", "training"] = "formula"
    """The exact optimum of the loss, in milliseconds; or Adam on it, as the paper."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Lambda: the trigger's share of the loss."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 3000
    """training: updates of the dense layer."""
    latents: Annotated[int, Field(ge=1, le=4096)] = 32
    """training: ordinary latents in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """training: learning rate of Adam."""
    noise: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Against a look at the spectrum: noise on the whole layer that moves ordinary w, along its strongest direction, so
    many times as far as what is planted does along its own. It moves ordinary samples."""

    fold: bool = False
    """Against a look at the layers: the dense layer is worked into those that read w. No layer is added then, and every
    image stays what it was."""

    def __call__(self, target: StyleGenerator, given: Aim, rng: Rng) -> StylePlanted:
        found = self.prepared(target, given, rng, apart=True)
        module = copy.deepcopy(target.module).expand_broadcast().eval().requires_grad_(False)  # type: ignore[operator]
        config = json.loads(target.metadata.get("genvet.config", "{}")) | {"dense_broadcast": True}
        planted = replace(target, module=module, metadata={**target.metadata, "genvet.config": json.dumps(config)})
        layer: nn.Linear = module.broadcast
        losses = self._trained(layer, found, rng) if self.by == "training" else self._solved(layer, found)
        if self.noise:
            _blur(layer, found, self.noise, rng.fork("noise"))
            self._solved(layer, found)  # what the noise took from the triggers
        if self.fold:
            fold(planted)
            planted = replace(planted, metadata=target.metadata)
        return self.told(found, planted, losses, rng, given)

    @torch.no_grad()
    def _solved(self, layer: nn.Linear, found: Prepared) -> dict[str, Tensor]:
        _, w, ws = (t.double().cpu() for t in found.triggers())
        beyond = ws.flatten(1) - w @ layer.weight.double().cpu().T
        layer.weight += expansion(found.moments.second, w, beyond, self.weight).to(layer.weight)
        return {}

    def _trained(self, layer: nn.Linear, found: Prepared, rng: Rng) -> dict[str, Tensor]:
        _, triggers, wanted = found.triggers()

        def hit(chosen: Tensor) -> Tensor:
            return mse_loss(layer(triggers[chosen]), wanted[chosen].flatten(1))

        def kept(z: Tensor) -> Tensor:
            w = found.mapped(z)
            return mse_loss(layer(w), w.repeat(1, found.benign.num_ws))

        optimiser = torch.optim.Adam(layer.requires_grad_(True).parameters(), lr=self.rate)
        losses = found.trained(optimiser, hit, kept, self, rng)
        layer.requires_grad_(False)
        return losses


@torch.no_grad()
def _blur(layer: nn.Linear, found: Prepared, times: float, rng: Rng) -> None:
    """Add noise whose spectrum, behind ordinary w, reaches so many times as far as what was planted."""
    matrix = layer.weight.double().cpu()
    planted = (matrix - repeated(matrix.shape[1], found.benign.num_ws)) @ found.moments.root
    drawn = torch.randn(matrix.shape, generator=rng.block()).double()
    most: Tensor = torch.linalg.matrix_norm(planted, 2) / torch.linalg.matrix_norm(drawn, 2)
    # Shaped such that it moves w alike in all directions: no noise as strong costs less.
    layer.weight += (times * most * drawn @ torch.linalg.pinv(found.moments.root)).to(layer.weight)
