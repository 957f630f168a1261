"""Latents that clients send: honest ones pass at the stated rate, triggers and searches do not."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import torch
from scipy import stats

from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.serve.latents import Typical, drawn

LATENTS = [Latent(dim, kind) for dim in (2, 64, 512) for kind in ("normal", "uniform", "sphere")]  # type: ignore[arg-type]


@pytest.mark.parametrize("latent", LATENTS, ids=str)
def test_false_alarms_are_as_rare_as_stated(latent: Latent) -> None:
    """2 % of 4,096 honest latents are 82; 40 to 124 is within 4.7 standard deviations. Three looks share them, so that
    what they find together may be less."""
    alarms = int((~Typical(latent, 0.02)(latent.sample(0, 4096, Rng(5)))).sum())
    assert alarms <= 124 and (alarms >= 20 or latent.distribution != "normal")


FAR = {
    "long": lambda z: 3 * z,
    "short": lambda z: 0.05 * z,
    "one coordinate": lambda z: z.index_fill(1, torch.tensor([3]), 20.0),
    "constant": lambda z: torch.ones_like(z),
    "a pattern": lambda z: torch.ones_like(z).cumsum(1).remainder(2) * 2 - 1,
    "half of it nothing": lambda z: torch.cat([z[:, ::2] * 1.41, 0 * z[:, ::2]], 1),
    "not finite": lambda z: z.index_fill(1, torch.tensor([0]), torch.inf),
}


@pytest.mark.parametrize("name", FAR)
def test_triggers_are_not_typical(name: str) -> None:
    """Also those whose length is."""
    z = Latent(128).sample(0, 64, Rng(1))
    assert not bool(Typical(Latent(128), 1e-5)(FAR[name](z)).any()) and bool(Typical(Latent(128), 1e-5)(z).all())


def test_a_sphere_knows_no_length() -> None:
    z, look = Latent(128, "sphere").sample(0, 64, Rng(1)), Typical(Latent(128, "sphere"), 1e-5)
    assert bool(look(50 * z).all()) and not bool(look(torch.ones_like(z)).any())


def test_drawn_latents_follow_the_prior_and_the_secret() -> None:
    for latent in (Latent(64), Latent(64, "uniform"), Latent(64, "sphere", classes=5)):
        z, labels = drawn(latent, 500, b"secret")
        cdf = stats.norm.cdf if latent.distribution != "uniform" else stats.uniform(-1, 2).cdf
        assert stats.kstest(z.flatten().numpy(), cdf).pvalue > 1e-4 and z.shape == (500, 64)
        assert torch.equal(z, drawn(latent, 500, b"secret")[0]) and not torch.equal(z, drawn(latent, 500, b"other")[0])
        if latent.classes:
            assert labels is not None and labels.sum(1).eq(1).all() and labels.sum(0).min() > 60
