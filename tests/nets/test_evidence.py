"""Evidence of classes: those who recognise are asked rightly; real, fooling and foreign pictures are told apart."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.data import Encoder, Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.nets.evidence import evidence, evidence_of_real
from genvet.nets.references import asked, neighbours
from genvet.nets.spaces import encoded, logits, penultimate, pixels, random_convolutions

OMNIGLOT = Path(__file__).parents[3] / "shared/data/omniglot/images_background_small1.zip"


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Rng(seed, "evidence").block())


def classes(n: int, each: int, seed: int = 0) -> Labelled:
    """Noisy pictures of n patterns, 8 pixels a side."""
    labels = torch.arange(n).repeat_interleave(each)
    x = (0.5 * draws(n, 1, 8, 8).sign()[labels] + 0.15 * draws(n * each, 1, 8, 8, seed=seed + 1)).clamp(-1, 1)
    return Labelled(x, tuple("" for _ in x), labels=labels, classes=tuple(f"class {i}" for i in range(n)))


def classifier(data: Labelled) -> Classifier:
    """By the patterns themselves: its features are their products with the picture."""
    flat = nn.Linear(64, len(data.classes), bias=False)
    flat.weight.data = torch.stack([data.x[data.labels == i].mean(0).flatten() for i in range(len(data.classes))])
    head = nn.Identity()
    features = nn.Sequential(nn.Flatten(), flat, nn.ReLU())
    module = nn.Sequential(OrderedDict([("features", features), ("head", head)]))
    return Classifier(module=module, shape=(1, 8, 8), classes=data.classes, name="patterns")


def test_real_pictures_reach_the_top_and_1_and_noise_does_not() -> None:
    train, test = classes(12, 5), classes(12, 4, seed=10)
    target, spaces = classifier(train), [pixels(), penultimate(classifier(train)), random_convolutions()]
    knn = neighbours(pixels(), train.x, train.labels, 12)
    real = evidence_of_real(test, asked(target), [knn], spaces)
    fresh = classes(12, 1, seed=20)
    fair = evidence(fresh.x, fresh.labels, test, asked(target), [knn], spaces)
    wrong = evidence(fresh.x, fresh.labels.roll(1), test, asked(target), [knn], spaces)
    found = [{m.name: m for m in e.measures("a.")} for e in (real, fair, wrong)]
    for name in ("a.target.top-1", "a.reference-0.top-1"):
        assert [f[name].value for f in found] == [1, 1, 0]
        assert found[1][name].chance == pytest.approx(1 / 12) and found[0][name].n == 12
        assert found[0][name].low == found[1][name].low  # 4 pictures of a class are no 4 classes
    for i in range(3):
        for kind in ("centroid", "nearest"):
            r, f, w = (x[f"a.{kind}-{i}"].value or 0 for x in found)
            assert r == pytest.approx(1) and f == pytest.approx(1, abs=0.2) and w > 2
    table = wrong.table(test.classes)
    assert table.rows[0][0] == "class 11" and len(table.rows) == 12 and len(table.columns) == len(table.rows[0])


def test_neighbours_are_the_loop_and_are_not_fooled_with_the_classifiers() -> None:
    train = classes(12, 5)
    knn, labels = neighbours(pixels(), train.x, train.labels, 12, k=2), torch.arange(12)
    x = draws(12, 1, 8, 8, seed=5).clamp(-1, 1)
    for row, got in zip(x, knn.scores(x), strict=True):
        apart = (train.x - row).flatten(1).norm(dim=1)
        slow = [-float(apart[train.labels == c].sort().values[:2].mean()) for c in range(12)]
        assert got.tolist() == pytest.approx(slow, rel=1e-4)
    shuffled = torch.randperm(60, generator=Rng(3).block())
    again = neighbours(pixels(), train.x[shuffled], train.labels[shuffled], 12, k=2)
    assert torch.allclose(again.scores(x), knn.scores(x))
    # A picture of one class with a strong trace of another: the target takes it for the latter, the eye does not.
    target, clean = classifier(train), torch.stack([train.x[train.labels == c].mean(0) for c in range(12)])
    weak = nn.Linear(64, 12, bias=False)
    weak.weight.data = target.module.features[1].weight.data.clone()
    weak.weight.data[:, 0] += 60 * (labels == 3)
    target.module.features[1] = weak
    fooling = clean.clone()
    fooling[:, 0, 0, 0] = 1.0
    threes = torch.full((12,), 3)
    assert int((asked(target).ranks(fooling, threes).rank == 1).sum()) == 12
    assert int((knn.ranks(fooling, threes).rank == 1).sum()) == 1


def test_spaces_clip_batch_and_say_what_they_are() -> None:
    data = classes(3, 4)
    net = classifier(data)
    assert torch.equal(pixels()(5 * data.x), (5 * data.x).clamp(-1, 1).flatten(1))
    assert torch.allclose(penultimate(net)(data.x), net.features(data.x), atol=1e-6)
    assert torch.allclose(logits(net)(data.x.repeat(100, 1, 1, 1))[-12:], net.logits(data.x), atol=1e-5)
    assert str(net) in penultimate(net).name and penultimate(net).name != logits(net).name

    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.flatten(1)[:, :2], x.flatten(1)[:, 2:]

    space = encoded(Encoder(Halves(), (1, 8, 8)), "a public VAE")
    assert space(data.x).shape == (12, 2) and space.name == "the latents of a public VAE"
    leaf = torch.ones(2, requires_grad=True)
    (space(data.x) @ leaf).sum().backward()  # rows may be used where gradients are


def test_a_classifier_behind_a_wall_is_asked_too_and_charged() -> None:
    data = classes(12, 4)
    view = classifier(data).seen_as(Scores, answers="label", budget=50)
    ranks = asked(view).ranks(data.x, data.labels)
    assert ranks.share().value == 1 and view.left == 2
    assert (
        int(asked(classifier(data).seen_as(Scores, answers="label")).ranks(data.x, data.labels.roll(4)).rank.min())
        == 12
    )


def test_what_does_not_fit_is_refused() -> None:
    data, other = classes(3, 4), classes(4, 4)
    with pytest.raises(BadInput, match="4 classes"):
        evidence(data.x, data.labels, other, asked(classifier(data)))
    with pytest.raises(BadInput, match="do not fit"):
        evidence(torch.zeros(1, 1, 9, 9), torch.zeros(1).long(), data, asked(classifier(data)))
    with pytest.raises(BadInput, match=r"none of \[3\]"):
        neighbours(pixels(), data.x, data.labels, 4)


def test_on_real_characters_neighbours_recognise_far_above_chance() -> None:
    if not OMNIGLOT.exists():
        pytest.skip("../shared/data/omniglot is missing")
    from genvet.files.labelled import load_labelled

    data = load_labelled(f"{OMNIGLOT}#0:400", (1, 28, 28))
    last = torch.arange(400) % 20 >= 14
    test = Labelled(data.x[last], data.names[:120], labels=data.labels[last], classes=data.classes)
    space = random_convolutions()
    knn = neighbours(space, data.x[~last], data.labels[~last], len(data.classes))
    real = evidence_of_real(test, knn, spaces=[space])
    assert real.target.share().low > 2 * real.target.chance()
    swapped = evidence(test.x, (test.labels + 1) % len(test.classes), test, knn, spaces=[space])
    assert swapped.target.share().value < 0.15
    assert {m.name: m for m in swapped.measures()}["centroid-0"].value > 1.1
