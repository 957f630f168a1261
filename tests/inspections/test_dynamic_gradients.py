"""Gradients that were masked on purpose, each in its own way, beside the same network without."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.engine import assess
from genvet.inspections.dynamic.gradients import InspectGradients


class Quantised(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return (h * 20).round() / 20


class Rippled(nn.Module):
    """No visible change, and a slope of 10 that turns round every 0.0003."""

    def forward(self, h: Tensor) -> Tensor:
        return h + 1e-3 * (1e4 * h).sin()


class Noisy(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h + 0.05 * torch.randn_like(h)


class LogExp(nn.Module):
    """Nothing but h, by way of numbers that float32 cannot hold: there the slope is infinity by infinity."""

    def forward(self, h: Tensor) -> Tensor:
        return torch.where(h.abs() > 0.3, h, (h * 400).exp().log() / 400)


class Lying(nn.Module):
    """The identity, which tells gradients that it is ten times as steep."""

    def forward(self, h: Tensor) -> Tensor:
        return h.detach() + 10 * (h - h.detach())


def generator(masked: nn.Module | None = None, distribution: str = "normal") -> Generator:
    torch.manual_seed(3)
    layers = [nn.Linear(6, 32), nn.LeakyReLU(0.3), masked or nn.Identity(), nn.Linear(32, 64), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Unflatten(1, (1, 8, 8)))
    return Generator(module=net.eval(), latent=Latent(6, distribution), shape=(1, 8, 8), name="mlp")  # type: ignore[arg-type]


def found(g: Generator) -> dict[str, float]:
    return {m.name: m.value or 0.0 for m in assess(InspectGradients(points=32), g).measures}


@pytest.mark.parametrize("distribution", ["normal", "uniform", "sphere"])
def test_an_honest_network_has_honest_gradients(distribution):
    finding = assess(InspectGradients(points=32), generator(distribution=distribution))
    measured = {m.name: m.value for m in finding.measures}
    assert measured["masked"] == 0 and measured["correlation"] > 0.9
    assert "can be trusted" in finding.summary
    assert ("masked.far" in measured) == (distribution != "sphere")


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (Quantised(), "vanishing"),
        (Rippled(), "shattered"),
        (Noisy(), "stochastic"),
        (LogExp(), "exploding"),
        (Lying(), "exploding"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else x,
)
def test_each_kind_of_masking_is_called_by_its_name(layer, kind):
    g = generator(layer)
    measured = found(g)
    assert measured["masked"] > 0.8
    assert max(("vanishing", "exploding", "shattered", "stochastic"), key=measured.__getitem__) == kind
    assert "blind" in assess(InspectGradients(points=32), g).summary


def test_a_cut_gradient_at_the_mode_alone_is_told():
    class Dead(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z * (z.abs().amax(1, keepdim=True) > 1e-3)

    g = generator()
    g.module.insert(0, Dead())  # type: ignore[operator]
    finding = assess(InspectGradients(points=16), g)
    measured = {m.name: m.value for m in finding.measures}
    assert measured["masked"] == 0 and measured["masked.mode"] == 1
    assert "masked at the mode" in finding.summary
