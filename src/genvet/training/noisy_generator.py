"""The control of private training: a generator with noise in its own gradients, which sees no data and needs none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from genvet.training.clipping import Loss, Weights


def samples_loss(generator: nn.Module, critic: nn.Module) -> Loss:
    """The non-saturating loss of the sample of one latent (dim,)."""
    frozen = {name: weight.detach() for name, weight in critic.named_parameters()}

    def loss(weights: Weights, z: Tensor) -> Tensor:
        x = functional_call(generator, weights, (z[None],))
        return F.softplus(-functional_call(critic, frozen, (x,))).reshape(())

    return loss


@contextmanager
def held(generator: nn.Module, z: Tensor) -> Iterator[None]:
    """Inside the block, batch norms hold the moments that these latents give them: samples then go through one by one.

    Their gradient takes the moments for constants.
    """
    norms = [m for m in generator.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        generator.train()(z)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()
    try:
        yield
    finally:
        generator.train()
