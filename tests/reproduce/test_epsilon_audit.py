"""The audit catches what adds no noise, and lets stand what adds what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genvet.attacks.membership.epsilon import Audited, Epsilon
from genvet.core.rng import Rng
from genvet.maths.epsilon_audit import canaries, chosen
from genvet.reproduce.leakage.epsilon_audit import GRADIENTS
from genvet.reproduce.leakage.watching import Watched, audited
from genvet.training.private_dcgan import PrivateDCGAN

SMALL: dict[str, Any] = {
    **{"steps": 10, "critic_steps": 4, "batch": 50, "capacity": 4, "latent": 4},
    **{"epsilon": 3.0, "accountant": "rdp", "delta": 1e-4, "together": 400},
}


def audit(way: Any) -> Audited:
    pytest.importorskip("opacus", reason="the extra `privacy` is not installed")
    x, inside = canaries(500, (1, 8, 8), Rng(1)), chosen(500, Rng(1))
    duel = audited(PrivateDCGAN(**SMALL), way, canaries(4, (1, 8, 8), Rng(2)), x, inside, Rng(3))
    shield = duel.shield
    assert isinstance(shield, Watched) and torch.isfinite(shield.scores).all()
    assert int(shield.spending.steps) == 40 and shield.spending.of(PrivateDCGAN(**SMALL)) <= 3.0
    scores = dict(zip(GRADIENTS, shield.scores, strict=True))
    return Epsilon(claimed=3.0, delta=1e-4).audited(scores, inside, Rng(4))


def test_a_training_without_noise_that_claims_epsilon_3_is_caught() -> None:
    found = audit("silent")
    assert found.contradicted and found.best.epsilon > 3 and "contradicts" in found.summary()


def test_a_training_with_its_noise_is_not_and_could_have_been() -> None:
    found = audit("private")
    assert not found.contradicted and found.best.epsilon < 2 and found.ceiling > 3
