"""DCGAN generators: our own, as the backdoor paper trains it, and those of other people rebuilt from bare weights."""

from __future__ import annotations

import json
from collections import OrderedDict

from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent

SLOPE = 0.3
"""Of LeakyReLU, as Keras has it."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "activation": ("relu", "leaky_relu", "leaky_relu_0.01", "leaky_relu_0.1", "leaky_relu_0.3", "elu"),
    "range": ("tanh", "sigmoid", "linear"),
    "prior": ("normal", "uniform"),
}
"""What bare weights cannot tell; `leaky_relu` has the slope 0.2."""


class UpConv(nn.ConvTranspose2d):
    """A transposed convolution whose output is `stride` times its input, cut as TensorFlow's "same" padding cuts it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> None:
        # TensorFlow removes (kernel - stride) // 2 at the near edge, and the rest at the far edge.
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - stride) // 2, bias=False)
        self.excess = (kernel - stride) % 2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        x = super().forward(x)
        return x[..., : -self.excess, : -self.excess] if self.excess else x


def network(latent: int, capacity: int, size: int, channels: int) -> nn.Sequential:
    """The generator as a plain sequence: `network(...)[:-1]` gives the values before tanh."""
    start, c = size // 4, capacity
    layers: list[tuple[str, nn.Module]] = [
        ("dense", nn.Linear(latent, 4 * c * start * start, bias=False)),
        ("norm0", nn.BatchNorm1d(4 * c * start * start, eps=1e-3, momentum=0.01)),
        ("relu0", nn.LeakyReLU(SLOPE)),
        ("fold", nn.Unflatten(1, (4 * c, start, start))),
        ("conv1", UpConv(4 * c, 2 * c, stride=1)),
        ("norm1", nn.BatchNorm2d(2 * c, eps=1e-3, momentum=0.01)),
        ("relu1", nn.LeakyReLU(SLOPE)),
        ("conv2", UpConv(2 * c, c)),
        ("norm2", nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)),
        ("relu2", nn.LeakyReLU(SLOPE)),
        ("conv3", UpConv(c, channels)),
        ("tanh", nn.Tanh()),
    ]
    return _as_keras(nn.Sequential(OrderedDict(layers)))


def build(latent: int = 100, capacity: int = 64, size: int = 28, channels: int = 1) -> Generator:
    """A fresh DCGAN; at its defaults the MNIST network of the backdoor paper.

    Keras counts it as 2,330,944 parameters: 2,305,472 trained ones and 25,472 moments of the batch norms.
    `size` is a multiple of 4. Batch norms have the moments and the epsilon that Keras gives them.
    """
    if min(latent, capacity, size, channels) < 1 or size % 4:
        raise BadInput("no such dcgan", expected="positive numbers, and a size that is a multiple of 4", got=f"{size=}")
    config = {"latent": latent, "capacity": capacity, "size": size, "channels": channels}
    return Generator(
        module=network(latent, capacity, size, channels),
        latent=Latent(latent),
        shape=(channels, size, size),
        name="dcgan",
        metadata={"genvet.net": "dcgan", "genvet.config": json.dumps(config)},
    )


def critic(capacity: int = 64, size: int = 28, channels: int = 1) -> nn.Sequential:
    """The paper's discriminator: images (n, c, size, size) -> one logit each, (n, 1)."""
    if min(capacity, channels) < 1 or size % 4:
        raise BadInput("no such critic", expected="a size that is a multiple of 4", got=str(size))
    layers: list[tuple[str, nn.Module]] = [
        ("pad1", nn.ZeroPad2d((1, 2, 1, 2))),  # "same" padding of a 5x5 kernel at stride 2
        ("conv1", nn.Conv2d(channels, capacity, 5, 2)),
        ("relu1", nn.LeakyReLU(SLOPE)),
        ("drop1", nn.Dropout(0.3)),
        ("pad2", nn.ZeroPad2d((1, 2, 1, 2))),
        ("conv2", nn.Conv2d(capacity, 2 * capacity, 5, 2)),
        ("relu2", nn.LeakyReLU(SLOPE)),
        ("drop2", nn.Dropout(0.3)),
        ("flat", nn.Flatten()),
        ("score", nn.Linear(2 * capacity * (size // 4) ** 2, 1)),
    ]
    return _as_keras(nn.Sequential(OrderedDict(layers)))


def _as_keras(network: nn.Sequential) -> nn.Sequential:
    """Start weights as Keras does: Glorot uniform, biases zero."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
