"""A sweep finds the dimensions that do something, says what, and is not fooled where none is special."""

from __future__ import annotations

import pytest
import torch
from shapes import discs
from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.engine import assess, measured
from genvet.nets import stylegan2
from genvet.studies.sweep import Given, Sweep, Swept


def style() -> StyleGenerator:
    sizes = {"size": 16, "channels": 3, "z_dim": 16, "w_dim": 12, "channel_base": 128, "channel_max": 8}
    return stylegan2.build(**sizes, rng=Rng(1))


def swept(generator: object, **knobs: object) -> Swept:
    result, _ = measured(Sweep(**{"latents": 12, "deltas": (-3.0, 3.0), "controls": 39, **knobs}), generator, Given())
    assert isinstance(result, Swept)
    return result


def test_planted_dimensions_are_named_and_beat_random_directions() -> None:
    found = swept(discs(32), dimensions="0-7")
    rows = {row[0]: row for row in found.tables()[0].rows}
    assert rows["z[0]"][1] in ("brightness", "contrast"), "a brighter disc on black is both"
    assert [rows[f"z[{k}]"][1] for k in (1, 2)] == ["centroid x", "centroid y"]
    assert all(rows[f"z[{k}]"][2] > 0.5 and rows[f"z[{k}]"][3] > 0.4 and rows[f"z[{k}]"][7] <= 0.05 for k in range(3))
    assert all(rows[f"z[{k}]"][2] == 0 and rows[f"z[{k}]"][7] == 1 for k in range(4, 8)), "these do nothing"
    assert found.special >= 3 > 10 * found.by_chance and found.p_special < 0.01
    assert found.moves.tiles.shape == (8, 3, 1, 16, 16) and found.w_left is None


def test_in_a_turned_basis_no_dimension_is_special() -> None:
    turn, _ = torch.linalg.qr(torch.randn(16, 16, generator=Rng(3).block()))
    found = swept(discs(16, turn))
    assert found.p_special > 0.05 and sum(found.p) / len(found.p) > 0.25


def test_a_large_delta_of_z_ends_in_one_point_and_one_of_w_does_not() -> None:
    generator = style()
    far = swept(generator, dimensions="3", deltas=(5.0, 1000.0), controls=1)
    assert far.w_left is not None and far.deltas == (0.0, 5.0, 1000.0)
    left, variety = far.w_left[0].tolist(), far.moves.variety[0].tolist()
    assert left[0] == pytest.approx(1) and 0.3 < left[1] < 1 and left[2] < 0.05 and variety[2] < 0.05
    assert "z is normalised" in far.summary()
    w = swept(generator, space="w", dimensions="3", deltas=(2.0,), controls=1)
    assert w.moves.variety[0, 1] > 0.5 and w.w_left is None and "normalised" not in w.summary()


@pytest.mark.parametrize(
    "knobs",
    [
        {"space": "s", "layers": "b16.conv0", "dimensions": "0,7"},
        {"space": "w+", "layers": "2-4", "along": "pca"},
        {"space": "w", "along": "sefa", "dimensions": "1"},
        {"along": "random", "dimensions": "0-2"},
    ],
)
def test_every_space_and_direction_gives_a_report(knobs: dict[str, str]) -> None:
    finding = assess(Sweep(**Sweep.smoke | knobs), style(), Given())
    assert {m.name for m in finding.measures} >= {"strongest-effect", "special", "variety-left"}
    assert [f.kind for f in finding.figures] == ["grid", "heat", "curve"] and finding.queries > 0
    assert next(m.value for m in finding.measures if m.name == "strongest-effect") > 0


def scorer(outputs: int, shape: tuple[int, ...]) -> Classifier:
    module = nn.Module()
    module.features, module.head = nn.Flatten(), nn.Linear(shape[0] * 256, outputs)
    return Classifier(module=module.eval(), shape=shape, classes=("cat", "dog"), name="toy")


def test_a_classifier_is_read_too_and_one_that_does_not_fit_is_told() -> None:
    finding = assess(Sweep(**Sweep.smoke), style(), Given(scorer(2, (3, 16, 16))))
    assert list(finding.figures[1].data["columns"][-2:]) == ["class cat", "class dog"]
    with pytest.raises(BadInput, match="scores do not fit"):
        assess(Sweep(**Sweep.smoke), style(), Given(scorer(5, (3, 16, 16))))
    with pytest.raises(BadInput, match="do not fit this classifier"):
        assess(Sweep(**Sweep.smoke), style(), Given(scorer(2, (1, 16, 16))))


def test_what_does_not_exist_is_told() -> None:
    with pytest.raises(BadInput, match="no dimension 16"):
        swept(style(), dimensions="16")
    with pytest.raises(Unsupported, match="no style generator"):
        swept(discs(), space="w")
    with pytest.raises(Unsupported, match="z has no pca"):
        swept(style(), along="pca")
