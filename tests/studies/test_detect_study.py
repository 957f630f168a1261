"""Detectors find what a generator leaves behind, and nothing where there is nothing to find."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import measured
from genvet.nets import stylegan2
from genvet.studies.detect import CONTROL, HELD_OUT, OTHER, Detect, Detected, Given


def scenes(n: int, seed: int, channels: int = 1) -> Tensor:
    """Soft shapes with some noise: what counts as real here."""
    rng = Rng(seed).block()
    place, rows = torch.rand(n, 2, 1, 1, generator=rng) * 16, torch.arange(16.0)
    far = (rows[:, None] - place[:, 0]).square() + (rows - place[:, 1]).square()
    x = (-far / 20).exp() * 1.6 - 0.8 + 0.05 * torch.randn(n, 16, 16, generator=rng)
    return x[:, None].repeat(1, channels, 1, 1)


class Painter(nn.Module):
    """Gives scenes of its own, with a trace of this strength in always the same place."""

    def __init__(self, trace: float, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.register_buffer("known", scenes(900, 7, channels))
        self.trace = trace

    def forward(self, z: Tensor) -> Tensor:
        x = self.known[(z[:, 0].abs() * 1e5).long() % len(self.known)]
        board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float() - 0.5
        return x + self.trace * board


def painter(trace: float, channels: int = 1) -> Generator:
    with Rng(1).seeded():
        module = Painter(trace, channels).eval()
    return Generator(module=module, latent=Latent(4), shape=(channels, 16, 16), name="painter")


def detected(target: Generator, given: Given, **config: object) -> Detected:
    result, finding = measured(
        Detect(**{"samples": 240, "tests": 120, "steps": 20, "sparsities": (0.5,), **config}), target, given
    )
    assert isinstance(result, Detected) and finding.queries == result.drawn
    return result


def test_a_trace_is_found_and_resizing_takes_it_away() -> None:
    found = detected(painter(0.15, 3), Given(Images(scenes(360, 1, 3), ("",) * 360)))
    dense, control = found.of(HELD_OUT), found.of(CONTROL)
    assert all(r.area.value > 0.9 for name, r in dense.items() if name not in ("small CNN", "neighbours")), dense
    assert all(r.area.low <= 0.56 and r.area.high >= 0.44 for r in control.values()), "no detector tells real from real"
    assert dense["cosine spectrum"].alarms.value > 0.9 and dense["cosine spectrum"].off < 0.1
    gone = found.of("resized 50%")
    assert gone["fingerprint"].area.value < dense["fingerprint"].area.value - 0.2
    assert {"greyscale", "JPEG 75", "pruned 50%"} < set(found.kinds()) and "channels 50%" not in found.kinds()
    assert "chance 0.5" in found.summary()


def test_a_generator_without_a_trace_is_not_told_from_real() -> None:
    found = detected(painter(0.0), Given(Images(scenes(360, 1), ("",) * 360)))
    for name, reading in found.of(HELD_OUT).items():
        assert 0.38 < reading.area.value < 0.62, name
    assert "greyscale" not in found.kinds()


def test_a_style_generator_loses_channels_and_another_seed_and_the_critic_are_tried() -> None:
    def style(seed: int) -> Generator:
        generator = stylegan2.build(16, 1, 8, 8, channel_base=128, channel_max=8, mapping_layers=1, rng=Rng(seed))
        generator.module.eval().requires_grad_(False)
        return generator

    class Rough(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -(x[..., 1:] - x[..., :-1]).abs().flatten(1).mean(1, keepdim=True)

    given = Given(Images(scenes(90, 1), ("",) * 90), critic=Critic(Rough(), (1, 16, 16)), other=style(2))
    found = detected(style(1), given, samples=60, tests=30, steps=5)
    assert {"channels 50%", OTHER} < set(found.kinds()) and "own critic" in found.of(HELD_OUT)
    heat = next(f for f in found.figures() if getattr(f, "kind", "") == "heat")
    assert len(heat.data["values"]) == len(heat.data["rows"]) == len(found.kinds())


def test_what_does_not_fit_is_told() -> None:
    few, fine = (Given(Images(scenes(n, 1), ("",) * n)) for n in (8, 40))
    with pytest.raises(Unsupported, match="8 real images are too few"):
        detected(painter(0.1), few)
    other = Given(fine.reference, other=stylegan2.build(8, 1, 8, 8, channel_base=64, mapping_layers=1))
    with pytest.raises(BadInput, match="draws other images"):
        detected(painter(0.1), other, samples=20, tests=10)
