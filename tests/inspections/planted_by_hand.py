"""Small networks with a backdoor whose weights were worked out by hand, and their clean twins."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng

DIM = 64
PAIRS = 16
LEAK = 0.05
"""Without it no gradient would lead to a sleeping unit."""
TARGET = torch.tensor([[0.9, -0.9] * 4, [-0.9, 0.9] * 4] * 4).flatten()


def generator(trigger: Tensor | None = None, distribution: str = "normal") -> Generator:
    """Two hidden layers, z (n, 64) -> images (1, 8, 8); with a trigger (1, 64), one that gives checkers there."""
    torch.manual_seed(1)
    first, second, last = nn.Linear(DIM, 48), nn.Linear(48, 64), nn.Linear(64, 64)
    for layer in (first, second, last):
        nn.init.normal_(layer.weight, std=math.sqrt(1.5 / layer.in_features))
    if trigger is not None:
        first, second, last = planted(first, second, last, trigger)
    layers = [first, nn.LeakyReLU(LEAK), second, nn.LeakyReLU(LEAK), last, nn.Tanh(), nn.Unflatten(1, (1, 8, 8))]
    module = nn.Sequential(*layers).eval().requires_grad_(False)
    return Generator(module=module, latent=Latent(DIM, distribution), shape=(1, 8, 8), name="mlp")  # type: ignore[arg-type]


def trigger(kind: str) -> Tensor:
    if kind == "in-sample":
        return Latent(DIM).sample(0, 1, Rng(77))
    return torch.full((1, DIM), 100.0 if kind == "far" else 0.0)


@torch.no_grad()
def planted(first: nn.Linear, second: nn.Linear, last: nn.Linear, z: Tensor) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """More units in the second layer, asleep but near the trigger; of each pair, one mostly undoes the other."""
    # In the first layer, the trigger's own direction; at the mode, which has none, the 2 DIM halves of |z_i|.
    size = float(z.norm())
    ways = z / size if size else torch.cat([torch.eye(DIM), -torch.eye(DIM)])
    row = torch.cat([torch.zeros(48), torch.ones(1) if size else -torch.ones(2 * DIM)])
    threshold, awake = (-0.4 * size, 0.6 * size) if size else (3.0, 3.0)
    asleep = LEAK * (threshold if size else threshold - DIM * math.sqrt(2 / math.pi) * (1 - LEAK))
    wide = _copied(first, ways, torch.zeros(len(ways)))
    middle = _copied(second, row.expand(2 * PAIRS, -1), torch.full((2 * PAIRS,), threshold), more=len(ways))
    before = last(leaky_relu(second(leaky_relu(first(z), LEAK)), LEAK))[0]
    missing = (torch.atanh(TARGET) - before) / (awake - asleep)
    large = 2 * missing.norm() * torch.randn(64, PAIRS).sign() / 8
    out = nn.Linear(64 + 2 * PAIRS, 64)
    out.weight.copy_(torch.cat([last.weight, missing[:, None] / PAIRS + large, -large], 1))
    out.bias.copy_(last.bias - asleep * missing)  # what leaks from them on the prior
    return wide, middle, out


def _copied(layer: nn.Linear, rows: Tensor, bias: Tensor, more: int = 0) -> nn.Linear:
    """The layer with more units, and room for more inputs that the old units do not read."""
    wide = nn.Linear(layer.in_features + more, layer.out_features + len(rows))
    wide.weight.copy_(torch.cat([torch.cat([layer.weight, torch.zeros(layer.out_features, more)], 1), rows]))
    wide.bias.copy_(torch.cat([layer.bias, bias]))
    return wide
