"""StyleGAN, the first, against a plain critic, at its final size from the start."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import stylegan1
from genvet.nets.style_critic import StyleCritic, critic
from genvet.training.styles import Given, Styles


class StyleGAN1(Styles, Recipe):
    """Trains a StyleGAN, with adaptive instance normalisation, on images, and averages its weights."""

    # Unlike the paper: the network does not grow. StyleGAN2 (sec. 4) found that skips do without; at these sizes plain
    # layers do, and one network is trained instead of a series.
    source: ClassVar[str] = "Karras et al.: A style-based generator architecture, 2019, sec. 2 and 3"
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 4, "size": 8, "latent": 4, "channel_base": 32, "channel_max": 8, "r1_every": 2},
        **{"mapping_layers": 2, "precision": "float32"},
    }
    nets: ClassVar[tuple[str, ...]] = ("stylegan1",)

    mapping_layers: Annotated[int, Field(ge=1, le=16)] = 8
    """Layers from z to w."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        return super().__call__(given, rng)

    def fresh(self, channels: int, classes: int) -> StyleGenerator:
        return stylegan1.build(
            self.size,
            channels,
            z_dim=self.latent,
            w_dim=self.latent,
            mapping_layers=self.mapping_layers,
            widths=self.widths,
            classes=classes,
        )

    def opponent(self, channels: int, classes: int) -> StyleCritic:
        return critic(self.size, channels, self.widths, classes, self.group, architecture="orig")
