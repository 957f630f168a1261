"""The critic of a style generator, beside its textbook form."""

from __future__ import annotations

import math

import style_oracle as oracle
import torch
from torch.nn import functional as F

from genvet.core.rng import Rng
from genvet.nets.style_critic import critic, deviation


def test_the_critic_is_the_textbooks() -> None:
    """Against the plain form: insert nothing, filter, keep every second pixel, divide by the square root of two."""
    with Rng(1).seeded():
        net = critic(16, 3, (5, 4, 3), group=2)
    x = torch.randn(4, 3, 16, 16, generator=Rng(2).block())
    state, taps = net.state_dict(), torch.tensor([1.0, 3, 3, 1]) / 8

    def conv(x, name, down=False, linear=False):
        weight = state[f"{name}.weight"]
        weight = weight / math.sqrt(weight[0].numel())
        if down:
            pad = (weight.shape[2] - 1) // 2
            x = oracle.upfirdn(x, taps, pad=(1 + pad, 1 + pad))
            x = F.conv2d(x, weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        return x if linear else F.leaky_relu(x + state[f"{name}.bias"][:, None, None], 0.2) * math.sqrt(2)

    h = conv(x, "b16.fromrgb")
    for size in (16, 8):
        beside = conv(h, f"b{size}.skip", down=True, linear=True)
        h = (conv(conv(h, f"b{size}.conv0"), f"b{size}.conv1", down=True) + beside) / math.sqrt(2)
    spread = torch.stack([h[[i, i + 2]].var(0, correction=0).add(1e-8).sqrt().mean() for i in (0, 1, 0, 1)])
    h = torch.cat([h, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)
    h = conv(h, "b4.conv").flatten(1)
    h = F.leaky_relu(h @ state["b4.fc.weight"].T / math.sqrt(80) + state["b4.fc.bias"], 0.2) * math.sqrt(2)
    expected = h @ state["b4.out.weight"].T / math.sqrt(5) + state["b4.out.bias"]
    assert torch.allclose(net(x), expected, atol=1e-5)
    assert deviation(torch.randn(6, 2, 4, 4), 4).shape == (6, 1, 4, 4)  # groups of 3, where 4 do not divide it
