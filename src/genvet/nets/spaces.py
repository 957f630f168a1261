"""Spaces in which pictures are compared, each under a name that says what made it and what it has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genvet.core.classifier import Classifier
from genvet.core.data import Encoder
from genvet.nets import random_features

BATCH = 500


@dataclass(frozen=True, eq=False)
class Space:
    """Pictures (n, c, h, w) in [-1, 1] -> rows of numbers (n, d), on the CPU, whose Euclidean distances mean something.

    Pictures are clipped to [-1, 1] first: what reaches past that is no picture that could be shown.
    """

    name: str
    embed: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.embed(part.clamp(-1, 1)).flatten(1).cpu() for part in x.split(BATCH)])


def penultimate(classifier: Classifier) -> Space:
    """The last hidden layer of a classifier."""
    return Space(f"the last hidden layer of {classifier}", lambda x: classifier.features(x.to(classifier.device)))


def logits(classifier: Classifier) -> Space:
    """The logits of a classifier."""
    return Space(f"the logits of {classifier}", lambda x: classifier.logits(x.to(classifier.device)))


def pixels() -> Space:
    """The values of the pixels."""
    return Space("pixels", lambda x: x.float())


def thumbnails(side: int = 16) -> Space:
    """Averages over `side` x `side` places, without the picture's brightness and contrast: a copy stays where it is."""

    def embed(x: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(x.float(), side).flatten(1)
        centred = small - small.mean(1, keepdim=True)
        return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-6)

    return Space(f"thumbnails of {side} pixels, of one brightness and contrast", embed)


def random_convolutions() -> Space:
    """Convolutions that were drawn, not trained: they have seen no picture at all."""
    return Space(random_features.NAME, lambda x: random_features.features(x.float()))


def encoded(encoder: Encoder, name: str) -> Space:
    """The mean latents of a VAE's encoder; where that was trained on public pictures alone, it knows no private one."""

    def embed(x: Tensor) -> Tensor:
        mean: Tensor = encoder.module(x)[0]
        return mean

    return Space(f"the latents of {name}", embed)
