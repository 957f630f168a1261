"""Norms that describe their network pass; a channel that they do not describe is told."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from genvet.attacks.backdoor.rex import expand
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.engine import assess
from genvet.inspections.static.norms import InspectNorms, _measured
from genvet.nets import dcgan, vae
from genvet.nets.chain import chain, chosen, merged


@pytest.fixture(scope="module")
def clean() -> Generator:
    """Its norms have seen its own samples, as in a training."""
    torch.manual_seed(0)
    generator = dcgan.build(latent=10, capacity=8, size=8)
    for norm in (m for m in generator.module if hasattr(m, "momentum")):
        norm.momentum = None  # a plain average over all batches
    generator.module.train()
    with torch.no_grad():
        for _ in range(60):
            generator.module(torch.randn(64, 10))
    generator.module.eval()
    return generator


def changed(generator: Generator) -> Generator:
    return replace(generator, module=copy.deepcopy(generator.module))


def values(generator: Generator) -> dict[str, float]:
    finding = assess(InspectNorms(count=1024), generator)
    return {m.name: m.value for m in finding.measures if m.value is not None}


def test_settled_norms_pass_and_one_odd_channel_is_told(clean: Generator) -> None:
    before = values(clean)
    assert before["distance"] < 0.2 and before["outlier"] < 2
    odd = changed(clean)
    odd.module.norm1.running_mean[3] += odd.module.norm1.running_var[3].sqrt()
    after = assess(InspectNorms(count=1024), odd)
    assert "channel 3 of norm1" in after.summary
    found = {m.name: m.value for m in after.measures}
    assert found["distance"] == pytest.approx(1, rel=0.2) and found["outlier"] > 5
    narrow = changed(clean)
    narrow.module.norm2.running_var[1] /= 9
    assert {r[0]: r for r in assess(InspectNorms(count=1024), narrow).tables[0].rows}["norm2"][6] == pytest.approx(
        9, rel=0.3
    )


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_added_units_with_fresh_norms_are_told(clean: Generator, width: float) -> None:
    links = chain(clean)
    run = chosen(links, ())
    planted = merged(clean, run, expand(clean, links, run, width, Rng(1)).module.side)
    found = values(planted)
    assert found["distance"] > 1 and found["outlier"] > 5


def test_a_change_of_all_weights_alike_is_no_outlier(clean: Generator) -> None:
    louder = changed(clean)
    with torch.no_grad():
        louder.module.conv1.weight.mul_(1.5)
    found = values(louder)
    assert found["distance"] > 0.4 and found["outlier"] < 2


def test_moments_are_those_of_one_batch(clean: Generator) -> None:
    norms = {"norm1": clean.module.norm1}
    mean, variance = _measured(clean, norms, 100, 17, Rng(3))["norm1"]
    z = clean.latent.sample(0, 100, Rng(3).fork("samples"))
    with torch.no_grad():
        x = clean.module[:5](z).double()
    assert torch.allclose(mean, x.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(variance, x.var((0, 2, 3), unbiased=False), rtol=1e-5)
    assert not clean.module.norm1._forward_pre_hooks


def test_no_norms_no_finding() -> None:
    with pytest.raises(Unsupported, match="no batch norm"):
        assess(InspectNorms(), vae.build(latent=4, capacity=2, size=8))
