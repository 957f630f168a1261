"""Attacks that know the defence, each beside the plain one at the same budget, on classes that are known points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.inversion.evolution import Evolution
from genvet.attacks.inversion.inverted import Against
from genvet.attacks.inversion.label_only import LabelOnly
from genvet.attacks.inversion.mirror import Mirror
from genvet.attacks.inversion.mirror_black_box import MirrorBlackBox
from genvet.core.classifier import Classifier
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.technique import Nothing
from genvet.defences.query.rounding import Rounding
from genvet.defences.query.score_noise import ScoreNoise
from genvet.nets import stylegan2
from genvet.nets.looking_again import LookingAgain

PRIOR = stylegan2.build(size=8, z_dim=8, w_dim=8, channels=1, channel_base=64, channel_max=8, rng=Rng(3))
PRIOR.module.eval().requires_grad_(False)
LABELS = torch.arange(6)


class Near(nn.Module):
    """Logits that fall with the distance to known images."""

    def __init__(self, known: Tensor, steep: float) -> None:
        super().__init__()
        self.steep = steep
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return -self.steep * torch.cdist(x, self.known)  # type: ignore[arg-type]


def planted(steep: float = 1.5) -> tuple[Classifier, Tensor]:
    known = PRIOR(PRIOR.latent.sample(0, 6, Rng(77))).clamp(-1, 1)
    module = nn.ModuleDict({"features": nn.Flatten(), "head": Near(known, steep)}).eval()
    return Classifier(module=module, shape=(1, 8, 8), classes=tuple("abcdef"), name="planted"), known


def off(x: Tensor, steep: float = 1.5) -> float:
    """How far images are from the classes that they are to show."""
    return float((x - planted(steep)[1]).flatten(1).norm(dim=1).mean())


def searched(how: Any, guard: Any, seed: int = 0) -> float:
    """How far its images end from the classes, at 4,000 queries for six labels, whatever they are spent on."""
    view: Any = planted()[0].seen_as(Scores, budget=4000)
    found = how(guard(view, Nothing(), Rng(9)), Against(prior=PRIOR), Rng(seed))
    assert found.asked <= 4000
    return off(found.x)


def test_looks_are_counted_and_their_mean_is_told() -> None:
    target, known = planted()
    view = target.seen_as(Scores, budget=100)
    again = LookingAgain(view, 4, 0.1, Rng(1))
    assert isinstance(again, Scores) and again.left == 25
    told = again(known)
    assert again.used == view.used == 24 and again.left == 19 and torch.allclose(told.sum(1), torch.ones(6))
    parts = LookingAgain(target.seen_as(Scores), 4, 0.1, Rng(1))
    assert torch.allclose(told, torch.cat([parts(known[:2]), parts(known[2:])]), atol=1e-6)
    shares = LookingAgain(target.seen_as(Scores, answers="label"), 50, 0.8, Rng(1))(known)
    assert ((shares > 0) & (shares < 1)).any(), "a bare label becomes a share"


def test_noise_that_follows_from_the_image_is_left_whole_by_repeats_and_not_by_jitter() -> None:
    target, known = planted()
    known = (known + known.roll(1, 0)) / 2  # where two classes are as likely, noise shows
    plain = target(known)

    def error(looks: int, jitter: float, **how: Any) -> float:
        noisy = ScoreNoise(deviation=0.2, on="logarithms", label_kept=False, **how)(
            target.seen_as(Scores), Nothing(), Rng(2)
        )
        return float((LookingAgain(noisy, looks, jitter, Rng(1))(known) - plain).abs().mean())

    assert error(64, 0.0) == pytest.approx(error(1, 0.0), rel=0.02), "the same image, the same noise"
    assert error(64, 0.02) < 0.3 * error(1, 0.0)
    assert error(64, 0.0, fresh=True) < 0.3 * error(1, 0.0, fresh=True)


USUAL: dict[str, Any] = {"samples": 300, "generations": 500, "trust_p": True, "enough": 1.0, "c": 4.0, "moments": 2000}
EVOLVED = Evolution(**USUAL, population=10, directions=8)
BRED = MirrorBlackBox(**USUAL, population=20, mutation=0.3)


@pytest.mark.parametrize(
    ("search", "guard", "knowing"),
    [
        (EVOLVED, Rounding(decimals=0), {"looks": 8, "jitter": 0.3}),
        (BRED, ScoreNoise(fresh=True), {"looks": 8}),
        (BRED, ScoreNoise(), {"looks": 8, "jitter": 0.05}),
    ],
)
def test_looking_again_comes_nearer_behind_a_guard_at_the_same_budget(search: Any, guard: Any, knowing: Any) -> None:
    """Breeding, that is, where there is noise: CMA-ES averages it away by itself, over its population."""
    plain, knows = ([searched(how, guard, s) for s in (0, 1)] for how in (search, search.model_copy(update=knowing)))
    assert sum(knows) < 0.9 * sum(plain), (plain, knows)


def test_breeding_looks_again_too() -> None:
    """Behind bare labels: the share of looks that show the label is a score to climb by, where one look has none."""
    view = [planted()[0].seen_as(Scores, answers="label", budget=9000) for _ in range(2)]
    how = {"samples": 300, "population": 10, "generations": 100, "trust_p": True, "c": 4.0, "enough": 1.0}
    runs = [MirrorBlackBox(**{**how, "mutation": 0.3, **more}) for more in ({}, {"looks": 10, "jitter": 0.4})]
    plain, knows = (off(run(one, Against(prior=PRIOR), Rng(0)).x) for run, one in zip(runs, view, strict=True))
    assert knows < 0.9 * plain, (plain, knows)


def test_labels_alone_do_not_mind_rounding_or_noise_that_keeps_the_label() -> None:
    how, found = LabelOnly(samples=100, rounds=15, points=8, radius=0.5), []
    for guard in (None, Rounding(decimals=3), ScoreNoise(deviation=0.3), ScoreNoise(deviation=0.3, fresh=True)):
        view: Any = planted(3.0)[0].seen_as(Scores)
        view = guard(view, Nothing(), Rng(9)) if guard else view
        # The first sample is chosen by scores; from there on, labels alone count.
        found.append(off(how(view, Against(prior=PRIOR), Rng(0)).x, 3.0))
    assert max(found) < 1.2 * found[0], found


def test_a_target_that_is_too_sure_is_inverted_by_its_logits() -> None:
    """Negative smoothing leaves probabilities of 1 and no slope of the cross-entropy; the logit still has one."""
    target, _ = planted(60.0)
    usual = {"samples": 100, "restarts": 2, "steps": 60, "rate": 0.1, "moments": 2000, "trust_p": True, "c": 4.0}
    plain, knows = (
        off(Mirror(**{**usual, "dropout": False, "loss": loss})(target, Against(prior=PRIOR), Rng(0)).x, 60.0)
        for loss in ("cross-entropy", "logit")
    )
    assert knows < 0.5 * plain, (plain, knows)
