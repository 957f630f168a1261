"""StyleGAN2 against its residual critic."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import stylegan2
from genvet.nets.style_critic import StyleCritic, critic
from genvet.training.styles import Given, Styles


class StyleGAN2(Styles, Recipe):
    """Trains a StyleGAN2 with skips on images, augmented where there are few, and averages its weights."""

    source: ClassVar[str] = "Karras et al.: StyleGAN2, 2020, sec. 2 to 4 and appendix B; StyleGAN2-ADA, 2020, sec. 3"
    smoke: ClassVar[dict[str, Any]] = {
        **{"steps": 2, "batch": 4, "size": 8, "latent": 4, "channel_base": 32, "channel_max": 8, "r1_every": 2},
        "precision": "float32",
    }
    nets: ClassVar[tuple[str, ...]] = ("stylegan2",)

    mapping_layers: Annotated[int, Field(ge=1, le=16)] = 2
    """Layers from z to w: 8 in the paper, 2 in its authors' settings for small images."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        return super().__call__(given, rng)

    def fresh(self, channels: int, classes: int) -> StyleGenerator:
        return stylegan2.build(
            self.size,
            channels,
            z_dim=self.latent,
            w_dim=self.latent,
            mapping_layers=self.mapping_layers,
            widths=self.widths,
            classes=classes,
        )

    def opponent(self, channels: int, classes: int) -> StyleCritic:
        return critic(self.size, channels, self.widths, classes, self.group)
