"""The search that inverts a classifier: rows that do not disturb each other, borders, and dropout by hooks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.nets import classifiers, stylegan2
from genvet.nets.first_guesses import first_guesses, shown
from genvet.nets.inverting import Pace, invert
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace, to_p, to_w
from genvet.nets.target_dropout import Thinned, places

PRIOR = stylegan2.build(size=8, z_dim=16, w_dim=16, channel_base=64, channel_max=8, mapping_layers=2, rng=Rng(3))
PRIOR.module.eval().requires_grad_(False)
WHERE = torch.linspace(-2, 2, 7)[:, None, None].expand(-1, 1, 3)


def bowl(u: Tensor, row: Tensor, step: Tensor) -> Tensor:
    """Smallest at (1, 2, 3) for row 0, farther out for later ones."""
    goal = torch.tensor([1.0, 2.0, 3.0]) + row[:, None]
    return (u[:, 0] - goal).square().sum(1)


def look(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    off = bowl(u, row, row)
    return off.double(), 1 / (1 + off)


def test_rows_do_not_depend_on_their_batch() -> None:
    runs = [
        invert(WHERE, bowl, look, lambda u: u, Pace(steps=300, rate=0.2, batch=batch, enough=0.9, look=5))
        for batch in (1, 3, 7)
    ]
    for run in runs[1:]:
        assert torch.allclose(run.u, runs[0].u, atol=1e-5) and torch.equal(run.steps, runs[0].steps)
        assert run.passes == runs[0].passes
    assert (runs[0].sure >= 0.9).all() and runs[0].steps.max() < 300, "each row stops where it is sure"
    assert len(runs[0].steps.unique()) > 1


def test_without_adam_and_schedule_it_is_plain_descent() -> None:
    pace = Pace(steps=9, rate=0.1, optimiser="descent", warm=0, fall=0, look=1)
    u = WHERE[:2].clone()
    for _ in range(9):
        free = u.requires_grad_()
        (slope,) = torch.autograd.grad(bowl(free, torch.arange(2), torch.zeros(2)).sum(), free)
        u = (free - 0.1 * slope).detach()
    assert torch.allclose(invert(WHERE[:2], bowl, look, lambda u: u, pace).u, u, atol=1e-6)


def test_adam_is_torchs() -> None:
    u = WHERE[3:4].clone().requires_grad_()
    optimiser = torch.optim.Adam([u], 0.1)
    for _ in range(12):
        optimiser.zero_grad()
        bowl(u, torch.zeros(1), torch.zeros(1)).sum().backward()
        optimiser.step()
    pace = Pace(steps=12, rate=0.1, warm=0, fall=0, look=1)
    assert torch.allclose(invert(WHERE[3:4], bowl, look, lambda u: u, pace).u, u.detach(), atol=1e-6)


def test_the_best_point_is_the_whole_targets() -> None:
    """A loss that leads away: what was surest on the way is given, and not where it ended."""
    pace = Pace(steps=20, rate=0.5, warm=0, fall=0, look=1)
    run = invert(WHERE[3:4], lambda *at: -bowl(*at), look, lambda u: u, pace)
    assert torch.equal(run.u, WHERE[3:4]) and float(run.sure) == pytest.approx(1 / 15)


def test_the_rate_rises_and_falls() -> None:
    rates = Pace(steps=100, rate=1.0).rates(torch.arange(100.0))
    assert rates[0] == pytest.approx(0.2) and rates[4:75].min() == pytest.approx(1.0) and rates[-1] < 0.01
    assert (rates[75:].diff() < 0).all()


# P


def test_moments_of_p_are_those_of_the_slow_way() -> None:
    found = PSpace.of(PRIOR, 3000, Rng(1))
    z = PRIOR.latent.sample(0, 3000, Rng(1))
    p = to_p(PRIOR.mapping(z)).double()
    unit = (p - p.mean(0)) / p.std(0)
    assert torch.allclose(found.mean.double(), p.mean(0), atol=1e-5)
    assert torch.allclose(found.sigma.double(), p.std(0), rtol=1e-4)
    assert torch.allclose(found.skew.double(), unit.pow(3).mean(0), atol=1e-3)
    assert torch.allclose(found.kurtosis.double(), unit.pow(4).mean(0) - 3, atol=5e-3)
    v = found.whitened(to_w(p.float())).double()
    assert torch.allclose(torch.cov(v.T), torch.eye(16).double(), atol=0.02)


def test_the_box_is_symmetric_and_changes_nothing_twice() -> None:
    found = PSpace.of(PRIOR, 2000, Rng(1))
    w = PRIOR.mapping(PRIOR.latent.sample(0, 200, Rng(2))) * 3
    once = found.clip(w, 1.5)
    assert torch.equal(found.clip(once, 1.5), once)
    off = (to_p(once) - found.mean) / found.sigma
    assert off.abs().max() <= 1.5 + 1e-4 and off.min() < -1.49 and off.max() > 1.49, "both borders hold"
    assert torch.equal(found.clip(w, math.inf), w)
    mirrored = found.clip(to_w(2 * found.mean - to_p(w)), 1.5)
    assert torch.allclose(to_p(mirrored) - found.mean, found.mean - to_p(once), atol=1e-4)


def test_the_shell_is_where_ordinary_latents_lie() -> None:
    found = PSpace.of(PRIOR, 2000, Rng(1))
    w = PRIOR.mapping(PRIOR.latent.sample(0, 200, Rng(2)))
    on = found.shell(w)
    assert torch.allclose(found.energy(on), torch.full((200,), 16.0), rtol=1e-3)
    assert torch.allclose(found.shell(on), on, atol=1e-3)
    assert abs(float(found.energy(w).mean()) - 16) < 1


def test_what_is_far_from_normal_is_refused() -> None:
    found = PSpace.of(PRIOR, 500, Rng(1))
    with pytest.raises(Unsupported, match="share the variance"):
        PSpace(**{**vars(found), "values": torch.tensor([1.0] + [1e-4] * 15)}).checked()
    with pytest.raises(BadInput):
        PSpace.of(PRIOR, 1, Rng(1))


# Spaces


@pytest.mark.parametrize("name", ["z", "w", "z+", "w+"])
def test_every_space_begins_with_the_priors_own_image(name: str) -> None:
    z = PRIOR.latent.sample(0, 3, Rng(5))
    space = LatentSpace(generator=PRIOR, name=name)  # type: ignore[arg-type]
    assert torch.allclose(space.images(space.start(z)), PRIOR(z).clamp(-1, 1), atol=1e-5)
    pulled = LatentSpace(generator=PRIOR, name=name, truncation=0.0)  # type: ignore[arg-type]
    x = pulled.images(pulled.start(z))
    assert torch.allclose(x, x[:1].expand_as(x), atol=1e-5), "nothing is left of z"


def test_borders() -> None:
    p = PSpace.of(PRIOR, 1000, Rng(1))
    u = torch.randn(4, 1, 16, generator=Rng(0).block()) * 5
    for name, border in (("z", "box"), ("z", "shell"), ("w", "box"), ("w", "shell")):
        space = LatentSpace(generator=PRIOR, name=name, border=border, p=p)  # type: ignore[arg-type]
        once = space.kept(u)
        assert not torch.equal(once, u) and torch.allclose(space.kept(once), once, atol=1e-3)
    with pytest.raises(Unsupported, match="moments"):
        LatentSpace(generator=PRIOR, name="w", border="box")


# The target


def tiny() -> Classifier:
    found = classifiers.build(tuple("abcd"), 4, 8, 1)
    found.module.eval().requires_grad_(False)
    return found


def test_dropout_thins_rows_on_their_own_and_leaves_the_target_whole() -> None:
    target, x = tiny(), torch.randn(6, 1, 8, 8, generator=Rng(0).block())
    whole, thinned, rows = target.logits(x), Thinned(target, 3), torch.arange(6)
    with thinned.at(rows, 4):
        some = target.logits(x)
    assert not torch.allclose(some, whole), "something is dropped"
    with thinned.at(rows[2:4], 4):
        assert torch.allclose(target.logits(x[2:4]), some[2:4], atol=1e-6)
    with thinned.at(rows, 5):
        assert not torch.allclose(target.logits(x), some)
    assert torch.equal(target.logits(x), whole)


def test_dropout_keeps_the_mean() -> None:
    """Over many draws a linear network is the whole one."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 32, bias=False))
    module = nn.ModuleDict({"features": layers, "head": nn.Linear(32, 3, bias=False)})
    target = Classifier(module=module, shape=(1, 4, 4), classes=tuple("abc"), name="linear")
    x = torch.ones(1, 1, 4, 4)
    thinned, rows = Thinned(target, 0), torch.arange(4000)
    with torch.no_grad(), thinned.at(rows, 0):
        mean = target.logits(x.expand(4000, -1, -1, -1)).mean(0)
    assert torch.allclose(mean, target.logits(x)[0], atol=0.05)
    assert len(places(target).units) == 1 and not places(target).maps


def test_first_guesses_are_the_best_of_all() -> None:
    target, labels = tiny(), torch.tensor([2, 0])

    def judge(x: Tensor) -> Tensor:
        return target(shown(x, target.shape))

    found = first_guesses(PRIOR, judge, labels, 3, 150, Rng(8))
    z = PRIOR.latent.sample(0, 150, Rng(8))
    scores = judge(PRIOR(z).clamp(-1, 1))[:, labels].T
    best = scores.topk(3, 1)
    assert torch.allclose(found.sure, best.values.double(), atol=1e-5) and torch.allclose(found.z, z[best.indices])
    with pytest.raises(BadInput):
        first_guesses(PRIOR, judge, labels, 5, 4, Rng(8))


def test_images_are_brought_to_the_targets_shape() -> None:
    x = torch.rand(2, 1, 8, 8)
    assert shown(x, (3, 12, 12)).shape == (2, 3, 12, 12) and shown(x.expand(-1, 3, -1, -1), (1, 8, 8)).shape == x.shape
    with pytest.raises(BadInput):
        shown(torch.rand(1, 3, 8, 8), (4, 8, 8))
