"""Scaling z of a style generator is found to be a no-op, and that of w, or of a network without such a norm, is not."""

from __future__ import annotations

import pytest
import torch
from shapes import discs

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.engine import assess, measured
from genvet.nets import stylegan1, stylegan2
from genvet.nets.style_space import mean_w
from genvet.studies.scale import INVISIBLE, Given, Scale, Scaled

SIZES = {"size": 16, "channels": 1, "z_dim": 16, "w_dim": 12, "channel_base": 128, "channel_max": 8}


def scaled(generator: object, **knobs: object) -> Scaled:
    result, _ = measured(Scale(**{"factors": (0.05, 5.0), "latents": 6, **knobs}), generator, Given())
    assert isinstance(result, Scaled)
    return result


@pytest.mark.parametrize("net", [stylegan1, stylegan2])
def test_scaling_z_is_a_no_op_and_scaling_w_is_none(net: object) -> None:
    generator = net.build(**SIZES, mapping_layers=2, rng=Rng(1))  # type: ignore[attr-defined]
    found = scaled(generator)
    assert all(row.idle for row in found.of("z")) and "scaling z is a no-op" in found.summary()
    assert not any(row.idle for way in ("w", "w about its mean") for row in found.of(way))
    values = {m.name: m.value for m in found.measures()}
    assert values["largest-change.z"] < INVISIBLE < values["mean-change.w"] < values["largest-change.w"]
    assert 0 < values["rounding"] < 1e-3
    assert len(found.tables()[0].rows) == 3 * (3 + generator.num_ws)


def test_about_the_mean_a_small_factor_makes_all_samples_one_and_layers_add_up() -> None:
    generator = stylegan2.build(**SIZES, rng=Rng(1))
    found = scaled(generator, factors=(0.0,))
    rows = {row.way: row for row in found.rows if row.factor == 0}
    assert rows["w about its mean"].variety < 1e-4 and rows["w[0]"].variety > 0.01
    average = generator.synthesis(generator.broadcast(mean_w(generator)[None]))[0]
    assert torch.allclose(found.tiles["w about its mean"][0], average, atol=1e-4)


def test_a_network_without_a_norm_changes_with_its_scale() -> None:
    found = scaled(discs())
    assert list(found.tiles) == ["z"] and not any(row.idle for row in found.of("z"))
    dark = dict(zip(found.read, found.of("z")[0].read, strict=True))
    assert found.of("z")[0].variety < 0.1 and abs(dark["brightness"]) < 5


def test_factors_that_are_no_numbers_are_told_and_layers_can_be_left_out() -> None:
    with pytest.raises(BadInput, match="finite numbers"):
        scaled(discs(), factors=(float("nan"),))
    generator = stylegan2.build(**SIZES, rng=Rng(1))
    finding = assess(Scale(factors=(2.0,), latents=3, layers=False), generator, Given())
    assert {row[0] for row in finding.tables[0].rows} == {"z", "w", "w about its mean"}
    assert [f.kind for f in finding.figures] == ["grid", "curve", "heat"]
