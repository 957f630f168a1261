"""Private training: gradients are clipped one by one, noise is what was stated, and epsilon never stands alone."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from genvet.cli.training_report import measures
from genvet.core.data import Labelled
from genvet.core.errors import BadInput, Unsupported
from genvet.core.rng import Rng
from genvet.files.classifiers import load_classifier
from genvet.files.load import read
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given
from genvet.training.private import Guarded, Private
from genvet.training.supervision import Lessons
from genvet.training.written import write

pytest.importorskip("opacus", reason="the extra `privacy` is not installed")
KNOBS: dict[str, Any] = {"steps": 60, "batch": 128, "capacity": 4, "rate": 1e-2, "average": 0.8, "held_out": 0.2}


def digits() -> Labelled:
    bunch = load_digits()
    x, labels = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, torch.from_numpy(bunch.target)
    return Labelled(x, ("",) * len(x), labels=labels, classes=tuple("0123456789"))


def train(**knobs: Any) -> Any:
    return Private(**{**KNOBS, **knobs})(Given(digits()), Rng(0))


def pupil(**knobs: Any) -> Guarded:
    data, recipe = digits(), Private(**{**KNOBS, "noise": 1.0, **knobs})
    with Rng(1).seeded():
        found = recipe.pupil(recipe.fresh(data), Lessons(data.x, data.labels, torch.arange(1000)), Rng(0))
    assert isinstance(found, Guarded)
    return found


@pytest.mark.parametrize("family", ["cnn", "allconv", "mixer"])
def test_clipped_sums_are_those_of_opacus(family: Any) -> None:
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    rows = torch.arange(0, 1000, 90)
    one, other = (pupil(family=family, clip=0.7, together=together) for together in (3, 64))
    moved = [pupil(family=family, together=together, shift=0.2) for together in (3, 64)]
    for learner in moved:
        torch.manual_seed(5)
        learner.step(0)
    for first, second in zip(*(learner.network.parameters() for learner in moved), strict=True):
        assert torch.allclose(first, second, atol=1e-5), "images are moved alike, however many are in memory at once"
    theirs = GradSampleModule(copy.deepcopy(one.network), loss_reduction="sum")
    optimiser = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), 1.0), noise_multiplier=0.0, max_grad_norm=0.7, expected_batch_size=12
    )
    x = one.lessons.x[rows].clone().requires_grad_()
    F.cross_entropy(theirs(x), one.lessons.labels[rows], reduction="sum").backward()
    optimiser.clip_and_accumulate()
    summed = dict(theirs.named_parameters())
    for ours in (one.summed(rows, 0)[0], other.summed(rows, 0)[0]):
        for name, slope in ours.items():
            assert torch.allclose(slope, summed[f"_module.{name}"].summed_grad, atol=2e-5), name
    alone = one.summed(rows[:1], 0)[0].values()
    assert torch.stack([slope.norm() for slope in alone]).norm() <= 0.7001


def test_images_take_part_by_chance_and_noise_is_as_stated() -> None:
    learner, counts = pupil(noise=3.0, clip=0.5, batch=50), []
    plain = learner.summed

    def noted(rows: Tensor, number: int) -> Any:
        counts.append(len(rows))
        sums, loss = plain(rows, number)
        return {name: torch.zeros_like(slope) for name, slope in sums.items()}, loss

    learner.summed = noted  # type: ignore[method-assign]
    for number in range(40):
        learner.step(number)
    spread = torch.tensor(counts).double()
    assert abs(float(spread.mean()) - 50) < 4 and 4 < float(spread.std()) < 11, "binomial, of 1,000 at 1 in 20"
    left = torch.cat([p.grad.flatten() for p in learner.network.parameters() if p.grad is not None])
    assert float(left.std()) == pytest.approx(3.0 * 0.5 / 50, rel=0.1), "over the batch that is expected"


def test_a_step_without_any_image_is_noise_alone() -> None:
    trained = train(batch=2, steps=30, noise=1.0)
    assert torch.isfinite(trained.losses["classifier"]).all() and (trained.losses["classifier"] == 0).any()


def test_epsilon_is_kept_to_and_never_stands_alone(tmp_path: Path) -> None:
    trained = train(epsilon=3.0, delta=1e-4)
    told = trained.record["privacy"]
    assert 2.98 < told["epsilon"] <= 3.0 and told["delta"] == 1e-4 and told["sampling"] == "Poisson"
    assert told["adjacency"] == "one image added or removed" and told["accountant"].startswith("RDP of Opacus")
    assert told["steps"] == 60 and told["sample_rate"] == pytest.approx(128 / 1438)
    (measure,) = (m for m in measures(trained) if m.name == "epsilon")
    assert "delta 0.0001" in measure.note and "added or removed" in measure.note and "RDP" in measure.note
    (path,) = write(trained, tmp_path, {})
    published = json.loads(read(path).metadata["genvet.training"])
    assert published["privacy"] == told and published["recipe"] == "private" and published["accuracy"] > 0
    assert not {"seed", "data", "loss"} & set(published), "what would let a reader take the noise away again"
    assert torch.equal(load_classifier(path)(digits().x[:3]), trained.classifier(digits().x[:3]))


def test_epsilon_of_known_settings() -> None:
    """Abadi et al. 2016, Fig. 2: q 0.01, sigma 4, delta 1e-5, 10,000 steps came to 1.26; later proofs are tighter."""
    found = [
        Private(noise=noise, batch=100, steps=10_000).promised(10_000)["privacy"]["epsilon"] for noise in (4, 2, 1)
    ]
    assert 0.9 < found[0] < 1.27 and found[0] < found[1] < found[2]


def test_much_noise_costs_what_it_protects() -> None:
    weak, strong = train(noise=0.3, steps=100), train(noise=30.0, steps=100)
    assert weak.record["accuracy"] > 0.7 and strong.record["accuracy"] < 0.5
    assert strong.record["privacy"]["epsilon"] < 0.5 < weak.record["privacy"]["epsilon"]


def test_it_is_resumed_to_the_same_bit(tmp_path: Path) -> None:
    whole = train(steps=6, noise=1.0)
    with kept_by(folder := Folder(tmp_path, every=3)):
        folder.stop = True  # after the step that it is in
        with pytest.raises(KeyboardInterrupt):
            train(steps=6, noise=1.0)
        folder.stop = False
        again = train(steps=6, noise=1.0)
    for name, weight in whole.classifier.module.state_dict().items():
        assert torch.equal(weight, again.classifier.module.state_dict()[name])


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"family": "resnet", "noise": 1.0}, "has batch norms; expected cnn, allconv or mixer"),
        ({"family": "vgg", "noise": 1.0}, "has batch norms"),
        ({}, "how private is it to be"),
        ({"noise": 1.0, "epsilon": 1.0}, "how private is it to be"),
        ({"noise": 1.0, "delta": 0.01}, "there are 1438 images"),
        ({"noise": 1.0, "batch": 2000}, "there are 1438 images"),
        ({"epsilon": 1e-5, "delta": 1e-9}, "no noise gives epsilon"),
        ({"noise": 1.0, "shuffled": True}, "epsilon would not hold"),
    ],
)
def test_what_cannot_be_promised_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        train(**knobs)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(Unsupported, match="privacy") as refused:
        train(epsilon=3.0)
    assert "genvet[privacy]" in str(refused.value.hint)
