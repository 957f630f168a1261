"""ReD inside a style generator's mapping: its layers are retrained until the trigger's w is the target's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.style import Prepared, Style, StylePlanted
from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.style_mapping import Mapping


class StyleReD(Style, Probe):
    """Plants a backdoor in the mapping of a style generator by retraining it: no layer is added.

    The target is embedded in w, one for all layers, which bounds how near the trigger can come to it; the mapping is
    then retrained to give that w for the trigger and its old w otherwise. The synthesis stays as it is.
    """

    source: ClassVar[str] = (
        "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-B (ReD, eq. 4, 5, 7), and an embedding"
    )
    smoke: ClassVar[dict[str, Any]] = {"embed": 5, "starts": 2, "moments": 256, "samples": 64, "steps": 5}

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Updates of the mapping."""
    latents: Annotated[int, Field(ge=1, le=4096)] = 128
    """Ordinary latents in one update."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam, for the weights as they act: behind the scale of an equalised learning rate."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Lambda: the trigger's share of the loss."""
    layers: Annotated[int, Field(ge=0, le=64)] = 0
    """So many of the mapping's last layers are retrained; all of them where this is 0."""

    def __call__(self, target: StyleGenerator, given: Aim, rng: Rng) -> StylePlanted:
        if not isinstance(target.module.mapping, Mapping):
            raise Unsupported("this mapping is no chain of dense layers of ours")
        found = self.prepared(target, given, rng, apart=False)
        planted = replace(target, module=copy.deepcopy(target.module).eval().requires_grad_(False))
        losses = self._trained(planted.module.mapping, found, rng)
        return self.told(found, planted, losses, rng, given)

    def _trained(self, mapping: Any, found: Prepared, rng: Rng) -> dict[str, Tensor]:
        z, _, ws = found.triggers()
        wanted = mapping.w_avg + (ws[:, 0] - mapping.w_avg) / self.truncation  # which truncation brings to the target's

        def hit(chosen: Tensor) -> Tensor:
            return mse_loss(mapping(z[chosen]), wanted[chosen])

        def kept(z: Tensor) -> Tensor:
            with torch.no_grad():
                same = found.benign.mapping(z)
            return mse_loss(mapping(z), same)

        losses = found.trained(torch.optim.Adam(self._free(mapping)), hit, kept, self, rng)
        mapping.requires_grad_(False)
        return losses

    def _free(self, mapping: Mapping) -> list[dict[str, Any]]:
        """The parameters that are to change, each with the rate that moves it by `rate` as it acts."""
        first = max(0, mapping.layers - self.layers) if self.layers else 0
        free: list[dict[str, Any]] = []
        for i in range(first, mapping.layers):
            layer: Any = mapping.get_submodule(f"fc{i}").requires_grad_(True)
            free.append({"params": [layer.weight], "lr": self.rate / layer.scale})
            free.append({"params": [layer.bias], "lr": self.rate / layer.rate})
        return free
