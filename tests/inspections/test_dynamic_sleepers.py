"""What sleeps on the prior and wakes at a trigger is found; a clean twin holds nothing of the kind."""

from __future__ import annotations

import pytest
import torch
from planted_by_hand import DIM, LEAK, generator, trigger
from torch import nn
from torch.nn.functional import leaky_relu

from genvet.core.errors import TooCostly, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess
from genvet.inspections.dynamic.sleepers import InspectSleepers, Sleepers
from genvet.nets.hidden_units import HiddenUnits

PROBE = InspectSleepers(samples=1024, starts=8, units=2, steps=30)


def found(g: Generator) -> Sleepers:
    return PROBE(g, Nothing(), Rng(0))


def largest(result: Sleepers, name: str) -> float:
    return max(getattr(layer, name) for layer in result.layers)


def test_layers_are_watched_behind_their_nonlinearities():
    hidden = HiddenUnits(generator())
    z = torch.randn(3, DIM)
    first, second = hidden(z)
    assert hidden.names == ["1", "3"] and first.shape == (3, 48) and second.shape == (3, 64)
    assert torch.equal(first, leaky_relu(hidden.generator.module[0](z), LEAK))  # type: ignore[operator, index]
    assert not any(m._forward_hooks for m in hidden.generator.module.modules())


def test_sleepers_wake_where_a_backdoor_was_planted():
    clean, planted = found(generator()), found(generator(trigger("in-sample")))
    assert largest(planted, "typical") > 3 * largest(clean, "typical")
    assert planted.layers[1].name == "3" and planted.layers[1].asleep > 0.2 > 0.01 > clean.layers[1].asleep


@pytest.mark.parametrize(("kind", "place"), [("mode", "centre"), ("far", "far")])
def test_what_sleeps_elsewhere_wakes_at_the_mode_and_far_out(kind, place):
    clean, planted = found(generator()), found(generator(trigger(kind)))
    assert largest(planted, place) > 3 * largest(clean, place)


def test_a_sphere_has_no_mode():
    names = {m.name for m in assess(PROBE, generator(distribution="sphere")).measures}
    assert "typical" in names and not names & {"mode", "far"}


def test_without_hidden_layers_nothing_can_sleep():
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))).eval()
    bare = Generator(module=module, latent=Latent(4), shape=(1, 8, 8), name="linear")
    with pytest.raises(Unsupported):
        found(bare)
    with pytest.raises(TooCostly):
        PROBE.model_copy(update={"operations": 1e5})(generator(), Nothing(), Rng(0))
