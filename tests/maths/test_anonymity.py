"""k, l and t against their definitions, row by row."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from genvet.maths.anonymity import bits, grouped, told
from genvet.maths.near_copies import WAYS, altered, neighbours, unlike, whitened
from genvet.maths.previews import unlikeness

Rows = list[tuple[int, int, int]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=25))
def test_groups_are_what_they_say(rows: Rows) -> None:
    columns = [torch.tensor([row[i] for row in rows]) for i in range(3)]
    groups = grouped(columns[:2])
    counts = Counter(row[:2] for row in rows)
    assert groups.k == min(counts.values()) and groups.sizes.tolist() == [counts[row[:2]] for row in rows]
    assert groups.below(2).tolist() == [i for i, row in enumerate(rows) if counts[row[:2]] == 1]
    assert groups.risk == pytest.approx(sum(1 / counts[row[:2]] for row in rows) / len(rows))
    every, mine = [row[2] for row in rows], {key: [r[2] for r in rows if r[:2] == key] for key in counts}
    values = sorted(set(every))
    place = {v: i for i, v in enumerate(values)}
    for ordered in (True, False):
        found = told(groups, columns[2], ordered)
        assert found.least == min(len(set(some)) for some in mine.values())
        if ordered and len(values) > 1:
            worst = max(wasserstein_distance([place[v] for v in s], [place[v] for v in every]) for s in mine.values())
            worst /= len(values) - 1
        else:
            worst = max(
                sum(abs(some.count(v) / len(some) - every.count(v) / len(every)) for v in values) / 2
                for some in mine.values()
            )
        assert found.farthest == pytest.approx(worst, abs=1e-12)
    assert 0 <= bits(columns) <= 5


def test_near_copies_and_outliers_by_their_own_null() -> None:
    rows = torch.randn(400, 20, generator=torch.manual_seed(1))
    assert neighbours(rows).index.tolist() == (
        torch.cdist(rows.double(), rows.double()).fill_diagonal_(torch.inf).argmin(1).tolist()
    )
    far = neighbours(whitened(rows)(rows), 5).spread
    assert (far > unlike(far, 0.001)).sum() <= 3
    stretched = rows * torch.tensor([100.0] + [1.0] * 19)
    odd = torch.cat([stretched, torch.tensor([[0.0] * 19 + [9.0]])])
    apart = neighbours(whitened(odd)(odd), 5).spread
    assert int(apart.argmax()) == 400 and apart[400] > unlike(apart, 0.001), "hidden by the wide direction otherwise"
    assert int(neighbours(odd, 5).spread.argmax()) != 400


def test_every_way_to_alter_a_picture_changes_it_a_little() -> None:
    x = torch.nn.functional.avg_pool2d(torch.rand(2, 1, 68, 68, generator=torch.manual_seed(2)) * 2 - 1, 5, 1)
    for way in range(len(WAYS)):
        made = altered(x, way)
        assert made.shape == x.shape and 0 < float((made - x).abs().mean()) < 0.3, WAYS[way]


def test_a_preview_is_compared_turned_and_without_its_bars() -> None:
    x = torch.rand(3, 12, 9, generator=torch.manual_seed(4)) * 200 + 40
    picture = torch.nn.functional.interpolate(x[None], (96, 72), mode="bicubic")[0].clamp(0, 255)
    small = torch.nn.functional.interpolate(picture[None], (64, 48), mode="bilinear", antialias=True)[0]
    barred = torch.nn.functional.pad(small, (8, 8))
    for honest in (small, small.rot90(1, (1, 2)), barred, small * 0.9 + 10):
        assert unlikeness(picture, honest) < 10
    assert unlikeness(picture[:, 20:], small) > 30
