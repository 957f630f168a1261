"""Where an inversion begins: of many samples of the prior, those that the target takes most for each label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.nets.latent_spaces import LatentSpace

BATCH = 64
Judge = Callable[[Tensor], Tensor]
"""Images (n, *shape) -> scores (n, classes): logarithms, where probabilities would be rounded to 1."""


@dataclass(frozen=True, eq=False)
class Guesses:
    """The best samples of a prior for each label."""

    z: Tensor
    """(labels, count, dim), the likeliest first."""
    sure: Tensor
    """The target's score of the label, (labels, count)."""
    n: int
    """Samples that were shown to the target: once, for all labels."""


@torch.inference_mode()
def first_guesses(
    prior: Generator, judge: Judge, labels: Tensor, count: int, n: int, rng: Rng, seen: LatentSpace | None = None
) -> Guesses:
    """The `count` best of `n` samples for each of the labels; latents follow from their numbers, and none is stored.

    `seen` says how samples are rendered, such as with truncation; plainly unless given.
    """
    if count > n:
        raise BadInput("more starts than samples", expected=f"at most {n}", got=str(count))
    sure = torch.full((len(labels), count), -torch.inf, dtype=torch.float64)
    number = torch.zeros(len(labels), count, dtype=torch.long)
    batches = prior.latent.batches(n, BATCH, rng)
    for i, z in enumerate(track(batches, -(-n // BATCH), "first guesses")):
        numbers = torch.arange(len(z)) + i * BATCH
        if seen is None:
            x = prior(z.to(prior.device), prior.labels_of(numbers)).float().clamp(-1, 1)
        else:
            x = seen.images(seen.start(z.to(prior.device)))
        scores = judge(x).double().cpu()[:, labels].T
        sure, order = torch.cat([sure, scores], 1).topk(count, 1)
        number = torch.cat([number, numbers.expand(len(labels), -1)], 1).gather(1, order)
    z = torch.stack([prior.latent.sample(int(k), int(k) + 1, rng)[0] for k in number.flatten()])
    return Guesses(z.view(len(labels), count, -1), sure, n)


def shown(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images as a target of this shape takes them: resampled, in gray or in colour; with gradients."""
    if x.shape[2:] != shape[1:]:
        x = F.interpolate(x, shape[1:], mode="bilinear", antialias=True, align_corners=False)
    if x.shape[1] == shape[0]:
        return x
    if shape[0] == 1:
        return x.mean(1, keepdim=True)
    if x.shape[1] == 1:
        return x.expand(-1, shape[0], -1, -1)
    raise BadInput(
        "the prior's images do not fit the target", expected=f"{shape} a sample", got=str(tuple(x.shape[1:]))
    )
