"""A mode that stands apart is found, and what stands apart a little by nature is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess, measured
from genvet.inspections.output.collapse import Collapse


class Modes(nn.Module):
    """Blobs at places that z tells; where z[0] > `from_`, the same cross, but for `spread` of it."""

    def __init__(self, from_: float, spread: float) -> None:
        super().__init__()
        self.from_, self.spread = from_, spread
        grid = torch.linspace(-1, 1, 16)
        self.register_buffer("grid", torch.stack(torch.meshgrid(grid, grid, indexing="ij")))
        self.register_buffer("cross", torch.eye(16).add(torch.eye(16).flip(0)).clamp(0, 1))

    def forward(self, z: Tensor) -> Tensor:
        away = (self.grid[None] - 0.6 * z[:, 1:3, None, None].tanh()).square().sum(1)
        blob = (-away / (0.05 + 0.1 * z[:, 3, None, None].sigmoid())).exp()
        cross = self.cross + self.spread * blob
        return torch.where(z[:, 0, None, None] > self.from_, cross, blob)[:, None] * 2 - 1


def generator(from_: float = 100.0, spread: float = 0.0) -> Generator:
    return Generator(module=Modes(from_, spread).eval(), latent=Latent(4), shape=(1, 16, 16), name="modes")


def density(g: Generator, **knobs: float) -> float:
    finding = assess(Collapse(samples=512, **knobs), g)
    return next(m.value for m in finding.measures if m.name == "density")


@pytest.mark.parametrize("spread", [0.0, 0.02])
@pytest.mark.parametrize("from_", [1.5, 0.5], ids=["7 %", "31 %"])
def test_an_output_that_comes_again_and_again_is_found_and_shown(from_, spread):
    result, finding = measured(Collapse(samples=512), generator(from_, spread), Nothing())
    of = {m.name: m for m in finding.measures}
    assert of["density"].value > 10 > 4 > density(generator())
    expected = 1 - torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(from_))
    assert of["share"].low < expected < of["share"].high
    assert (result.cluster[:, 0] - (2 * generator().module.cross - 1)).abs().max() < 0.1


def test_exact_copies_and_a_constant_generator_stay_finite():
    assert density(generator(1.5)) == density(generator(-100.0)) == 1000


def test_fewer_than_a_share_of_neighbours_are_no_mode():
    assert density(generator(2.2), share=0.02) < 2.5 < density(generator(2.2)), "1.4 % of the samples"


def test_where_samples_cost_too_much_none_are_drawn():
    with pytest.raises(TooCostly):
        Collapse(operations=1.0)(generator(), Nothing(), Rng(0))
