"""NIQE refitted and PIQE: against slow oracles, and on real faces under rising damage."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from torch.nn import functional as F

from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.maths.natural import (
    FEATURES,
    NaturalImages,
    asymmetric,
    blurred,
    damaged,
    grey,
    normalised,
    patch_features,
    rises,
)
from genvet.maths.piqe import piqe

FACES = Path(__file__).parents[3] / "shared/data/faces_orl/orl_faces.npz"


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Rng(seed, "natural").block(), dtype=torch.float64)


def textures(n: int, side: int = 48, seed: int = 0) -> torch.Tensor:
    """Smooth random shapes with some grain, in [-1, 1]."""
    smooth = blurred(draws(n, 1, side, side, seed=seed), 3.0)
    return (smooth / smooth.std() * 0.4 + 0.03 * draws(n, 1, side, side, seed=seed + 99)).clamp(-1, 1)


def faces(n: int) -> torch.Tensor:
    if not FACES.exists():
        pytest.skip("../shared/data/faces_orl is missing")
    return torch.from_numpy(np.load(FACES)["images"][:n]).float()[:, None] / 127.5 - 1


def test_normalised_values_are_the_double_loop() -> None:
    image = grey(textures(1, 16))[0]
    window = np.array([math.exp(-(i * i) / (2 * (7 / 6) ** 2)) for i in range(-3, 4)])
    window2 = np.outer(window, window) / np.outer(window, window).sum()
    wide = np.pad(image.numpy(), 3, mode="edge")
    flat, deviation = normalised(image[None])
    for i, j in ((0, 0), (5, 9), (15, 2)):
        around = wide[i : i + 7, j : j + 7]
        mean = (window2 * around).sum()
        spread = math.sqrt((window2 * (around - mean) ** 2).sum())
        assert float(deviation[0, i, j]) == pytest.approx(spread, abs=1e-6)
        assert float(flat[0, i, j]) == pytest.approx((float(image[i, j]) - mean) / (spread + 1), abs=1e-6)


def slow_fit(row: np.ndarray) -> tuple[float, float, float]:
    """The moments' equation, solved by trying every shape."""
    left, right = math.sqrt((row[row < 0] ** 2).mean()), math.sqrt((row[row > 0] ** 2).mean())
    g = left / right
    wanted = np.abs(row).mean() ** 2 / (row**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shapes = np.arange(0.2, 10, 0.0001)
    a = shapes[np.argmin((gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes)) - wanted) ** 2)]
    return a, left * math.sqrt(gamma(1 / a) / gamma(3 / a)), right * math.sqrt(gamma(1 / a) / gamma(3 / a))


def test_asymmetric_fits_are_the_search_and_find_what_was_drawn() -> None:
    rows = draws(4, 300) ** 3 * torch.tensor([[1.0], [2.0], [0.1], [30.0]])
    rows = rows.where(rows < 0, 0.5 * rows)
    for row, *found in zip(rows, *asymmetric(rows), strict=True):
        assert [float(f) for f in found] == pytest.approx(slow_fit(row.numpy()), rel=2e-3)
    uniform = torch.rand(1, 100_000, generator=Rng(0).block(), dtype=torch.float64) * 3 - 1.5
    laplace = torch.distributions.Laplace(0.0, 1.0).icdf((uniform + 1.5) / 3)
    assert float(asymmetric(laplace)[0]) == pytest.approx(1.0, abs=0.03)  # whose shape is 1, and its widths
    assert float(asymmetric(laplace)[2]) == pytest.approx(1.0, abs=0.03)
    assert float(asymmetric(uniform)[0]) > 6  # flatter than any bell


def test_features_are_those_of_each_patch_alone_at_two_scales() -> None:
    x = textures(2, 33)
    features, sharpness = patch_features(x, 16)
    assert features.shape == (2, 4, FEATURES) and sharpness.shape == (2, 4)
    flat = normalised(grey(x)[:, :32, :32])[0][1, :16, 16:].numpy()
    a, left, right = slow_fit(flat.ravel())
    assert features[1, 1, :2].tolist() == pytest.approx([a, (left + right) / 2], rel=2e-3)
    down_left = np.array([flat[i, j] * flat[i + 1, j - 1] for i in range(15) for j in range(1, 15)])
    a, left, right = slow_fit(down_left)
    mean = (right - left) * gamma(2 / a) / gamma(1 / a)
    assert features[1, 1, 14:18].tolist() == pytest.approx([a, mean, left, right], rel=3e-3, abs=1e-4)
    half = F.interpolate(grey(x)[:, None, :32, :32], scale_factor=0.5, mode="bicubic", antialias=True)[:, 0]
    a, left, right = slow_fit(normalised(half)[0][1, :8, 8:].numpy().ravel())
    assert features[1, 1, 18:20].tolist() == pytest.approx([a, (left + right) / 2], rel=2e-3)


