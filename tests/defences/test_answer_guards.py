"""Guards of a classifier's answers: what they tell, what they charge, and what is left of an attack behind them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.inversion.evolution import Evolution
from genvet.attacks.inversion.inverted import Against
from genvet.core.classifier import Classifier
from genvet.core.errors import BudgetSpent, Unsupported
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Nothing
from genvet.defences.query.rounding import Rounding
from genvet.defences.query.score_noise import ScoreNoise
from genvet.nets import classifiers, stylegan2

CLASSES = tuple("abcdef")
X = torch.randint(256, (9, 1, 8, 8), generator=Rng(1).block()) / 127.5 - 1


def target() -> Classifier:
    with Rng(5).seeded():
        found = classifiers.build(CLASSES, 2, 8, 1)
    for tensor in found.module.parameters():
        tensor.data *= 3
    found.module.eval().requires_grad_(False)
    return found


def guarded(guard: Any, rng: Rng = Rng(4), **view: Any) -> Any:  # noqa: B008 - it is frozen
    return guard(target().seen_as(Scores, **view), Nothing(), rng)


def test_it_is_the_same_view() -> None:
    for guard in (Rounding(), ScoreNoise(), ScoreNoise(fresh=True)):
        view, plain = guarded(guard, budget=10), target().seen_as(Scores)
        assert isinstance(view, Scores) and guard.guards() is Scores
        assert (view.shape, view.classes, view.answers, view.used, view.left) == (plain.shape, CLASSES, "scores", 0, 10)
        view(X)
        assert (view.used, view.left) == (9, 1) and view(X[:0]).shape == (0, 6)
        with pytest.raises(BudgetSpent):
            view(X)
        assert view.used == 9
        with pytest.raises(Unsupported, match="labels alone"):
            guarded(guard, answers="label")


def test_scores_are_rounded() -> None:
    plain = target().seen_as(Scores)(X)
    assert torch.equal(guarded(Rounding(decimals=1))(X), (plain * 10).round() / 10)
    best = guarded(Rounding(decimals=None, best=2))
    assert best.answers == "top_k" and torch.equal(best(X).sort(1).values[:, -2:], plain.sort(1).values[:, -2:])
    assert ((best(X) > 0).sum(1) == 2).all()
    whole = guarded(Rounding(decimals=1, best=2, renormalised=True))(X)
    assert torch.allclose(whole.sum(1), torch.ones(9)) and ((whole > 0).sum(1) <= 2).all()
    assert guarded(Rounding(decimals=1), answers="top_k", k=2).answers == "top_k"
    config = Rounding(decimals=None, best=3)
    assert Rounding.model_validate(json.loads(config.model_dump_json())) == config
    assert Rounding.model_validate({"decimals": "none", "best": "3"}) == config, "as a command line has it"


@pytest.mark.parametrize("on", ["scores", "logarithms"])
def test_noise_is_the_images_own_or_the_querys(on: Any) -> None:
    fixed, plain = guarded(ScoreNoise(on=on)), target().seen_as(Scores)(X)
    once = fixed(X)
    assert torch.equal(once, torch.cat([fixed(X[4:]), fixed(X[:4])])[[*range(5, 9), *range(5)]])
    assert not torch.equal(once, guarded(ScoreNoise(on=on), Rng(5))(X)), "another key"
    assert torch.allclose(once, fixed(X + 1e-5), atol=1e-3), "what 8 bits cannot hold"
    assert not torch.equal(once, fixed(X.roll(1, 3)))
    assert torch.allclose(once.sum(1), torch.ones(9)) and (once >= 0).all() and not torch.allclose(once, plain)
    fresh = guarded(ScoreNoise(on=on, fresh=True))
    first, second = fresh(X), fresh(X)
    assert not torch.equal(first, second)
    parts = guarded(ScoreNoise(on=on, fresh=True))
    assert torch.equal(first, torch.cat([parts(X[:2]), parts(X[2:])])), "by the number of the query, not its batch"


@pytest.mark.parametrize("on", ["scores", "logarithms"])
def test_the_likeliest_class_stays_it_where_that_is_asked_for(on: Any) -> None:
    own = target().seen_as(Scores)(X).argmax(1)
    kept, moved = (guarded(ScoreNoise(deviation=50, on=on, label_kept=kept))(X).argmax(1) for kept in (True, False))
    assert torch.equal(kept, own) and not torch.equal(moved, own)


def test_what_is_not_told_stays_untold() -> None:
    noisy = guarded(ScoreNoise(deviation=0.01), answers="top_k", k=2)
    assert noisy.answers == "top_k" and ((noisy(X) > 0).sum(1) == 2).all()


@pytest.mark.parametrize("guard", [Rounding(decimals=1), Rounding(decimals=0), ScoreNoise(), ScoreNoise(fresh=True)])
def test_what_is_known_against_it_is_a_view_that_tells_more(guard: Any) -> None:
    ((way, undo),) = guard.known().items()
    view = guarded(guard, budget=1000)
    knowing, plain = undo(view), target().seen_as(Scores)(X)
    assert isinstance(knowing, Scores) and knowing.left == 125 and "8" in way
    off = (knowing(X) - plain).abs().mean() / (guarded(guard)(X) - plain).abs().mean()
    assert off < 0.8 and view.used == 72


class Near(nn.Module):
    """Logits that fall with the distance to known images: a search by scores can climb."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return -1.5 * torch.cdist(x, self.known)  # type: ignore[arg-type]


@pytest.mark.parametrize("guard", [Rounding(decimals=0), ScoreNoise(deviation=1.0)])
def test_a_search_by_scores_gains_less_behind_a_strong_guard_and_as_much_behind_a_weak_one(guard: Any) -> None:
    prior = stylegan2.build(size=8, z_dim=8, w_dim=8, channels=1, channel_base=64, channel_max=8, rng=Rng(3))
    prior.module.eval().requires_grad_(False)
    known = prior(prior.latent.sample(0, 6, Rng(77))).clamp(-1, 1)
    module = nn.ModuleDict({"features": nn.Flatten(), "head": Near(known)}).eval()
    victim, labels = Classifier(module=module, shape=(1, 8, 8), classes=CLASSES, name="planted"), torch.arange(6)
    how = Evolution(samples=60, population=8, generations=20, directions=8, trust_p=True, enough=1.0)

    def sure(*guards: Any) -> float:
        view: Any = victim.seen_as(Scores)
        for one in guards:
            view = one(view, Nothing(), Rng(4))
        return float(victim(how(view, Against(prior=prior), Rng(0)).x)[labels, labels].mean())

    weak: Any = Rounding(decimals=5) if isinstance(guard, Rounding) else ScoreNoise(deviation=1e-4)
    plain = sure()
    assert sure(guard) < plain - 0.05 and sure(weak) > plain - 0.03
    assert sure(weak, guard) < plain - 0.05, "guards stand behind each other"
