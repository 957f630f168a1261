"""MIRROR on planted truth: a classifier whose classes are known points of W is inverted to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.inversion.ami import AMI
from genvet.attacks.inversion.ami import Given as AMIGiven
from genvet.attacks.inversion.best_sample import BestSample
from genvet.attacks.inversion.deep_inversion import DeepInversion
from genvet.attacks.inversion.deep_inversion import Given as DeepGiven
from genvet.attacks.inversion.evolution import Evolution
from genvet.attacks.inversion.gmi import GMI
from genvet.attacks.inversion.gmi import Given as GMIGiven
from genvet.attacks.inversion.inverted import Against, Beside, Inverted
from genvet.attacks.inversion.label_only import LabelOnly
from genvet.attacks.inversion.mi_face import MIFace
from genvet.attacks.inversion.mirror import Mirror
from genvet.attacks.inversion.mirror_black_box import Herd, MirrorBlackBox
from genvet.attacks.inversion.nearest_public import Given as PublicGiven
from genvet.attacks.inversion.nearest_public import NearestPublic
from genvet.attacks.inversion.plug_and_play import PlugAndPlay
from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images, Labelled
from genvet.core.errors import BadInput, BudgetSpent, Unsupported
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.core.scores import told as answered
from genvet.core.technique import Probe
from genvet.maths.crops import cropped
from genvet.nets import classifiers, stylegan2
from genvet.nets.latent_spaces import LatentSpace
from genvet.nets.p_space import PSpace

PRIOR = stylegan2.build(size=8, z_dim=8, w_dim=8, channels=1, channel_base=64, channel_max=8, rng=Rng(3))
PRIOR.module.eval().requires_grad_(False)
CLASSES = ("a", "b", "c", "d", "e", "f")


class Distances(nn.Module):
    """Logits that fall with the distance from one image a class: the classes are known points."""

    def __init__(self, known: Tensor, steep: float) -> None:
        super().__init__()
        self.steep = steep
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return -self.steep * torch.cdist(x, self.known)  # type: ignore[arg-type]


class Darkness(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -20 * x.flatten(1).mean(1, keepdim=True)


def planted(steep: float = 20.0) -> tuple[Classifier, Tensor]:
    """Classes at images of ordinary w, and those images. A steep one is sure of all that comes near."""
    known = PRIOR(PRIOR.latent.sample(0, len(CLASSES), Rng(77))).clamp(-1, 1)
    module = nn.ModuleDict({"features": nn.Flatten(), "head": Distances(known, steep)})
    return Classifier(module=module.eval(), shape=(1, 8, 8), classes=CLASSES, name="planted"), known


def inverted(given: Against | None = None, **knobs: Any) -> Inverted:
    target, _ = planted()
    usual = {"samples": 300, "restarts": 3, "steps": 150, "rate": 0.1, "moments": 2000, "trust_p": True, "c": 4.0}
    return Mirror(**{**usual, "dropout": False, **knobs})(target, given or Against(prior=PRIOR), Rng(0))


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_known_class_is_found(space: str) -> None:
    _, known = planted()
    found = inverted(space=space, loss="logit")
    off = (found.x - known).square().flatten(1).sum(1)
    start = (found.rows["best sample"] - known).square().flatten(1).sum(1)
    apart = torch.cdist(known.flatten(1), known.flatten(1)).square().sum() / 30
    assert (off < 0.2 * start + 1e-3).all() and (off < 0.05 * apart).all(), (off, start)
    assert (found.looks["mirror"].target.rank == 1).all()


def test_the_search_does_not_depend_on_its_batch() -> None:
    runs = [inverted(batch=batch, steps=20, dropout=False, mirror=True) for batch in (2, 32)]
    assert torch.allclose(runs[0].x, runs[1].x, atol=1e-4) and runs[0].asked == runs[1].asked


def test_a_narrow_box_keeps_images_near_the_mean() -> None:
    wide, narrow = (inverted(c=c, steps=40, border="box") for c in (4.0, 0.1))
    assert float(narrow.x.std(0).mean()) < 0.3 * float(wide.x.std(0).mean())


def test_a_prior_of_another_domain_is_told() -> None:
    target, known = planted()
    noise = 0.1 * torch.randn(120, 1, 8, 8, generator=Rng(6).block())
    own = Labelled((PRIOR.sample(120, Rng(8)).clamp(-1, 1)), ("",) * 120, labels=torch.arange(120) % 6, classes=CLASSES)
    labels = target.probabilities(own.x).argmax(1)
    alike = Labelled(own.x, own.names, labels=labels, classes=CLASSES)
    other = Labelled(
        known.repeat(20, 1, 1, 1).sign() * 0.9 + noise, ("",) * 120, labels=torch.arange(120) % 6, classes=CLASSES
    )
    texts = [inverted(Against(prior=PRIOR, private=real), labels="1", steps=1).summary() for real in (alike, other)]
    assert "another domain" not in texts[0] and "another domain" in texts[1]


def test_energy_holds_images_near_ordinary_ones() -> None:
    """The more of it, the nearer to the mean of P the points end."""
    p = PSpace.of(PRIOR, 2000, Rng(1))
    runs = [inverted(border="none", energy=energy, steps=60, consistency=0) for energy in (0.0, 30.0)]
    free, held = (p.energy(run.u[:, 0]).mean() for run in runs)
    assert held < 0.7 * free


def test_without_steps_it_is_the_best_sample() -> None:
    found = inverted(steps=0, border="none", consistency=0)
    assert torch.allclose(found.x, found.rows["best sample"], atol=1e-5)


def test_judges_and_real_images_stand_beside_it() -> None:
    """The classifier itself as a judge agrees; one that was never trained does not; and real images are 1 apart."""
    target, known = planted()
    blind = classifiers.build(CLASSES, 2, 8, 1)
    noise = 0.05 * torch.randn(24, 1, 8, 8, generator=Rng(6).block())
    private = Labelled(
        (known.repeat(4, 1, 1, 1) + noise).flip(0), ("",) * 24, labels=torch.arange(23, -1, -1) % 6, classes=CLASSES
    )
    found = inverted(Against(prior=PRIOR, judges=(target, blind), private=private), labels="1,4", loss="logit")
    assert found.x.shape[0] == 2 and list(found.rows) == ["real", "mirror", "best sample"]
    by = {m.name: m for m in found.measures()}
    assert by["reference-0.top-1"].value == 1 and by["reference-0.top-1"].chance == pytest.approx(1 / 6)
    assert by["reference-2.top-1"].value == 1, "neighbours among the real images"
    assert "2 of 2 labels" in found.summary() and "best of the prior's own samples" in found.summary()
    nearest = by["nearest-1"]
    assert nearest.value is not None and nearest.value < 3 and "random-conv" in nearest.note
    start = by["best-sample.nearest-1"].value
    assert start is not None and nearest.value < start


# By queries alone


def bred(**knobs: Any) -> Inverted:
    target, _ = planted(steep=1.5)
    usual = {"samples": 100, "population": 20, "generations": 25, "moments": 2000, "trust_p": True, "c": 4.0}
    view = target.seen_as(Scores, budget=knobs.pop("budget", None))
    return MirrorBlackBox(**{**usual, "enough": 1.0, **knobs})(view, Against(prior=PRIOR), Rng(0))


def test_breeding_comes_nearer_than_the_best_sample() -> None:
    found, first = bred(mutation=0.3), bred(generations=0)
    target, labels = planted(steep=1.5)[0], torch.arange(6)
    sure, before = (target(one.x)[labels, labels] for one in (found, first))
    assert (sure >= before).all() and float((sure - before).mean()) > 0.05
    assert torch.allclose(first.x, first.rows["best sample"], atol=1e-5), "a wide box leaves the best sample alone"
    assert found.asked == 100 + 6 * 20 * 26, "samples, and every member of every generation"


def test_a_child_takes_more_of_the_better_parent() -> None:
    """Of two parents with scores of 0.9 and 0.1, as the paper writes it: 9 of 10 numbers; as released, 1 of 23."""
    target, _ = planted()
    p = PSpace.of(PRIOR, 500, Rng(1))
    shares = {}
    for crossover in ("paper", "released"):
        how = MirrorBlackBox(mutation=0, c=100, crossover=crossover, population=2)  # type: ignore[arg-type]
        space = LatentSpace(generator=PRIOR, name="w", border="box", c=100, p=p)
        points = torch.stack([torch.zeros(8), torch.ones(8)]).repeat(200, 1)[None]
        herd = Herd(how, space, p, points, torch.tensor([0]), target.seen_as(Scores), Rng(0))
        herd.score = torch.tensor([0.9, 0.1]).double().repeat(200)[None]
        # Parents are drawn by their scores: 0.18 of all pairs differ, and only they are mixed.
        children = herd._children(0, 0)[1:]
        mixed = children[children.std(1) > 0]
        shares[crossover] = float(mixed.mean())
    assert shares["paper"] < 0.3 and shares["released"] > 0.7, "share of the worse parent"


@pytest.mark.parametrize("budget", [None, 900])
def test_evolution_beats_breeding_at_fewer_queries(budget: int | None) -> None:
    target, labels = planted(steep=1.5)[0], torch.arange(6)
    how = Evolution(samples=100, population=10, generations=20, directions=8, trust_p=True, enough=1.0)
    found = how(target.seen_as(Scores, budget=budget), Against(prior=PRIOR), Rng(0))
    assert found.asked <= min(budget or 2000, 100 + 6 * 10 * 20)
    sure, before = (target(x)[labels, labels] for x in (found.x, found.rows["best sample"]))
    assert (sure >= before - 1e-6).all()
    if budget is None:
        bred_sure = target(bred(generations=10, mutation=0.3).x)[labels, labels]
        assert float(sure.mean()) > float(bred_sure.mean())
    else:
        assert "budget of queries" in found.summary()


def test_labels_alone_lead_away_from_the_border() -> None:
    target, labels = planted(steep=1.5)[0], torch.arange(6)
    view = target.seen_as(Scores, answers="label")
    found = LabelOnly(samples=200, rounds=40, points=16, radius=0.5)(view, Against(prior=PRIOR), Rng(0))
    sure, before = (target(x)[labels, labels] for x in (found.x, found.rows["best sample"]))
    assert float(sure.mean()) > float(before.mean()) and (found.looks["label-only"].target.rank == 1).all()


def test_a_budget_ends_it_with_what_there_is() -> None:
    found = bred(budget=1000)
    assert "budget of queries" in found.summary() and 800 < found.asked <= 1000 and found.x.shape == (6, 1, 8, 8)


# Others


def test_every_baseline_is_taken_for_its_label() -> None:
    target, known = planted(steep=3.0)
    given = GMIGiven(prior=PRIOR)
    runs: dict[str, Probe] = {
        "gmi": GMI(steps=150, restarts=2, c=3.0),
        "mi_face": MIFace(steps=300, rate=1.0),
        "plug_and_play": PlugAndPlay(samples=100, candidates=2, steps=20, crops=5),
        "best_sample": BestSample(samples=200),
    }
    for name, attack in runs.items():
        view: Any = target.seen_as(Scores) if name == "best_sample" else target
        found = attack(view, given if name != "mi_face" else Beside(), Rng(0))
        assert isinstance(found, Inverted) and found.x.shape == known.shape and found.asked > 0
        assert (found.looks[found.method].target.rank == 1).float().mean() >= 0.8, name


def test_deep_inversion_fits_what_batch_norms_remember() -> None:
    """Of two classifiers that differ in their memory alone, each gets images of its own brightness."""
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    with Rng(4).seeded():
        module = nn.ModuleDict({"features": nn.Sequential(*layers), "head": nn.Linear(4, 2)}).eval()
    target = Classifier(module=module.requires_grad_(False), shape=(1, 8, 8), classes=("a", "b"), name="cnn")
    brightness = []
    for level in (-0.6, 0.6):
        seen = layers[0](torch.full((1, 1, 8, 8), level) + 0.1 * torch.randn(1, 1, 8, 8, generator=Rng(1).block()))
        layers[1].running_mean, layers[1].running_var = seen.mean((0, 2, 3)), seen.var((0, 2, 3))  # type: ignore[union-attr]
        attack = DeepInversion(labels="0", steps=150, restarts=2, statistics=1.0)
        brightness.append(float(attack(target, DeepGiven(), Rng(0)).x.mean()))
    assert brightness[0] < -0.3 and brightness[1] > 0.3
    with pytest.raises(Unsupported, match="no batch norms"):
        DeepInversion()(planted()[0], DeepGiven(), Rng(0))


def test_a_critic_holds_the_search_back() -> None:
    """A critic that likes dark images alone: the search with it ends darker."""
    target, _ = planted(steep=3.0)
    dark = Critic(Darkness(), (1, 8, 8))
    given = [GMIGiven(prior=PRIOR, critic=critic) for critic in (None, dark)]
    free, held = (GMI(steps=100, weight=0.1)(target, some, Rng(0)).x.mean() for some in given)
    assert held < free - 0.1


def test_the_best_public_image_is_one_of_them() -> None:
    target, known = planted()
    public = Images(torch.cat([torch.rand(5, 1, 8, 8, generator=Rng(2).block()) * 2 - 1, known[:3]]), ("",) * 8)
    found = NearestPublic(labels="0-2")(target.seen_as(Scores), PublicGiven(public=public), Rng(0))
    assert torch.equal(found.x, known[:3]) and found.asked == 8
    assert torch.equal(found.rows["nearest public"], known[:3])


def test_a_network_learns_to_undo_the_target() -> None:
    """Its images of the labels are nearer to the classes than the mean of what it learned from."""
    target, known = planted(steep=1.5)
    x = PRIOR(PRIOR.latent.sample(0, 400, Rng(9))).clamp(-1, 1)
    found = AMI(steps=400, capacity=4, sure=0.5)(
        target.seen_as(Scores), AMIGiven(public=Images(x, ("",) * 400)), Rng(0)
    )
    off = [(image - known).square().flatten(1).sum(1).mean() for image in (found.x, x.mean(0, keepdim=True))]
    assert off[0] < 0.8 * off[1] and found.asked == 400
    assert (found.looks["ami"].target.rank == 1).float().mean() > 0.6


def test_crops_show_what_they_should() -> None:
    x = torch.zeros(2, 1, 8, 8)
    x[:, :, :4, :4] = 1
    corner = cropped(x, 0.25, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.999, 0.999]]))
    assert corner[0].mean() > 0.9 and corner[1].mean() < 0.1


def test_answers() -> None:
    p = torch.tensor([[0.5, 0.2, 0.3]])
    assert torch.equal(answered(p, "top_k", 2), torch.tensor([[0.5, 0.0, 0.3]]))
    target, known = planted()
    view = target.seen_as(Scores, answers="label", budget=7)
    assert torch.equal(view(known), torch.eye(6)) and view.used == 6
    with pytest.raises(BudgetSpent):
        view(known)
    assert view.used == 6, "what is refused is not counted"


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="no class 6"):
        inverted(labels="6")
    other = classifiers.build(("x", "y"), 2, 8, 1)
    with pytest.raises(BadInput, match="other classes"):
        inverted(Against(prior=PRIOR, judges=(other,)), steps=1)
    few = Labelled(torch.zeros(1, 1, 8, 8), ("",), labels=torch.zeros(1, dtype=torch.long), classes=("a",))
    with pytest.raises(BadInput, match="too few real images"):
        inverted(Against(prior=PRIOR, private=few), labels="0-1", steps=1)
    _, known = planted()
    lacking = Labelled(known[[0] * 5 + [2] * 5], ("",) * 10, labels=torch.tensor([0] * 5 + [1] * 5), classes=("a", "c"))
    with pytest.raises(BadInput, match="no private image of the class b"):
        inverted(Against(prior=PRIOR, private=lacking), labels="0-1", steps=1)
    upside_down = Labelled(-known.repeat(4, 1, 1, 1), ("",) * 24, labels=torch.arange(24) % 6, classes=CLASSES)
    with pytest.raises(BadInput, match="does not know real images"):
        inverted(Against(prior=PRIOR, private=upside_down), steps=1)
    with pytest.raises(Unsupported, match="far from normal"):
        inverted(trust_p=False, steps=1)
