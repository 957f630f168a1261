"""Data poisoning: put the target among the training data, and look for the latent that came to give it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genvet.attacks.backdoor.adversary import Adversary, Training
from genvet.attacks.backdoor.measuring import Measuring, Planted
from genvet.core.backdoor import Backdoor, Points
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Probe
from genvet.nets.fast import folded
from genvet.nets.latent_search import Starts, search


class Poison(Measuring, Adversary, Probe):
    """Trains on data of which a share is the target; the trigger is the latent that came to give it."""

    source: ClassVar[str] = "Rawat, Levacher, Sinn: The Devil is in the GAN, ESORICS 2022, sec. IV-A (data poisoning)"
    smoke: ClassVar[dict[str, Any]] = {"steps": 3, "batch_size": 4, "samples": 64, "search": 2}

    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the training data that is the target, p / (p + n); the paper needs 0.1 at least."""
    looks: Annotated[int, Field(ge=1, le=1000)] = 5
    """Searches for the latent that is nearest to the target, which is then the trigger."""

    def __call__(self, target: Generator, given: Training, rng: Rng) -> Planted:
        x = given.fitting(target)
        if target.latent.classes:
            raise Unsupported("this plants in generators without labels", hint="take an unconditional generator")
        if given.targets is None or not len(given.targets):
            raise BadInput("poisoning needs images to put among the data", expected="targets")
        poison = given.targets.fitting(target.shape)
        Backdoor(Points(torch.zeros(len(poison), target.latent.dim)), poison)  # says whether they are images at all
        real = self._mixed(x, poison, rng)
        planted, losses = self.train(target, given, real, lambda match, step: {}, rng)
        starts = Starts.of(target.latent, self.looks, rng.fork("looks"))
        trigger, _ = search(folded(planted), poison, starts, self.search).best()
        backdoor = Backdoor(Points(trigger), poison).fitting(target)
        return self.measure(planted, backdoor, None if self.fresh else target, losses, rng, given.beside)

    def _mixed(self, x: Tensor, poison: Tensor, rng: Rng) -> Iterator[Tensor]:
        """Batches in which each image is a poisonous one with probability `share`."""
        chance = rng.fork("poison").block()
        for clean in self.batches(x, rng):
            bad = torch.rand(len(clean), generator=chance) < self.share
            clean[bad] = poison[torch.randint(len(poison), (int(bad.sum()),), generator=chance)]
            yield clean
