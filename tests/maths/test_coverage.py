"""Density and coverage: against loops, their expectation, and what an unequal number of images must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.coverage import NEIGHBOUR, STATISTICS, beside, coverage, density, expected_coverage


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(seed, "coverage").block())


def test_density_and_coverage_are_the_double_loop() -> None:
    real, fake = rows(30, 3, 0), 0.7 * rows(20, 3, 1) + 0.3
    radius = [sorted(float((x - other).norm()) for other in real)[NEIGHBOUR] for x in real]
    inside = [[float((y - x).norm()) <= r for x, r in zip(real, radius, strict=True)] for y in fake]
    assert density(real, fake) == pytest.approx(np.sum(inside) / (NEIGHBOUR * len(fake)))
    assert coverage(real, fake) == pytest.approx(np.any(inside, axis=0).mean())


def test_fresh_real_images_have_density_1_whatever_their_number_and_the_coverage_of_theory() -> None:
    for n, m in ((60, 60), (60, 15), (40, 120)):
        pairs = [(rows(n, 2, s), rows(m, 2, 5000 + s)) for s in range(150)]
        d, c = [density(*p) for p in pairs], [coverage(*p) for p in pairs]
        assert abs(np.mean(d) - 1) < 3.5 * np.std(d) / np.sqrt(len(d)), (n, m)
        assert abs(np.mean(c) - expected_coverage(n, m)) < 3.5 * np.std(c) / np.sqrt(len(c)), (n, m)


def test_an_outlier_lifts_neither_and_collapse_is_seen() -> None:
    real = rows(200, 2, 0)
    spoilt = torch.cat([real, torch.tensor([[30.0, 30.0]])])
    far = rows(100, 2, 1) + 15  # between the outlier and the rest: within its ball
    assert STATISTICS["precision"][0](spoilt, far) > 0.9
    assert density(spoilt, far) < 0.25 and coverage(spoilt, far) < 0.01
    collapsed = real[:1] + 0.01 * rows(100, 2, 2)
    assert density(real, collapsed) > 0.5 and coverage(real, collapsed) < 0.15


def test_beside_shows_generated_next_to_as_many_other_real_ones() -> None:
    shown = beside(rows(120, 3, 0), 4 * rows(60, 3, 1), rows(120, 3, 2))
    assert list(shown) == ["precision", "recall", "density", "coverage"]
    for name, one in shown.items():
        assert 0 <= one.fake.low <= one.fake.value <= one.fake.high <= STATISTICS[name][1]
        assert one.real.low <= one.real.value <= one.real.high
    for name in ("density", "coverage"):
        one = shown[name]
        assert one.fake.high < one.real.low and one.expected is not None
        assert one.real.low < one.expected < one.real.high
    with pytest.raises(BadInput, match="20 or more"):
        beside(rows(120, 3, 0), rows(19, 3, 1), rows(120, 3, 2))
