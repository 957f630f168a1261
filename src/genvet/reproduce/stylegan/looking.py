"""Cells that look into one network, trained or as it was before it learned anything; and how its critic sees images."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from genvet.core.data import Critic
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Technique
from genvet.nets.build import build
from genvet.reproduce.cells import Cell, Place, Step
from genvet.reproduce.experiment import Scale
from genvet.reproduce.stylegan.networks import Styled

TRAINED, UNTRAINED = "trained", "never trained"


class Look(Cell):
    """One network that a study looks into."""

    parent: Styled
    trained: bool = True

    @property
    @abstractmethod
    def probe(self) -> Probe: ...

    @property
    def name(self) -> str:
        return f"{self.parent.name}.{self.probe.name()}{'' if self.trained else '.untrained'}"

    def needs(self) -> tuple[Step, ...]:
        return (self.parent,)

    def where(self) -> Mapping[str, object]:
        return {"seed": self.parent.seed, "network": TRAINED if self.trained else UNTRAINED}

    def techniques(self) -> tuple[type[Technique], ...]:
        return type(self.probe), type(self.parent.recipe)

    def generator(self, place: Place) -> StyleGenerator:
        """The network, or a fresh one of the same sizes: the control of what training has to do with it."""
        learned = self.parent.generator(place)
        return learned if self.trained else untrained(learned, self.parent.seed)


def untrained(learned: StyleGenerator, seed: int) -> StyleGenerator:
    """A network of the same architecture with start weights."""
    config = json.loads(learned.metadata["genvet.config"])
    fresh = build(learned.name, {**config, "rng": Rng(seed, "untrained")})
    assert isinstance(fresh, StyleGenerator)
    fresh.module.requires_grad_(False).eval()
    return fresh


@torch.inference_mode()
def worse(critic: Critic, images: Tensor, ordinary: Tensor) -> float:
    """How often the critic scores an image (n, c, h, w) below an ordinary one; a half where they are of one kind."""
    ours, usual = (critic(x).flatten() for x in (images, ordinary))
    lower = (ours[:, None] < usual).double() + (ours[:, None] == usual).double() / 2
    return float(lower.mean())


def seeds(scale: Scale) -> range:
    """Of the networks at each scale."""
    return range(1, 2 if scale == "smoke" else 4)


def differs(scale: Scale) -> str:
    """What is not as in the paper, of the network itself."""
    if scale == "paper":
        return "The steps of the paper's training are not known: 300,000 here."
    return "A StyleGAN2 of Fashion-MNIST at 32 pixels; the paper's is a StyleGAN of CelebA at 128."
