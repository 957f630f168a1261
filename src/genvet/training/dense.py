"""The plain adversarial recipe for the smallest networks: four linear layers each, for points and other few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet.core.data import Images
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.nets import mlp
from genvet.training.adversarial import Duel
from genvet.training.loop import run


@dataclass(frozen=True, eq=False)
class Given:
    """What it learns from."""

    images: Images


class Dense(Recipe):
    """Trains an MLP on samples of any shape, such as points (1, 1, 2), and averages its weights."""

    source: ClassVar[str] = "Hu, Pang: Stealing Machine Learning Models, ACSAC 2021, appendix A.1 (25 Gaussians)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 2, "batch": 8, "width": 4}
    nets: ClassVar[tuple[str, ...]] = ("mlp",)

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Updates of generator and critic."""
    batch: Annotated[int, Field(ge=2, le=65_536)] = 256
    """Samples in one update."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 2
    """Numbers in z."""
    width: Annotated[int, Field(ge=1, le=4096)] = 128
    """Units of each hidden layer."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam, for both networks."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """First moment's decay in Adam."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the weight average (EMA)."""

    def __call__(self, given: Given, rng: Rng) -> TrainedGenerator:
        x = given.images.x
        shape = tuple(x.shape[1:])
        with rng.fork("weights").seeded():
            generator, critic = mlp.build(self.latent, self.width, shape), mlp.critic(self.width, shape)
        duel = Duel(self, generator, critic, x, rng)
        losses, told = run(duel, self, self.steps, x, rng)
        return duel.trained(losses, told)
