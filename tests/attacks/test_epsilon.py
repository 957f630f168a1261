"""The audit of an epsilon: right about mechanisms whose epsilon is known, and about those that lie."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genvet.attacks.membership.epsilon import Audited, Epsilon, Given
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.maths.epsilon_audit import canaries, chosen, guesses, least_epsilon, p_value

SHAPE = (1, 8, 8)


def test_the_bound_is_that_of_a_biased_coin() -> None:
    assert p_value(60, 100, 1000, 0.0) == pytest.approx(sum(math.comb(100, k) for k in range(60, 101)) / 2**100)
    assert least_epsilon(100, 100, 1000) == pytest.approx(-math.log(0.05 ** (-1 / 100) - 1), abs=1e-3)
    assert least_epsilon(1000, 1000, 1000) > least_epsilon(100, 100, 1000) > least_epsilon(90, 100, 1000) > 1
    assert (
        least_epsilon(100, 100, 1000, delta=1e-3)
        < least_epsilon(100, 100, 1000, delta=1e-6)
        <= least_epsilon(100, 100, 1000)
    )
    assert least_epsilon(100, 100, 100, delta=0.5) == 0.0


def test_randomised_response_is_bounded_by_its_epsilon_and_shown_nearly_in_full() -> None:
    """Each canary tells the truth with probability e / (1 + e): epsilon is 1 exactly."""
    refuted, shown = 0, []
    for seed in range(60):
        inside = chosen(1000, Rng(seed))
        truth = torch.rand(1000, generator=Rng(seed).fork("noise").block()) < math.e / (1 + math.e)
        told = (inside == truth).double()
        found = guesses(told + 1e-3 * torch.rand(1000, dtype=torch.float64), inside, 1000, 0.0, 0.05, Rng(seed))
        refuted += found.epsilon > 1
        shown.append(found.epsilon)
    assert refuted <= 8, "wrong at most once in 20, of 60"
    assert sorted(shown)[30] > 0.8


def test_scores_that_tell_nothing_show_nothing_in_whatever_order_they_come() -> None:
    inside = torch.arange(1000) < 500
    assert guesses(torch.zeros(1000), inside, 200, 0.0, 0.05, Rng(1)).epsilon < 0.5
    assert guesses(inside.double(), inside, 200, 0.0, 0.05, Rng(1)).right == 200
    assert guesses(-inside.double(), inside, 200, 0.0, 0.05, Rng(1)).right == 0


class Knowing(nn.Module):
    """A critic that knows some of the canaries, and makes nothing of all others."""

    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(x.flatten(1), self.known).amin(1, keepdim=True)  # type: ignore[arg-type]


def audit(know: int, n: int = 1000, copies: int = 0, **knobs: object) -> Audited:
    x, inside = canaries(n, SHAPE, Rng(1)), chosen(n, Rng(2))
    ins, outs = x[inside], x[~inside]
    split = {"members": Images(ins, ("",) * len(ins)), "non_members": Images(outs, ("",) * len(outs))}
    critic = Critic(Knowing(ins[:know] if know else canaries(3, SHAPE, Rng(9))), SHAPE)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, SHAPE))
    if copies:
        with torch.no_grad():
            net[0].weight.mul_(50.0)
    generator = Generator(module=net.eval(), latent=Latent(4), shape=SHAPE, name="mlp")
    return Epsilon(samples=200, claimed=3.0, **knobs)(generator, Given(critic=critic, **split), Rng(5))  # type: ignore[arg-type]


def test_a_critic_that_knows_its_canaries_contradicts_the_claim() -> None:
    found = audit(know=500)
    measures = {m.name: m.value for m in found.measures()}
    assert found.contradicted and measures["contradicted"] == 1.0 and "contradicts the claim of 3" in found.summary()
    assert 3 < found.best.epsilon <= found.ceiling
    assert measures["epsilon-least.nearest-sample"] == 0.0, "each way by itself"
    (figure,) = found.figures()
    assert figure.data is not None and figure.data["labels"][0] == "claimed, at most"


def test_a_critic_that_knows_none_shows_nothing_and_says_what_it_could_have_shown() -> None:
    found = audit(know=0)
    assert found.best.epsilon < 0.5 and not found.contradicted and found.ceiling > 4
    few = audit(know=0, n=60)
    assert "no outcome could have" in few.summary() and "fewer than 1000 canaries" in few.summary()


def test_what_is_no_audit_is_refused() -> None:
    x = canaries(100, SHAPE, Rng(1))
    sets = {"members": Images(x[:90], ("",) * 90), "non_members": Images(x[90:], ("",) * 10)}
    generator = Generator(module=nn.Identity(), latent=Latent(4), shape=SHAPE, name="mlp")
    with pytest.raises(BadInput, match="by a fair coin"):
        Epsilon()(generator, Given(**sets), Rng(0))
    sets = {"members": Images(x[:50], ("",) * 50), "non_members": Images(x[50:], ("",) * 50)}
    with pytest.raises(BadInput, match="nothing to guess by"):
        Epsilon(samples=0)(generator, Given(**sets), Rng(0))