def test_a_refitted_model_rises_under_damage_and_says_what_it_is() -> None:
    model = NaturalImages.fit(textures(60), 16, Rng(0))
    assert model.name == "NIQE refitted to 16-pixel patches of 45 images"
    for kind in ("blur", "noise"):
        assert list(model.responses[kind]) == sorted(model.responses[kind])
        assert model.responses[kind][0] == pytest.approx(model.real.value)
    fresh, noise = textures(20, seed=5), draws(20, 1, 48, 48).clamp(-1, 1)
    assert model.real.low / 2 < float(model.scores(fresh).mean()) < 2 * model.real.high
    assert model.of_set(noise) > 4 * model.of_set(fresh)
    rows = patch_features(fresh[:1], 16)[0][0].numpy()
    apart = rows.mean(0) - model.mean.numpy()
    slow = apart @ np.linalg.pinv((model.covariance.numpy() + np.cov(rows.T)) / 2) @ apart
    assert float(model.scores(fresh[:1])) == pytest.approx(math.sqrt(slow), rel=1e-4)


def test_a_model_that_does_not_rise_is_refused_or_carries_it_in_its_name() -> None:
    noise = draws(60, 1, 32, 32).clamp(-1, 1)  # more noise changes nothing here
    with pytest.raises(Unsupported, match="does not rise under noise"):
        NaturalImages.fit(noise, 16, Rng(0))
    assert "does not rise under noise" in NaturalImages.fit(noise, 16, Rng(0), anyway=True).name
    assert not rises([torch.tensor([1.0, 2]), torch.tensor([1.5, 1.4])])


def test_flat_images_have_no_score_and_few_images_no_model() -> None:
    model = NaturalImages.fit(textures(60), 16, Rng(0))
    both = torch.cat([torch.zeros(1, 1, 48, 48, dtype=torch.float64), textures(1)])
    assert model.scores(both).isnan().tolist() == [True, False]
    with pytest.raises(BadInput, match="72 sharp patches"):
        NaturalImages.fit(textures(8), 16, Rng(0))
    with pytest.raises(BadInput, match="patch=8"):
        patch_features(textures(1), 8)


def test_on_real_faces_both_scores_rise_with_blur_and_noise() -> None:
    x = faces(120)
    model = NaturalImages.fit(x, 16, Rng(0))
    assert model.responses["blur"][-1] > 2 * model.real.value < model.responses["noise"][-1]
    clean, blurry, noisy = (piqe(damaged(x[:20], *how, Rng(0))) for how in (("blur", 0), ("blur", 2), ("noise", 32)))
    assert float(blurry.mean()) > float(clean.mean()) + 10 and float(noisy.mean()) > float(clean.mean()) + 10


def slow_piqe(light: np.ndarray) -> float:
    local = {"sigma": 7 / 6, "mode": "nearest", "radius": 3}
    mean = gaussian_filter(light, **local)
    flat = (light - mean) / (np.sqrt(np.abs(gaussian_filter(light**2, **local) - mean**2)) + 1)
    busy, total = 0, 0.0
    for i in range(0, light.shape[0], 16):
        for j in range(0, light.shape[1], 16):
            block = flat[i : i + 16, j : j + 16]
            variance = block.var(ddof=1)
            if variance <= 0.1:
                continue
            busy += 1
            edges = (block[0], block[-1], block[:, 0], block[:, -1])
            if any(edge[s : s + 6].std(ddof=1) < 0.1 for edge in edges for s in range(11)):
                total += 1 - variance
            ratio = block[:, 7:9].std(ddof=1) / np.delete(block, [7, 8], 1).std(ddof=1)
            sigma = math.sqrt(variance)
            if sigma > 2 * abs(sigma - ratio) / max(sigma, ratio):
                total += variance
    return 100 * (total + 1) / (busy + 1)


def test_piqe_is_the_loop_over_blocks_and_takes_no_small_images() -> None:
    x = textures(3, 80)
    x[1] = blurred(x[1:2], 1.5)[0]
    assert piqe(x).tolist() == pytest.approx([slow_piqe(light.numpy()) for light in grey(x)], rel=1e-6)
    with pytest.raises(Unsupported, match="larger than 64"):
        piqe(textures(1, 64))
