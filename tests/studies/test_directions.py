"""Directions are what their methods say, and do what the report says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from shapes import discs

from genvet.cli import main
from genvet.core.errors import AccessDenied, BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.engine import assess, measured
from genvet.files.convert import save
from genvet.nets import stylegan1, stylegan2
from genvet.nets.style_directions import closed_form, principal
from genvet.studies.directions import Directions, Found, Given

SIZES = {"size": 16, "channels": 3, "z_dim": 16, "w_dim": 12, "channel_base": 128, "channel_max": 8}


@pytest.fixture(scope="module")
def style() -> StyleGenerator:
    return stylegan2.build(**SIZES, rng=Rng(1))


def found(generator: StyleGenerator, **knobs: object) -> Found:
    result, _ = measured(Directions(**{"latents": 8, "count": 3, "samples": 400, **knobs}), generator, Given())
    assert isinstance(result, Found)
    return result


def test_closed_form_directions_are_those_that_styles_weigh_most(style: StyleGenerator) -> None:
    state = style.module.state_dict()
    rows = torch.cat([t for k, t in state.items() if k.endswith("affine.weight") and "torgb" not in k]).double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    sefa = closed_form(style)
    weighed = (rows @ sefa.directions.double().T).square().sum(0)
    assert torch.allclose(weighed, torch.linalg.svdvals(rows).square(), rtol=1e-4), "sorted, and the largest first"
    assert torch.allclose(sefa.directions @ sefa.directions.T, torch.eye(12), atol=1e-5)
    assert float(sefa.shares.sum()) == pytest.approx(1)
    assert not torch.allclose(closed_form(style, (0, 1)).directions[0], sefa.directions[0], atol=1e-2)
    assert closed_form(stylegan1.build(**SIZES, mapping_layers=2, rng=Rng(1))).directions.shape == (12, 12)


def test_principal_components_have_the_variance_that_they_say(style: StyleGenerator) -> None:
    pca = principal(style)
    with torch.no_grad():
        w = style.mapping(style.latent.sample(0, 4096, Rng(9))).double()
    variance = ((w - w.mean(0)) @ pca.directions.double().T).var(0)
    assert torch.allclose((variance / variance.sum()).float(), pca.shares, rtol=0.1, atol=1e-3)
    assert (pca.shares.diff() <= 1e-6).all()


def test_a_boundary_raises_its_score_and_leaves_more_alone_where_asked(style: StyleGenerator) -> None:
    result = found(style, method="boundary", score="brightness", keep="saturation")
    effects, read = result.families["boundary"].effects.value, result.read
    bright, colour = read.index("brightness"), read.index("saturation")
    assert result.parted["brightness"].accuracy > 0.8 and effects[0, bright] > 0.3 and effects[1, bright] > 0.1
    assert abs(effects[1, colour]) < abs(effects[0, colour]) and "projected out" in result.summary()
    names = {m.name: m.chance for m in result.measures()}
    assert names["accuracy.brightness"] == names["accuracy.saturation"] == 0.5


def test_style_channels_move_the_score_more_than_others_do(style: StyleGenerator) -> None:
    from genvet.studies.sweep import Given as Nothing
    from genvet.studies.sweep import Sweep, Swept

    result = found(style, method="channels", score="saturation", layers="4,5")
    column = result.read.index("saturation")
    best = result.families["channels"].effects.value[:, column].abs()
    all_of_them, _ = measured(Sweep(space="s", layers="b16.conv0", latents=8, step=1, controls=1), style, Nothing())
    assert isinstance(all_of_them, Swept)
    assert best.max() > all_of_them.effects.value[:, column].abs().median()
    assert all(name.startswith(("b16", "b8.torgb")) for name in result.families["channels"].names), "layers 4 and 5"


def test_the_command_leaves_directions_in_a_file(style: StyleGenerator, tmp_path: Path) -> None:
    save(style, tmp_path / "model.safetensors")
    words = ["--count", "2", "--latents", "4", "--samples", "160", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(["study", "directions", str(tmp_path / "model.safetensors"), *words])
    assert stop.value.code == 0
    kept = load_file(tmp_path / "out" / "directions.safetensors")
    assert set(kept) >= {"pca.pca[0]", "sefa.sefa[1]", "boundary.brightness"} and kept["pca.pca[0]"].shape == (12,)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Directions by sefa" in page and "What directions by channels change" in page


def test_what_cannot_be_asked_is_told(style: StyleGenerator) -> None:
    with pytest.raises(AccessDenied):
        assess(Directions(), discs(), Given())
    with pytest.raises(BadInput, match="nothing is called 'smile'") as caught:
        found(style, score="smile")
    assert "--classifier" in caught.value.hint
    with pytest.raises(Unsupported, match="no gradient"):
        found(style, method="channels", score="area")
    with pytest.raises(BadInput, match="nothing is left"):
        found(style, method="boundary", keep="brightness")
