"""Densities that are known: estimates cover the exact values, calibration finds the ratio, chains reach the truth."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import dblquad
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from genvet.core.rng import Rng
from genvet.maths.density_ratio import METHODS, Calibration, calibrated
from genvet.maths.divergence import assigned, estimated, floor, jensen_shannon, multinomial
from genvet.maths.gaussians import Grid, divergence
from genvet.maths.metropolis import Rejection, walk

GRID = Grid(side=3, step=1.0, std=0.2)
UNEVEN = Grid(side=3, step=1.0, std=0.2, weights=(6, 1, 1, 1, 3, 1, 1, 1, 1))


def test_the_divergence_is_scipys_distance_squared() -> None:
    p, q = torch.rand(2, 30, generator=Rng(0).block(), dtype=torch.float64)
    assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p.numpy(), q.numpy()) ** 2)
    assert float(jensen_shannon(p, p)) == 0


def test_samples_of_one_distribution_are_at_the_floor() -> None:
    p = torch.rand(30, generator=Rng(1).block()) + 0.2
    one, other = (multinomial(p * 4000 / p.sum(), 400, Rng(i)) for i in (2, 3))
    assert (one.sum(1) == 4000).all()
    assert float(jensen_shannon(one, other).mean()) == pytest.approx(floor(30, 4000, 4000), rel=0.1)


@pytest.mark.parametrize("other", [GRID, UNEVEN])
def test_intervals_cover_the_exact_divergence_over_cells(other: Grid) -> None:
    exact = float(jensen_shannon(GRID.masses(GRID), other.masses(GRID)))
    covered = 0
    for seed in range(60):
        x, y = GRID.sample(1000, Rng(seed, "x")), other.sample(1000, Rng(seed, "y"))
        found = estimated(GRID.cells(x), GRID.cells(y), Rng(seed))
        covered += found.low <= exact <= found.high
    assert covered >= 52, "95 % of 60 is 57; 52 or fewer have a chance of 3 %"


def test_the_nearest_centre_is_the_cell() -> None:
    x = UNEVEN.sample(3000, Rng(0))
    assert torch.equal(assigned(x, GRID.means.float()), GRID.cells(x))
    assert GRID.masses(GRID).sum() == pytest.approx(1)
    assert (GRID.cells(GRID.sample(100_000, Rng(1))) / 1e5).numpy() == pytest.approx(
        GRID.masses(GRID).numpy(), abs=5e-3
    )


def test_the_density_is_one() -> None:
    whole, _ = dblquad(lambda y, x: float(UNEVEN.log_density(torch.tensor([[x, y]])).exp()), -2.5, 2.5, -2.5, 2.5)
    assert whole == pytest.approx(1, abs=1e-3)
    x = UNEVEN.sample(40_000, Rng(0))
    assert float(-UNEVEN.log_density(x).mean()) == pytest.approx(UNEVEN.entropy(), abs=0.03)


def test_the_exact_divergence_is_that_of_monte_carlo() -> None:
    def half(one: Grid, other: Grid) -> float:
        x = one.sample(40_000, Rng(5))
        p, q = one.log_density(x), other.log_density(x)
        return float((p - torch.logaddexp(p, q) + math.log(2)).mean())

    assert divergence(GRID, UNEVEN) == pytest.approx((half(GRID, UNEVEN) + half(UNEVEN, GRID)) / 2, rel=0.03)
    assert divergence(GRID, GRID) == pytest.approx(0, abs=1e-12)
    assert divergence(GRID.scaled(0.4), UNEVEN.scaled(0.4)) == pytest.approx(divergence(GRID, UNEVEN))
    apart = Grid(std=0.05, side=2), Grid(std=0.05, side=2, step=3.0)
    assert divergence(*apart) == pytest.approx(math.log(2), rel=1e-6)


def test_points_of_the_grid_are_of_high_quality() -> None:
    assert Grid().quality(Grid().sample(2000, Rng(0))) == (pytest.approx(1 - math.exp(-8), abs=2e-3), 25)
    assert Grid().quality(torch.full((5, 2), 0.5)) == (0.0, 0)


def ratio(x: Tensor) -> Tensor:
    """log p_real / p_generated, for real samples of the even grid and generated ones of the uneven one."""
    return GRID.log_density(x) - UNEVEN.log_density(x)


def scores(of: str, n: int, seed: int) -> Tensor:
    """Of a critic that knows the ratio, and tells another line."""
    true = ratio((GRID if of == "real" else UNEVEN).sample(n, Rng(seed, of)))
    return 3 * true - 1


def test_calibration_finds_the_ratio_and_its_test_tells() -> None:
    fits = {method: calibrated(method, scores("real", 4000, 0), scores("fake", 4000, 0)) for method in METHODS}
    true = ratio(UNEVEN.sample(4000, Rng(7)))
    held_out = scores("real", 3000, 1), scores("fake", 4000, 1)
    for method in ("isotonic", "logistic"):
        z = fits[method].z(*held_out)
        assert z is not None and abs(z) < 3, method
        assert float((fits[method](3 * true - 1) - true).abs().mean()) < 0.15, method
    z = fits["identity"].z(*held_out)
    assert z is not None and abs(z) > 10
    certain = Calibration("identity", lambda s: torch.full_like(s, math.inf))
    assert certain.z(*held_out) is None


def test_a_line_through_scores_that_part_the_two_has_an_end() -> None:
    fit = calibrated("logistic", torch.ones(50), -torch.ones(50))
    assert torch.isfinite(fit(torch.tensor([-1.0, 1.0]))).all()


def walked(start: Tensor, n: int = 3000, steps: int = 60) -> Tensor:
    def proposals() -> list[tuple[Tensor, Tensor]]:
        drawn = [UNEVEN.sample(n, Rng(i, "proposed")) for i in range(steps)]
        return [(x, ratio(x)) for x in drawn]

    return walk(start, ratio(start), proposals(), Rng(0)).kept


def test_chains_reach_the_real_distribution_from_anywhere() -> None:
    """Beside it, what is proposed is far: the comparison can fail."""
    real = GRID.cells(GRID.sample(3000, Rng(9)))
    for start in (GRID.sample(3000, Rng(8)), torch.tensor([[-1.0, -1.0]]).expand(3000, 2)):
        assert float(jensen_shannon(GRID.cells(walked(start)), real)) < 3 * floor(9, 3000, 3000)
    assert (
        float(jensen_shannon(UNEVEN.cells(UNEVEN.sample(3000, Rng(8))), UNEVEN.cells(GRID.sample(3000, Rng(9))))) > 0.03
    )


def test_rejection_without_a_shift_is_exact_and_takes_less_with_one() -> None:
    drawn = UNEVEN.sample(20_000, Rng(2))
    log_odds = ratio(drawn)
    exact, pilot = Rejection(float(log_odds.max()), 0.0), Rejection.of(log_odds)
    kept, fewer = (drawn[rule.taken(log_odds, Rng(3))] for rule in (exact, pilot))
    real = GRID.cells(GRID.sample(len(kept), Rng(4)))
    assert float(jensen_shannon(GRID.cells(kept), real)) < 3 * floor(9, len(kept), len(kept))
    assert 0 < len(fewer) < len(kept) < len(drawn)


def test_chains_that_cannot_leave_are_told() -> None:
    start, never = torch.zeros(4, 2), torch.full((4,), math.inf)
    proposals = [(torch.ones(4, 2), torch.zeros(4))] * 5
    stuck = walk(start, never, proposals, Rng(0))
    assert len(stuck.kept) == 0 and stuck.acceptance == 0 and stuck.steps == 5
    equal = walk(start, never, [(torch.ones(4, 2), never)] * 2, Rng(0))
    assert equal.acceptance == 1 and torch.equal(equal.kept, torch.ones(4, 2))
    assert walk(start, never, [], Rng(0)).acceptance is None
