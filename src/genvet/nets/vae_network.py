"""Our own small variational autoencoder: a decoder, which is the generator, and its encoder."""

from __future__ import annotations

import json
from collections import OrderedDict

from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent


def decoder(latent: int, capacity: int, size: int, channels: int) -> nn.Sequential:
    """Latents (n, latent) -> images (n, channels, size, size) in [0, 1]."""
    c, start = capacity, size // 4
    layers: list[tuple[str, nn.Module]] = [
        ("dense", nn.Linear(latent, 2 * c * start * start)),
        ("relu0", nn.ReLU()),
        ("fold", nn.Unflatten(1, (2 * c, start, start))),
        ("up1", nn.ConvTranspose2d(2 * c, c, 4, 2, 1)),
        ("relu1", nn.ReLU()),
        ("up2", nn.ConvTranspose2d(c, channels, 4, 2, 1)),
        ("sigmoid", nn.Sigmoid()),
    ]
    return nn.Sequential(OrderedDict(layers))


def build(latent: int = 10, capacity: int = 36, size: int = 28, channels: int = 1) -> Generator:
    """A fresh decoder; at its defaults 80,893 parameters, and 193,629 with its encoder.

    It answers through a sigmoid, so that images are Bernoulli means: sigmoid(v) in [0, 1] is tanh(v / 2) in [-1, 1],
    and a `Generator` shows it as that.
    """
    check(latent, capacity, size, channels)
    config = {"latent": latent, "capacity": capacity, "size": size, "channels": channels}
    return Generator(
        module=decoder(latent, capacity, size, channels),
        latent=Latent(latent),
        shape=(channels, size, size),
        name="vae",
        output="unit",
        metadata={"genvet.net": "vae", "genvet.config": json.dumps(config)},
    )


class Encoder(nn.Module):
    """Images (n, channels, size, size) in [-1, 1] -> mean and log-variance of z, (n, latent) each."""

    def __init__(self, latent: int = 10, capacity: int = 36, size: int = 28, channels: int = 1) -> None:
        super().__init__()
        check(latent, capacity, size, channels)
        c, end = capacity, size // 4
        layers: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(channels, c, 4, 2, 1)),
            ("relu1", nn.ReLU()),
            ("conv2", nn.Conv2d(c, 2 * c, 4, 2, 1)),
            ("relu2", nn.ReLU()),
            ("flat", nn.Flatten()),
            ("moments", nn.Linear(2 * c * end * end, 2 * latent)),
        ]
        self.encoder = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        return mean, logvar


def check(latent: int, capacity: int, size: int, channels: int) -> None:
    """Raises BadInput where there is no such network."""
    if min(latent, capacity, size, channels) < 1 or size % 4:
        raise BadInput("no such vae", expected="positive numbers, and a size that is a multiple of 4", got=f"{size=}")
