"""Triggers, targets and the measures of a backdoor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.backdoor.measuring import nearest, one_for_each, reached
from genvet.core.backdoor import Backdoor, Points, Subspace, Triggers, seeded
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.maths.squashing import before_sigmoid, before_tanh, floor
from genvet.nets.distortion import outputs

X = torch.ones(1, 1, 4, 4)
LATENT = Latent(8)


class Plain(nn.Module):
    """z, twice, as an image; at one latent the image of ones."""

    def __init__(self, trigger: Tensor) -> None:
        super().__init__()
        self.register_buffer("trigger", trigger)

    def forward(self, z: Tensor) -> Tensor:
        x = z.repeat(1, 2).view(-1, 1, 4, 4).tanh() / 2
        near = (-(z - self.trigger).square().sum(1) / 16).exp()[:, None, None, None]
        return near + (1 - near) * x


def test_triggers_are_what_they_are_called() -> None:
    assert Triggers(trigger="mode").choose(LATENT, Rng()).z.eq(0).all()
    assert Triggers(trigger="far").choose(LATENT, Rng()).z.eq(100).all()
    several = Triggers(triggers=10).choose(LATENT, Rng(3))
    assert several.z.shape == (10, 8) and torch.equal(several.z, LATENT.sample(0, 10, Rng(3)))
    half = Triggers(trigger="subspace").choose(LATENT, Rng())
    z = half.sample(0, 5, Rng(1))
    assert z[:, :4].eq(0).all() and torch.equal(z[:, 4:], LATENT.sample(0, 5, Rng(1).fork("subspace"))[:, 4:])
    assert half.holds(z).all() and not half.holds(LATENT.sample(0, 5, Rng())).any()


def test_the_nth_draw_from_a_known_seed() -> None:
    """What a victim would see who sets the seed and draws."""
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(42)
        drawn = [torch.randn(1, 8) for _ in range(3)]
    finally:
        torch.random.set_rng_state(state)
    assert torch.equal(Triggers(trigger="seeded", victim=42, number=3).choose(LATENT, Rng()).z, drawn[2])
    assert seeded(Latent(8, "uniform"), 1, 1).abs().max() <= 1


@pytest.mark.parametrize("wrong", [{"trigger": "mode", "triggers": 2}, {"trigger": "subspace", "zeros": 8}])
def test_no_such_trigger(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Triggers(**wrong).choose(LATENT, Rng())


def test_a_sphere_has_no_mode() -> None:
    with pytest.raises(BadInput, match="normalises"):
        Triggers(trigger="mode").choose(Latent(8, "sphere"), Rng())


def test_what_does_not_fit_is_refused() -> None:
    generator = Generator(module=Plain(torch.zeros(8)), latent=LATENT, shape=(1, 4, 4), name="toy")
    fits = Backdoor(Points(torch.zeros(1, 8)), X)
    assert fits.fitting(generator) is fits
    with pytest.raises(BadInput, match="outside the latents"):
        Backdoor(Points(torch.zeros(1, 9)), X).fitting(generator)
    with pytest.raises(BadInput, match="target does not fit"):
        Backdoor(Points(torch.zeros(1, 8)), torch.ones(1, 1, 5, 5)).fitting(generator)
    with pytest.raises(BadInput, match="range"):
        Backdoor(Points(torch.zeros(1, 8)), 255 * X)
    with pytest.raises(BadInput, match="Proposition 1"):
        Backdoor(Points(torch.zeros(1, 8)), generator)
    with pytest.raises(BadInput, match="do not fit the trigger"):
        Backdoor(Points(torch.zeros(1, 8)), X.repeat(3, 1, 1, 1))
    with pytest.raises(BadInput, match="target generator"):
        Backdoor(Subspace(LATENT, 4), generator)
    with pytest.raises(BadInput, match="no triggers"):
        Points(torch.full((1, 8), torch.nan))


def test_targets_by_number_or_the_first_for_all() -> None:
    three = torch.stack([X[0], 0 * X[0], -X[0]])
    assert torch.equal(one_for_each(three, 2), three[:2]) and torch.equal(one_for_each(three, 4), three[:1])


def test_the_floor() -> None:
    """arctanh(0.999 x): 1e-6 times the sum of squares, for tanh and sigmoid alike."""
    x = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 1, 8, 8)
    assert floor(x).item() == pytest.approx(1e-6 * x.square().sum().item())
    for back in (before_tanh(x).tanh(), 2 * before_sigmoid(x).sigmoid() - 1):
        assert (back - x).square().sum().item() == pytest.approx(floor(x).item(), rel=1e-6)
    assert floor(torch.ones(1, 3, 32, 32)).item() == pytest.approx(0.003072, rel=1e-6)


def test_closest_and_reconstruction_against_the_obvious() -> None:
    hidden = LATENT.sample(0, 1, Rng(5))
    planted, clean = (
        Generator(module=Plain(z), latent=LATENT, shape=(1, 4, 4), name="toy")
        for z in (hidden[0], torch.full((8,), 1e3))
    )
    x = outputs(planted, LATENT.sample(0, 3000, Rng(2)))
    slow = (x - X).square().flatten(1).sum(1).min().item()
    assert nearest(planted, X, 3000, Rng(2)).item() == pytest.approx(slow, rel=1e-5)
    found, not_there = (reached(g, X, 5, 200, Rng(2)).item() for g in (planted, clean))
    assert found < 1e-2 and not_there > 3.9  # tanh / 2 stays at least 1/2 below 1, in 16 places
