"""Ranks and distances to classes: against loops, and real pictures at 1 whatever their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.class_distances import class_distances, leave_one_out, real_to_real, scaled_mean
from genvet.maths.ranks import Ranks, by_label, median_of, of_scores, ranked
from genvet.maths.statistics import clopper_pearson


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(seed, "classes").block(), dtype=torch.float64)


def test_distances_are_the_loop_that_leaves_each_real_one_out() -> None:
    real, of = rows(9, 4, 0), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    x, labels = rows(5, 4, 1), torch.tensor([1, 0, 1, 2, 0])
    found = class_distances(x, labels, real, of)
    for i, (row, label) in enumerate(zip(x, labels, strict=True)):
        own = real[of == label]
        others = [torch.stack([r for k, r in enumerate(own) if k != j]) for j in range(len(own))]
        unit = np.mean([float((r - o.mean(0)).norm()) for r, o in zip(own, others, strict=True)])
        slow = np.mean([float((row - o.mean(0)).norm()) for o in others])
        assert float(found.centroid[i]) == pytest.approx(slow / unit)
        unit = np.mean([min(float((r - s).norm()) for s in o) for r, o in zip(own, others, strict=True)])
        slow = np.mean([min(float((row - s).norm()) for s in o) for o in others])
        assert float(found.nearest[i]) == pytest.approx(slow / unit)
        assert float(found.nearest_unit[i]) == pytest.approx(unit)


@pytest.mark.parametrize("m", [2, 3, 8])
def test_a_fresh_real_picture_is_at_1_however_few_there_are(m: int) -> None:
    fresh = [class_distances(rows(20, 6, s), torch.zeros(20), rows(m, 6, 5000 + s), torch.zeros(m)) for s in range(300)]
    for kind in ("centroid", "nearest"):
        unit = torch.cat([getattr(f, f"{kind}_unit") for f in fresh])
        scaled, label = torch.cat([getattr(f, kind) for f in fresh]), torch.arange(300).repeat_interleave(20)
        value, low, high = scaled_mean(scaled, unit, label)
        assert low < 1 < high and high - low < 0.12 and value == pytest.approx(1, abs=0.03)


def test_intervals_of_scaled_means_cover() -> None:
    covered = 0
    for s in range(150):
        unit = 1 + rows(30, 1, s)[:, 0].abs()
        low, high = scaled_mean(2 + 0.5 * rows(30, 1, 900 + s)[:, 0], unit, torch.arange(30))[1:]
        covered += low <= 2 <= high
    assert 0.88 <= covered / 150 <= 0.99


def test_classes_without_distances_are_refused() -> None:
    for real, told in ((rows(1, 3, 0), "two real"), (rows(1, 3, 0).repeat(4, 1), "copies")):
        with pytest.raises(BadInput, match=told):
            class_distances(rows(1, 3, 1), torch.zeros(1), real, torch.zeros(len(real)))


def test_copies_of_the_private_picture_and_of_another_class_are_told_apart() -> None:
    real, of = torch.cat([rows(6, 8, 0), rows(6, 8, 1) + 5]), torch.arange(2).repeat_interleave(6)
    found = class_distances(real[[0, 6]], torch.tensor([0, 0]), real, of)
    assert float(found.nearest[0]) < 0.4 and float(found.nearest[1]) > 3 and float(found.centroid[1]) > 3
    centroid, nearest = real_to_real(real[:6])
    assert float(centroid.mean() / found.centroid_unit[0]) == pytest.approx(1)
    assert float(nearest.mean() / found.nearest_unit[0]) == pytest.approx(1)


def test_real_pictures_are_at_1_in_the_mean_of_each_class() -> None:
    real, of = rows(9, 4, 0), torch.tensor([0, 1, 0, 1, 0, 1, 1, 2, 2])
    found = leave_one_out(real, of)
    assert by_label(found.centroid, of).tolist() == pytest.approx([1, 1, 1])
    others = real[(of == 0) & (torch.arange(9) != 2)]
    assert float(found.nearest[2] * found.nearest_unit[2]) == pytest.approx(float((real[2] - others).norm(dim=1).min()))
    assert torch.equal(class_distances(real, of, real, of).nearest_unit, found.nearest_unit)


def test_ranks_are_the_sorted_place_and_ties_count_against() -> None:
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.0, 0.0, 0.0], [torch.nan, 1, 2]])
    assert of_scores(scores, torch.tensor([1, 0, 2, 0])).rank.tolist() == [1, 2, 3, 3]
    assert ranked(
        torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([[2.0, 3], [2, 1], [9, 9]]), torch.arange(3)
    ).rank.tolist() == [1, 3, 3]
    x, labels = rows(200, 7, 0), torch.arange(200) % 7
    slow = [sorted(row.tolist(), reverse=True).index(float(row[c])) + 1 for row, c in zip(x, labels, strict=True)]
    assert of_scores(x, labels).rank.tolist() == slow
    for wrong in (torch.tensor([0, 7]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(BadInput, match="from 0 to 6"):
            of_scores(x[:2], wrong)


def test_shares_have_exact_intervals_by_label_and_their_chance() -> None:
    one = Ranks(torch.tensor([1, 2, 1, 9, 1]), torch.tensor([10, 10, 10, 10, 2]), torch.arange(5))
    assert one.share(1) == (0.6, *clopper_pearson(3, 5)) and one.share(2).value == 0.8
    assert one.chance(1) == pytest.approx((4 * 0.1 + 0.5) / 5) and one.chance(5) == pytest.approx((4 * 0.5 + 1) / 5)
    assert (
        one.median() == (1, 1, 10)
        and one.measure("top-1").chance == pytest.approx(0.18)
        and one.measure("top-1").n == 5
    )
    # Ten rows of each label are no fifty trials.
    many = Ranks(one.rank.repeat_interleave(10), one.among.repeat_interleave(10), one.label.repeat_interleave(10))
    assert many.share(1) == one.share(1) and many.measure("top-1").n == 5
    half = Ranks(torch.tensor([1, 2, 1]), torch.full((3,), 4), torch.tensor([0, 0, 1]))
    assert half.share(1) == (0.75, clopper_pearson(1, 2).low, clopper_pearson(2, 2).high)
    assert by_label(torch.tensor([1.0, 3, 10]), torch.tensor([7, 7, 2])).tolist() == [10, 2]


def test_intervals_of_medians_cover_and_are_no_wider_than_needed() -> None:
    covered = []
    for s in range(400):
        value, low, high = median_of(rows(25, 1, s)[:, 0].exp())  # whose median is 1
        covered.append(low <= 1 <= high)
        assert low < value < high
    assert 0.93 <= np.mean(covered) <= 0.99
    assert median_of(torch.tensor([3.0, 1.0]), 0.0, 9.0) == (2, 0, 9)
