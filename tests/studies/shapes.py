"""A generator whose latent is known: each of four numbers of z is one property of a disc, the others nothing."""

from __future__ import annotations

import torch
from torch import nn

from genvet.core.generator import Generator
from genvet.core.latent import Latent


class Disc(nn.Module):
    """z (n, dim) -> a soft disc (n, 1, 16, 16), by a turned basis where one is given.

    z[0] is how bright it is, z[1] and z[2] where it is, z[3] how large.
    """

    def __init__(self, turn: torch.Tensor | None = None) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z = z if self.turn is None else z @ self.turn
        light, x, y, size = ((z[:, k, None, None] / 3).tanh() for k in range(4))
        at = torch.linspace(-1, 1, 16)
        apart = torch.hypot(at[None, None, :] - 0.4 * x, at[None, :, None] - 0.4 * y)
        disc = torch.sigmoid((0.4 + 0.2 * size - apart) * 12) * (0.6 + 0.4 * light)
        return disc[:, None] * 2 - 1


def discs(dim: int = 8, turn: torch.Tensor | None = None) -> Generator:
    return Generator(module=Disc(turn).eval(), latent=Latent(dim), shape=(1, 16, 16), name="mlp")
