"""The wall around a planted mode is found, and singular values are what the Jacobian says."""

from __future__ import annotations

import pytest
import torch
from planted_by_hand import generator, trigger
from torch.autograd.functional import jacobian

from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess
from genvet.inspections.dynamic.lipschitz import InspectLipschitz, Steep

PROBE = InspectLipschitz(samples=64, starts=4, steps=20)


def found(g: Generator, probe: InspectLipschitz = PROBE) -> Steep:
    return probe(g, Nothing(), Rng(0))


def test_the_steepness_is_the_largest_singular_value_of_the_jacobian():
    g = generator()
    steep = found(g, PROBE.model_copy(update={"rounds": 30, "samples": 32, "starts": 1, "steps": 1}))
    z = g.latent.sample(0, 9, Rng(0).fork("prior"))
    slow = torch.stack([torch.linalg.matrix_norm(jacobian(g, one[None]).view(64, -1), 2) for one in z])
    # A lower bound; where a kink lies within the step, the difference is not the slope.
    assert (steep.prior[:9] / slow - 1).abs().median() < 0.01 and (steep.prior[:9] < 1.05 * slow).all()


def test_a_trigger_at_the_mode_stands_behind_a_wall():
    clean, planted = found(generator()), found(generator(trigger("mode")))
    assert clean.wall is not None and planted.wall is not None
    assert planted.wall > 2 * clean.wall
    assert torch.allclose(clean.prior, planted.prior, rtol=0.15)


def test_a_search_gets_beyond_the_prior():
    steep = found(generator())
    assert steep.found.max() > steep.prior.quantile(0.9)


def test_a_sphere_has_no_mode_and_a_flat_generator_no_cliff():
    assert "mode" not in {m.name for m in assess(PROBE, generator(distribution="sphere")).measures}
    flat = generator()
    flat.module[4].weight.zero_()  # type: ignore[operator, union-attr]
    assert all(torch.tensor(m.value).isfinite() for m in assess(PROBE, flat).measures)


def test_too_costly():
    with pytest.raises(TooCostly):
        found(generator(), PROBE.model_copy(update={"operations": 1e6}))
