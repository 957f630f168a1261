"""Spectra, residues, delivery and the scores of detectors, beside slow obvious forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from sklearn.metrics import roc_auc_score

from genvet.core.rng import Rng
from genvet.maths.averages import mean_of
from genvet.maths.delivery import blurred, eight_bit, greyed, jpeg, resized
from genvet.maths.detection import alarms, area, miscalibration
from genvet.maths.forensics import co_occurrences, correlation, cosine_spectrum, radial_spectrum, residual


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=Rng(seed).block()) * 2 - 1


def test_the_cosine_spectrum_is_the_transform_of_scipy() -> None:
    x = noise(2, 1, 16, 16)
    wanted = np.log(np.abs(dctn(x[1, 0].double().numpy(), norm="ortho")) + 1e-4)
    assert np.allclose(cosine_spectrum(x)[1].view(16, 16), wanted, atol=1e-3)
    assert cosine_spectrum(noise(2, 3, 64, 64)).shape == (2, 1024)


@pytest.mark.parametrize("waves", [2, 5])
def test_a_wave_is_where_its_frequency_is(waves: int) -> None:
    across = torch.cos(2 * torch.pi * waves * torch.arange(16.0) / 16)
    for x in (across.expand(1, 1, 16, 16), across[:, None].expand(1, 1, 16, 16)):
        assert int(radial_spectrum(x)[0].argmax()) == waves


def test_co_occurrences_count_triples() -> None:
    flat = co_occurrences(torch.zeros(1, 1, 8, 8))[0].square()
    assert flat.view(2, 5, 5, 5)[:, 2, 2, 2].tolist() == [1.0, 1.0] and flat.sum() == pytest.approx(2)
    rough = co_occurrences(noise(4, 3, 16, 16)).square()
    assert torch.allclose(rough.sum(1), torch.full((4,), 2.0), atol=1e-5)


def test_a_residue_keeps_the_trace_and_drops_the_picture() -> None:
    smooth = torch.linspace(-0.1, 0.1, 16).expand(1, 1, 16, 16)
    trace = 0.1 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float()
    pattern = residual(trace[None, None])[0]
    assert residual(smooth).abs().max() < 1e-6
    marked = torch.cat([residual(smooth + trace), residual(smooth)])
    assert correlation(marked, pattern)[0] > 0.8 and correlation(marked, pattern)[1].abs() < 0.1


def test_delivery_keeps_range_and_shape_and_loses_what_it_should() -> None:
    smooth = (
        torch.stack([torch.linspace(-1, 1, 32).expand(32, 32)] * 3)[None]
        * torch.tensor([1.0, 0.5, -0.5])[:, None, None]
    )
    rough = noise(1, 3, 32, 32)
    for change in (lambda x: jpeg(x, 75), lambda x: resized(x, 0.5), lambda x: blurred(x, 1.0)):
        assert (change(smooth) - smooth).abs().mean() < 0.08 < 0.2 < (change(rough) - rough).abs().mean()
        assert change(rough).shape == rough.shape and change(rough).abs().max() <= 1
    assert torch.equal(blurred(rough, 0), rough)
    assert jpeg(rough[:, :1], 90).shape == (1, 1, 32, 32) and jpeg(rough[:0], 90).shape == (0, 3, 32, 32)
    grey = greyed(rough)
    assert torch.equal(grey[:, 0], grey[:, 2]) and greyed(noise(1, 5, 4, 4)).shape == (1, 5, 4, 4)
    steps = eight_bit(rough).add(1).mul(127.5)
    assert (steps - steps.round()).abs().max() < 1e-3


def test_the_area_is_that_of_scikit_learn_and_its_interval_covers() -> None:
    rng, inside = np.random.default_rng(3), 0
    for _ in range(200):
        real, fake = rng.normal(size=60), rng.normal(0.5, 1.0, 80)
        found = area(real, fake)
        inside += found.low <= 0.6382 <= found.high  # P(N(0.5, 1) > N(0, 1)) = Phi(0.5 / sqrt 2)
    truth = roc_auc_score([0] * 60 + [1] * 80, [*real, *fake])
    assert found.value == pytest.approx(truth) and 180 <= inside <= 199
    tied = area(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 2.0]))
    assert tied.value == pytest.approx(roc_auc_score([0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 2]))
    assert area(np.zeros(50), np.ones(50)).low < 0.95, "fifty images prove no perfection"


def test_alarms_are_at_one_per_cent_false_ones() -> None:
    real, fake = np.arange(200.0), np.arange(200.0) + 100
    found = alarms(real, fake)
    limit = 197.0  # two of 200 are above it
    assert found.value == float((fake > limit).mean()) and found.low < found.value < found.high
    assert alarms(np.ones(50), np.ones(50)).value == 0


def test_probabilities_that_come_true_are_calibrated() -> None:
    rng = np.random.default_rng(1)
    told = rng.random(20_000)
    true = rng.random(20_000) < told
    assert miscalibration(told[~true], told[true]) < 0.02
    assert miscalibration(np.full(100, 0.9), np.full(100, 0.9)) == pytest.approx(0.4)


def test_the_interval_of_a_mean_covers() -> None:
    inside = 0
    for i in range(200):
        found = mean_of(noise(12, seed=i), -1.0, 1.0)
        inside += found.low <= 0 <= found.high
    assert 180 <= inside <= 199
