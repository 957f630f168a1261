"""Outputs that rest on finely tuned weights are found where they are, and not in a clean twin."""

from __future__ import annotations

import pytest
import torch
from planted_by_hand import TARGET, generator, trigger

from genvet.core.errors import TooCostly
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess
from genvet.inspections.dynamic.sensitivity import InspectSensitivity

PROBE = InspectSensitivity(samples=128, starts=16, steps=30, copies=2)


def measured(finding) -> dict[str, float]:
    return {m.name: m.value for m in finding.measures if m.value is not None}


@pytest.mark.parametrize("kind", ["in-sample", "mode", "far"])
def test_by_hand_the_backdoor_works(kind):
    z = trigger(kind)
    assert (generator(z)(z).flatten() - TARGET).abs().max() < 1e-2
    draws = generator().latent.sample(0, 500, Rng(5))
    assert (generator(z)(draws) - generator()(draws)).abs().mean() < 0.05


@pytest.mark.parametrize(("kind", "signal"), [("in-sample", "typical"), ("mode", "mode"), ("far", "far")])
def test_a_planted_response_is_more_sensitive_than_anything_clean(kind, signal):
    clean, planted = (measured(assess(PROBE, g)) for g in (generator(), generator(trigger(kind))))
    assert planted[signal] > 1.5 * clean[signal]


def test_the_far_point_is_named():
    finding = assess(PROBE, generator(trigger("far")))
    worst = max(finding.tables[0].rows, key=lambda row: row[-1])
    assert worst[0] == "all 100" and "at all 100" in finding.summary


def test_a_sphere_has_no_mode_and_nothing_far():
    names = measured(assess(PROBE, generator(distribution="sphere")))
    assert "typical" in names and not names.keys() & {"mode", "far"}


def test_what_costs_too_much_is_done_in_part_or_not_at_all():
    some = PROBE.model_copy(update={"operations": 1.2e8})
    assert 64 <= some(generator(), Nothing(), Rng(0)).weights.numel() < 128
    with pytest.raises(TooCostly):
        PROBE.model_copy(update={"operations": 1e6})(generator(), Nothing(), Rng(0))


def test_a_generator_of_nothing_breaks_nothing():
    g = generator()
    g.module[4].weight.zero_()  # type: ignore[operator, union-attr]
    g.module[4].bias.zero_()  # type: ignore[operator, union-attr]
    finding = assess(PROBE, g)
    assert all(torch.tensor(v).isfinite() for v in measured(finding).values())
