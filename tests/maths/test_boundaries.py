"""Boundaries part what can be parted and nothing else; effects are told from random ones."""

from __future__ import annotations

import pytest
import torch

from genvet.core.rng import Rng
from genvet.maths.boundaries import boundary, conditional
from genvet.maths.effects import beyond, standardised


def points(n: int = 800, dim: int = 12) -> torch.Tensor:
    """With coordinates of very different spread, as those of w."""
    return torch.randn(n, dim, generator=Rng(1).block()) * torch.logspace(-2, 1, dim)


def test_a_boundary_is_found_where_there_is_one_whatever_the_coordinates_spread() -> None:
    x = points()
    normal = torch.zeros(12)
    normal[0], normal[5] = 0.8, 0.6
    found = boundary(x, x @ normal > 0)
    assert found.accuracy > 0.93 and found.n == 200
    assert torch.nn.functional.cosine_similarity(found.normal, normal, dim=0) > 0.9
    nothing = boundary(x, torch.rand(800, generator=Rng(2).block()) > 0.5)
    assert 0.35 < nothing.accuracy < 0.65


def test_a_conditional_direction_is_at_right_angles_to_what_it_leaves_alone() -> None:
    d, *others = torch.randn(4, 12, generator=Rng(3).block())
    left = conditional(d, torch.stack([*others, others[0] * 2]))
    assert left.norm() == pytest.approx(1) and all(abs(float(left @ o)) < 1e-5 for o in others) and float(left @ d) > 0
    assert not conditional(others[0] + others[1], torch.stack(others)).any(), "nothing is left of it"


def test_intervals_cover_the_mean_and_ranks_are_fair() -> None:
    draws = torch.randn(400, 10, 3, generator=Rng(4).block()) + 0.5
    found = standardised(draws, torch.ones(3))
    covered = ((found.low < 0.5) & (found.high > 0.5)).float().mean()
    assert 0.92 < float(covered) < 0.98
    p = beyond(found[:200], found[200:])
    assert sum(v <= 0.1 for v in p) / 200 == pytest.approx(0.1, abs=0.06)
    assert beyond(standardised(draws[:1] + 9, torch.ones(3)), found) == [pytest.approx(1 / 401)]
