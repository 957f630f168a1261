"""Charts: axes that a reader can read off."""

from __future__ import annotations

import re

import pytest

from genvet.core.report import Figure
from genvet.page.charts import svg


def test_a_logarithmic_axis_over_less_than_a_decade_has_several_labels() -> None:
    series = {"planted": [[1, 2, 3], [250.0, 320.0, 415.0]]}
    drawn = svg(Figure(kind="curve", title="A", data={"series": series, "x": "a", "y": "b", "log": "y"})).decode()
    labels = {float(text) for text in re.findall(r"<!-- ([0-9.]+) -->", drawn)}
    assert len([label for label in labels if 240 <= label <= 430]) >= 3


def test_a_scatter_of_more_series_than_colours_names_them_all_and_gives_no_two_one_look() -> None:
    series = {f"kind {i}": [[float(i)], [1.0]] for i in range(8)}
    drawn = svg(Figure(kind="scatter", title="A", data={"series": series})).decode()
    assert all(f"<!-- kind {i} -->" in drawn for i in range(8))
    clouds = drawn.split('id="PathCollection_')[1:9]
    looks = {(re.findall(r' d="([^"]*)"', cloud)[0], re.findall("fill: (#[0-9a-f]+)", cloud)[0]) for cloud in clouds}
    assert len(looks) == 8


def test_a_bundle_of_more_series_than_looks_has_no_legend() -> None:
    series = {f"kind {i}": [[float(i)], [1.0]] for i in range(13)}
    drawn = svg(Figure(kind="scatter", title="A", data={"series": series})).decode()
    assert "<!-- kind 0 -->" not in drawn


def test_a_curve_has_the_band_that_it_is_given_and_no_other() -> None:
    series = {"known": [[1, 2], [3.0, 4.0]], "plain": [[1, 2], [5.0, 6.0]]}
    data = {"series": series, "bands": {"known": [[1, 2], [2.0, 3.0], [4.0, None]], "nobody": [[1], [1], [1]]}}
    drawn = svg(Figure(kind="curve", title="A", data=data)).decode()
    assert drawn.count('id="FillBetweenPolyCollection') == 1 and "nobody" not in drawn
    with pytest.raises(ValueError, match="do not make a curve"):
        svg(Figure(kind="curve", title="A", data={**data, "bands": {"known": 3}}))
