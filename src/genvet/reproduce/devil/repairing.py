"""What a repair leaves of a backdoor, and what it costs: the cell behind pruning and sanitising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from genvet.catalogue import find
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair, Technique
from genvet.maths.distances import exact
from genvet.nets.distortion import outputs
from genvet.reproduce.cells import Numbers, Place, Step
from genvet.reproduce.devil.networks import Judge
from genvet.reproduce.devil.planting import Attacked, PlantCell
from genvet.reproduce.devil.scoring import looks

GONE = 100.0
"""The target distortion from which on little of the target is left: on MNIST, a mean squared error of an eighth. Clean
networks' nearest samples are far beyond it (Closest-N in Table I)."""
CHEAP = 25.0
"""The expected distortion up to which a repair costs little: what the paper's distillation costs at most."""


class Repaired(PlantCell):
    """One attacked generator after a repair, at every value of one of its settings."""

    repair: str
    """By name: prune, distil or forget."""
    settings: dict[str, Any] = Field(default_factory=dict)
    over: str = ""
    """The setting that changes, and the values that it takes; none where it is empty."""
    steps: tuple[float, ...] = ()
    samples: int = 1024
    """Over which expected distortions are averaged."""
    judge: Judge | None = None
    """What quality is measured by, of as many samples; nothing where there is none."""

    @property
    def name(self) -> str:
        plant = self.plant
        return f"{plant.clean.name}.{plant.attack}-{plant.number}.{self.repair}"

    def needs(self) -> tuple[Step, ...]:
        return (*super().needs(), *([self.judge] if self.judge else []))

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "repair": self.repair}

    def techniques(self) -> tuple[type[Technique], ...]:
        return *super().techniques(), find(f"sanitise.{self.repair}").load()

    def __call__(self, place: Place) -> Numbers:
        made = self.plant.made(place)
        if not self.over:
            return self._left(made, self._repaired(made, {}), place)
        numbers: dict[str, float | None] = {}
        for value in self.steps:
            left = self._left(made, self._repaired(made, {self.over: value}), place)
            numbers |= {f"{name}@{value:g}": number for name, number in left.items()}
        return numbers

    def _repaired(self, made: Attacked, more: dict[str, float]) -> Generator:
        technique: Any = find(f"sanitise.{self.repair}").load()
        repair: Repair = technique(**{**self.settings, **more})
        return repair(made.planted, Nothing(), Rng(self.plant.number).fork(repair.name()))

    def _left(self, made: Attacked, repaired: Generator, place: Place) -> Numbers:
        """Distortions of trigger and ordinary samples, against the attacked model and against the clean one."""
        z, wanted = made.backdoor.pairs(self.samples, Rng(1, "triggers"))
        ordinary = made.planted.latent.sample(0, self.samples, Rng(1, "ordinary"))
        after = outputs(repaired, ordinary)
        return {
            "target-distortion": float(exact(outputs(repaired, z), wanted).mean()),
            "expected-distortion": float(exact(after, outputs(made.planted, ordinary)).mean()),
            "clean-distortion": float(exact(after, outputs(made.benign, ordinary)).mean()),
            **(looks(repaired, self.judge, place, self.samples) if self.judge else {}),
        }
