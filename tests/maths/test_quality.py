"""Quality statistics: against slow oracles and known answers, and intervals that cover."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import sqrtm

from genvet.core.rng import Rng
from genvet.maths.quality import NEIGHBOUR, class_score, estimate, estimate_one, frechet, kernel, precision, recall


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(seed, "rows").block())


def test_frechet_is_that_of_the_textbook() -> None:
    a, b = rows(300, 5, 0), rows(200, 5, 1) @ torch.diag(torch.tensor([1.0, 2, 3, 0.5, 0.1])) + 0.5
    s, t = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = sqrtm(s @ t).real
    slow = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(s + t - 2 * root)
    assert abs(frechet(a, b) - slow) < 1e-4 * slow
    assert abs(frechet(a, a)) < 1e-9
    assert frechet(rows(4, 9, 0), rows(4, 9, 1)) > 0  # fewer rows than columns


def test_kernel_distance_is_the_double_loop() -> None:
    a, b = rows(12, 3, 0), rows(15, 3, 1) * 2

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    aa = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    bb = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    ab = np.mean([k(x, y) for x in a for y in b])
    assert abs(kernel(a, b) - (aa + bb - 2 * ab)) < 1e-4
    same = [kernel(rows(60, 4, s), rows(60, 4, s + 1000)) for s in range(60)]
    assert min(same) < 0 < max(same) and abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)


def test_precision_and_recall_are_the_loop_and_tell_two_failures_apart() -> None:
    real, fake = rows(40, 3, 0), rows(30, 3, 1) * 0.7 + 0.3
    inside = 0
    for x in fake:
        for y in real:
            radius = sorted(float((y - o).norm()) for o in real)[NEIGHBOUR]
            if float((x - y).norm()) <= radius:
                inside += 1
                break
    assert precision(real, fake) == inside / len(fake)
    real = rows(400, 2, 2)
    collapsed, scattered = real[:1] + 0.01 * rows(400, 2, 3), 5 * rows(400, 2, 4)
    assert precision(real, collapsed) > 0.95 and recall(real, collapsed) < 0.2
    assert precision(real, scattered) < 0.5 < recall(real, scattered)


def test_intervals_end_where_the_statistic_does() -> None:
    real = rows(60, 2, 0)
    found = [estimate(precision, real, fake) for fake in (0.9 * rows(60, 2, 1), 6 * rows(60, 2, 2) + 6)]
    assert all(0 <= low <= value <= high <= 1 and low < high for value, low, high in found)
    assert found[0].high == 1 and found[1].low == 0  # so that there was something to cut off


def test_the_intervals_cover() -> None:
    """The expectation at this n, taken over many draws, lies in about 95 % of the intervals."""
    draws = [(rows(80, 3, s), rows(80, 3, 500 + s) * 1.3) for s in range(120)]
    for statistic in (frechet, kernel):
        found = [estimate(statistic, a, b) for a, b in draws]
        expectation = np.mean([e.value for e in found])
        covered = np.mean([e.low <= expectation <= e.high for e in found])
        assert 0.85 <= covered <= 1.0, statistic
        assert all(e.low < e.value < e.high for e in found)


def test_the_class_score_is_the_textbook_sum_and_its_interval_covers() -> None:
    p = torch.softmax(3 * rows(30, 5, 0), 1)
    mean = p.mean(0)
    divergence = np.mean([sum(float(q * (q / m).log()) for q, m in zip(row, mean, strict=True)) for row in p])
    assert abs(class_score(p) - np.exp(divergence)) < 1e-5
    assert abs(class_score(torch.eye(5).repeat(4, 1)) - 5) < 1e-12  # sure, and all classes alike: a zero does no harm
    draws = [estimate_one(class_score, torch.softmax(3 * rows(200, 5, s), 1)) for s in range(100)]
    expectation = np.mean([e.value for e in draws])
    assert 0.85 <= np.mean([e.low <= expectation <= e.high for e in draws]) <= 1.0
