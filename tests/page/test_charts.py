"""Charts: axes that a reader can read off."""

from __future__ import annotations

import re

from genvet.core.report import Figure
from genvet.page.charts import svg


def test_a_logarithmic_axis_over_less_than_a_decade_has_several_labels() -> None:
    series = {"planted": [[1, 2, 3], [250.0, 320.0, 415.0]]}
    drawn = svg(Figure(kind="curve", title="A", data={"series": series, "x": "a", "y": "b", "log": "y"})).decode()
    labels = {float(text) for text in re.findall(r"<!-- ([0-9.]+) -->", drawn)}
    assert len([label for label in labels if 240 <= label <= 430]) >= 3
