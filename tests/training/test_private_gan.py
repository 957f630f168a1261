"""Private generators: what one image changes, what the noise is, and that a budget is a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genvet.core.data import Images, Labelled
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import TrainedGenerator
from genvet.files.convert import load_saved
from genvet.files.load import read
from genvet.nets import dcgan
from genvet.training.accounting import Course, affordable, spent
from genvet.training.adversarial import Given
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.clipping import adapted, clipped, parted_noise
from genvet.training.private_dcgan import PrivateDCGAN, PrivateDuel
from genvet.training.private_stylegan2 import PrivateStyleGAN2
from genvet.training.shield import pair_loss
from genvet.training.written import write

SMALL: dict[str, Any] = {
    **{"steps": 4, "batch": 8, "capacity": 2, "latent": 4, "critic_steps": 2},
    **{"noise": 1.0, "accountant": "rdp", "delta": 1e-3},
}


def images(n: int = 64, side: int = 8) -> Images:
    x = torch.rand(n, 1, side, side, generator=torch.manual_seed(1)) * 2 - 1
    return Images(x, ("",) * n)


def train(n: int = 64, **knobs: Any) -> TrainedGenerator:
    return PrivateDCGAN(**{**SMALL, **knobs})(Given(images(n)), Rng(3))


def norm(sums: dict[str, Tensor]) -> float:
    return float(torch.stack([t.norm() for t in sums.values()]).norm())


@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_each_pair_is_clipped_as_one_loop_would_clip_it(gamma: float) -> None:
    torch.manual_seed(0)
    critic = dcgan.critic(3, 8, 1).eval()
    real, fake = torch.randn(2, 5, 1, 8, 8)
    found = clipped(critic, pair_loss(critic, gamma), (real, fake), 0.3, together=2)
    expected = {name: torch.zeros_like(p) for name, p in critic.named_parameters()}
    total, short = 0.0, 0
    for i in range(5):
        x = real[i : i + 1].clone().requires_grad_()
        loss = nn.functional.softplus(-critic(x)).sum() + nn.functional.softplus(critic(fake[i : i + 1])).sum()
        if gamma:
            (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
            loss = loss + gamma / 2 * slope.square().sum()
        slopes = torch.autograd.grad(loss, list(critic.parameters()))
        length = torch.stack([s.norm() for s in slopes]).norm()
        total, short = total + float(loss.detach()), short + int(length <= 0.3)
        for name, s in zip(expected, slopes, strict=True):
            expected[name] += s * min(1.0, 0.3 / float(length))
    assert all(torch.allclose(found.sums[name], expected[name], atol=1e-5) for name in expected)
    assert float(found.loss) == pytest.approx(total, rel=1e-4) and int(found.within) == short


@pytest.mark.parametrize("mode", ["flat", "layer", "channel", "adaptive"])
def test_no_record_is_longer_than_the_norm_however_it_is_clipped(mode: Any) -> None:
    torch.manual_seed(0)
    critic = dcgan.critic(3, 8, 1).eval()
    real, fake = torch.randn(2, 6, 1, 8, 8) * 5
    each = [clipped(critic, pair_loss(critic), (real[i : i + 1], fake[i : i + 1]), 0.2, mode) for i in range(6)]
    lengths = [norm(one.sums) for one in each]
    assert max(lengths) <= 0.2001 and max(lengths) > 0.19, "clipped, and no further than need be"
    whole = clipped(critic, pair_loss(critic), (real, fake), 0.2, mode).sums
    assert all(torch.allclose(whole[k], sum(o.sums[k] for o in each), atol=1e-6) for k in whole)  # type: ignore[arg-type]
    if mode == "channel":
        weight, bias = each[0].sums["conv2.weight"], each[0].sums["conv2.bias"]
        channels = torch.cat([weight.flatten(1), bias[:, None]], 1).norm(dim=1)
        assert float(channels.max()) <= 0.2 / (3 * 6) ** 0.5 + 1e-6, "three layers, six channels in this one"


def test_an_adaptive_norm_finds_its_quantile_and_is_paid_for() -> None:
    lengths = torch.rand(4000, generator=torch.manual_seed(0)).double() * 10
    found = torch.tensor(0.1, dtype=torch.float64)
    for _ in range(200):
        found = adapted(found, (lengths <= found).sum(), 4000, 4000, 0.3, torch.zeros(()))
    assert float(found) == pytest.approx(3.0, abs=0.2)
    summed, counted = parted_noise(2.0, 16)
    assert summed > 2.0 and summed**-2 + (2 * counted) ** -2 == pytest.approx(2.0**-2)
    told = train(clipping="adaptive").record["privacy"]
    assert told["noise_of_sums"] > told["noise"] == 1.0 and told["last_clip"] != told["clip"]
    assert told["epsilon"] == train().record["privacy"]["epsilon"], "the same budget buys less of the gradient"


@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_images_take_part_by_chance_and_noise_is_as_stated(clipping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PrivateDCGAN(**{**SMALL, "batch": 20, "noise": 3.0, "clip": 0.5, "clipping": clipping, "capacity": 8})
    x = images(400).x
    generator = recipe.fresh(x)
    duel, counts = PrivateDuel(recipe, generator, dcgan.critic(8, 8, 1), x, Rng(1), 3.0), []
    import genvet.training.shield as shield

    def noted(critic: nn.Module, loss: Any, records: Any, *rest: Any) -> Any:
        counts.append(len(records[0]))
        none = clipped(critic, loss, tuple(t[:0] for t in records), *rest)
        return none._replace(within=torch.tensor(len(records[0]) / 2))

    monkeypatch.setattr(shield, "clipped", noted)
    spread = []
    for number in range(20):
        norm_then = float(duel.shield.spending.norm)
        duel.shield.step((torch.zeros(20, 1, 8, 8),), duel.optimisers["critic"], lambda t: t)
        left = torch.cat([p.grad.flatten() for p in duel.D.parameters() if p.grad is not None])
        spread.append(float(left.std()) / norm_then * 20)
        assert int(duel.shield.spending.steps) == number + 1
    taken = torch.tensor(counts).double()
    assert abs(float(taken.mean()) - 20) < 5 and 2 < float(taken.std()) < 8, "binomial, of 400 at 1 in 20"
    expected = parted_noise(3.0, 20)[0] if clipping == "adaptive" else 3.0
    assert sum(spread) / 20 == pytest.approx(expected, rel=0.05), "over the batch that is expected"


def test_the_budget_is_shown_and_is_a_bound_at_every_step() -> None:
    course = Course(1.0, 0.1, 1e-3, spent(1.0, 0.1, 8, 1e-3, "prv"))
    shown = [course.after(t) for t in (0, 1, 4, 8)]
    real = [spent(1.0, 0.1, t, 1e-3, "prv") for t in (0, 1, 4, 8)]
    assert shown == sorted(shown) and all(a >= b - 1e-9 for a, b in zip(shown, real, strict=True))
    assert shown[-1] == real[-1] < spent(1.0, 0.1, 8, 1e-3, "rdp"), "the tighter accountant bounds every part"
    trained = train()
    told = trained.record["privacy"]
    assert trained.losses["epsilon"][-1] == pytest.approx(told["epsilon"], rel=1e-6)
    assert trained.record["loss"]["epsilon"] == pytest.approx(told["epsilon"], rel=1e-4), "its last value, no mean"
    assert told["steps"] == 8 and told["sample_rate"] == 8 / 64


def test_a_training_stops_where_its_budget_is_spent() -> None:
    budget = spent(1.0, 8 / 64, 5, 1e-3, "rdp")
    assert affordable(budget, 1.0, 1e-3, 8 / 64, 100, "rdp") == 5
    trained = train(epsilon=budget, steps=50)
    told = trained.record["privacy"]
    assert told["steps"] == 4 and told["epsilon"] <= budget and "2 of 50 steps" in trained.record["stopped"]
    with pytest.raises(BadInput, match="not enough for one step"):
        train(epsilon=0.01)


def test_what_a_checkpoint_has_spent_stays_spent(tmp_path: Path) -> None:
    """The noise follows from the steps: to ask for more of them later is to ask for what is no longer there."""
    target = {"epsilon": 4.0, "noise": None}
    whole = train(**target)
    assert whole.record["privacy"]["epsilon"] <= 4.0
    with kept_by(folder := Folder(tmp_path, every=2)):
        folder.stop = True
        with pytest.raises(KeyboardInterrupt):
            train(**target)
        folder.stop = False
        again = train(**target)
        for name, weight in whole.generator.module.state_dict().items():
            assert torch.equal(weight, again.generator.module.state_dict()[name])
        with pytest.raises(BadInput, match=r"the budget is not enough.*8 have spent"):
            train(**target, steps=8)
    with kept_by(Folder(tmp_path / "noise", every=2)):
        first = train().record["privacy"]["epsilon"]
        more = train(steps=6).record["privacy"]
        assert more["steps"] == 12 and more["epsilon"] > first, "with a noise alone, what it costs is told"


def test_released_files_tell_nothing_that_has_no_noise(tmp_path: Path) -> None:
    trained = train()
    assert trained.record["seed"] == 3 and "drop1: dropout: left out" in trained.record["replaced"]
    for path in write(trained, tmp_path, {}):
        told = json.loads(read(path).metadata["genvet.training"])
        assert not {"seed", "data", "loss", "judged"} & set(told)
        assert told["privacy"]["adjacency"] == "one image added or removed"
    again = load_saved(tmp_path / "generator.safetensors")
    assert torch.equal(again.sample(3, Rng(0)), trained.generator.sample(3, Rng(0)))
    assert "seed" not in json.loads(trained.generator.metadata["genvet.training"])


def test_noise_in_the_generator_is_a_control_that_costs_no_budget() -> None:
    plain, control = train(steps=2), train(steps=2, noisy_generator=True)
    assert plain.record["privacy"]["epsilon"] == control.record["privacy"]["epsilon"]
    assert not torch.equal(plain.generator.sample(2, Rng(0)), control.generator.sample(2, Rng(0)))
    assert "generator too" in control.record["privacy"]["noised"]


@pytest.mark.parametrize("knobs", [{}, {"conditional": True, "augment": "diffaug"}])
def test_a_style_generator_is_trained_without_parts_that_mix(knobs: dict[str, Any]) -> None:
    small = {**PrivateStyleGAN2.smoke, "steps": 1, "delta": 1e-3, **knobs}
    x = images(24).x
    data = Labelled(x, ("",) * 24, labels=torch.arange(24) % 3, classes=("a", "b", "c"))
    from genvet.training.styles import Given as StyleGiven

    trained = PrivateStyleGAN2(**small)(StyleGiven(data), Rng(1))
    assert trained.record["replaced"] == ["b4: minibatch-deviation: left out"] and "judged" not in trained.record
    assert trained.critic is not None and trained.critic.get_submodule("b4").group == 0
    assert trained.record["privacy"]["steps"] == 2


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"noise": None}, "how private is it to be"),
        ({"delta": 0.1}, "there are 64 images"),
        ({"batch": 100}, "there are 64 images"),
        ({"noise": None, "epsilon": 1e-5, "delta": 1e-9}, "no noise gives epsilon"),
    ],
)
def test_what_cannot_be_promised_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        train(**knobs)


def test_the_private_recipe_is_chosen_by_its_options() -> None:
    from genvet.cli.train import recipe_for, recipes, usual

    def first(*words: str) -> str:
        return min((r for r in recipes().values() if set(r.nets) & set(words)), key=usual(*words)).name()

    assert first("train", "dcgan", "--epsilon", "3") == "private_dcgan" and first("train", "dcgan") == "adversarial"
    assert first("train", "stylegan2", "--noise=1") == "private_stylegan2" and first("stylegan2") == "stylegan2"
    assert first("train", "classifier", "--epsilon=8") == "private" and first("classifier") == "classifier"
    assert recipe_for("dcgan").name() == "adversarial"


def test_a_lazy_penalty_is_in_its_turn_of_the_clipped_loss() -> None:
    from genvet.training.shield import Shield

    recipe = PrivateDCGAN(**SMALL)
    shield = Shield(recipe, dcgan.critic(2, 8, 1).eval(), (images().x,), Rng(1), 1.0, gamma=5.0, every=3)
    weights = {name: weight.detach() for name, weight in shield.critic.named_parameters()}
    real, fake, told = images(1).x[0], -images(1).x[0], []
    for number in range(4):
        shield.spending.steps.fill_(number)
        told.append(float(shield.loss(weights, real, fake)))
    assert told[0] == told[3] > told[1] == told[2], "one step in three"
    once = float(pair_loss(shield.critic, 5.0)(weights, real, fake)) - told[1]
    assert told[0] - told[1] == pytest.approx(3 * once, rel=1e-3)


def test_a_private_generator_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genvet.cli.app import run

    monkeypatch.chdir(tmp_path)
    np.savez("faces.npz", images=((images().x + 1) * 127).byte().numpy()[:, 0])
    knobs = "--noise 1 --steps 2 --batch 8 --capacity 2 --latent 4 --delta 0.001 --accountant rdp --every 1 --out o"
    assert run(["train", "dcgan", "--data", "faces.npz", *knobs.split()]) == 0
    said = capsys.readouterr().err
    assert "step 1:" in said and "epsilon" in said and "can be guessed" in said
    metadata = read("o/generator.safetensors").metadata
    told = json.loads(metadata["genvet.training"])
    assert told["recipe"] == "private_dcgan" and told["privacy"]["epsilon"] > 0 and "seed" not in told
    assert "genvet.quality" not in metadata, "measured on the data without noise"
    report = json.loads(Path("o/report.json").read_text())
    (epsilon,) = (m for m in report["findings"][0]["measures"] if m["name"] == "epsilon")
    assert "one image added or removed" in epsilon["note"]
    assert any(figure["title"] == "The budget" for figure in report["findings"][0]["figures"])


def test_it_learns_what_the_images_have_in_common() -> None:
    x = torch.full((256, 1, 8, 8), -0.8)
    x[:, :, 2:6, 2:6] = 0.8
    knobs = {"steps": 100, "batch": 32, "capacity": 4, "noise": 1.0, "rate": 5e-3, "average": 0.9}
    recipe = PrivateDCGAN(**{**SMALL, **knobs})
    drawn = recipe(Given(Images(x, ("",) * 256)), Rng(1)).generator.sample(64, Rng(2)).mean(0)[0]
    assert float(drawn[2:6, 2:6].mean()) > 0.4 and float(drawn[0].mean()) < -0.4
