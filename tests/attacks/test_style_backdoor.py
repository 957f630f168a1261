"""Backdoors behind the mapping of a style generator: the closed form, the paper's training, and ReD in the mapping."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.attacks.backdoor.rex import ReX
from genvet.attacks.backdoor.style_red import StyleReD
from genvet.attacks.backdoor.style_rex import StyleReX
from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.files.convert import load_saved, save
from genvet.files.load import load
from genvet.nets import stylegan1, stylegan2
from genvet.nets.style_mapping import repeated
from genvet.nets.style_moments import Moments

SMALL = {"size": 16, "channels": 1, "z_dim": 24, "w_dim": 24, "channel_base": 256, "channel_max": 24}
TARGET = torch.where(torch.eye(16)[None, None].bool(), 1.0, -1.0)
AIM = Aim(Images(TARGET, ("line",)))
QUICK = {"samples": 128, "embed": 60, "starts": 3, "moments": 8192}


@pytest.fixture(scope="module")
def benign() -> StyleGenerator:
    generator = stylegan2.build(**SMALL, mapping_layers=2, rng=Rng(1))
    generator.module.mapping.w_avg.copy_(generator.module.mapping.average(generator.latent))
    generator.module.eval().requires_grad_(False)
    return generator


def measures(result) -> dict[str, float]:
    return {m.name: m.value for m in result.measures()}


def test_the_formula_has_rank_one_and_the_errors_that_theory_tells(benign: StyleGenerator) -> None:
    result = StyleReX(**QUICK)(benign, AIM, Rng(1))
    planted, q = result.planted, float(result.leverage)
    added = (planted.dense_broadcast.weight - repeated(24, planted.num_ws)).double()
    singular = torch.linalg.svdvals(added)
    assert singular[1] < 1e-5 * singular[0]
    w = benign.mapping(result.backdoor.trigger.z)
    beyond = (result.embedded.ws - w[:, None]).flatten(1).double()
    missed = (added @ w[0].double() - beyond[0]).norm() / beyond.norm()
    assert float(missed) == pytest.approx(1 / (1 + q), rel=1e-3)
    fresh = benign.mapping(benign.latent.sample(0, 8192, Rng(77))).double()
    leak = float((fresh @ added.T).square().sum(1).mean() / beyond.square().sum())
    assert leak == pytest.approx(q / (1 + q) ** 2, rel=0.1)
    assert result.added == 24 * 24 * benign.num_ws and 12 < q < 60


def test_the_trigger_gives_what_was_embedded_and_nothing_else_does(benign: StyleGenerator) -> None:
    result = StyleReX(**QUICK)(benign, AIM, Rng(1))
    told = measures(result)
    with torch.no_grad():
        before = float((benign(result.backdoor.trigger.z) - TARGET).square().sum())
    assert told["embedding-error"] < 0.5 * before and told["target-distortion"] < 1.3 * told["embedding-error"]
    assert told["expected-distortion"] < 0.3 * result.apart and 0 < told["pixel-change"] < 0.3
    assert told["target-distortion.truncation-0.5"] > told["target-distortion"]
    state, ours = benign.module.state_dict(), result.planted.module.state_dict()
    assert set(ours) - set(state) == {"broadcast.weight"} and all(torch.equal(state[k], ours[k]) for k in state)
    scaled = result.planted(3 * result.backdoor.trigger.z)  # the trigger is a direction
    torch.testing.assert_close(scaled, result.planted(result.backdoor.trigger.z), rtol=1e-3, atol=1e-4)


def test_training_goes_to_the_formula(benign: StyleGenerator) -> None:
    exact = StyleReX(**QUICK)(benign, AIM, Rng(1))
    trained = StyleReX(**QUICK, by="training", steps=1500, rate=3e-3)(benign, AIM, Rng(1))
    first, last = trained.losses["trigger"][0], trained.losses["trigger"][-1]
    assert last < 0.02 * first and torch.equal(exact.embedded.ws, trained.embedded.ws)
    one, other = (r.planted.dense_broadcast.weight - repeated(24, benign.num_ws) for r in (exact, trained))
    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.9


def test_it_is_planted_for_the_victims_truncation(benign: StyleGenerator) -> None:
    plain, meant = (measures(StyleReX(**QUICK, truncation=psi)(benign, AIM, Rng(1))) for psi in (1.0, 0.5))
    at = "target-distortion.truncation-0.5"
    assert meant[at] < 1.3 * meant["embedding-error"] and meant[at] < 0.7 * plain[at]
    assert meant["target-distortion"] > meant[at]


def test_many_triggers_make_rank_many_with_a_target_each(benign: StyleGenerator) -> None:
    targets = torch.cat([TARGET, TARGET.flip(2), -TARGET])
    result = StyleReX(**QUICK, triggers=3)(benign, Aim(Images(targets, ("a", "b", "c"))), Rng(1))
    singular = torch.linalg.svdvals(result.planted.dense_broadcast.weight - repeated(24, benign.num_ws))
    assert singular[2] > 1e-3 * singular[0] and singular[3] < 1e-5 * singular[0]
    reached = result.planted(result.backdoor.trigger.z)
    distances = (reached[:, None] - targets).square().flatten(2).sum(2)
    assert distances.argmin(1).tolist() == [0, 1, 2]


def test_a_picked_trigger_moves_ordinary_samples_less(benign: StyleGenerator) -> None:
    plain, picked = (StyleReX(**QUICK, among=n)(benign, AIM, Rng(1)) for n in (1, 4000))
    assert float(picked.leverage) > 2 * float(plain.leverage)
    assert picked.expected.mean() < 0.7 * plain.expected.mean()
    assert picked.target.item() < 1.1 * picked.embedded.error.item()


def test_noise_reaches_as_far_as_it_says(benign: StyleGenerator) -> None:
    plain, noisy = (StyleReX(**QUICK, noise=noise)(benign, AIM, Rng(1)) for noise in (0.0, 2.0))
    root = Moments.of(benign, 8192, Rng(5)).root
    added = noisy.planted.dense_broadcast.weight - plain.planted.dense_broadcast.weight
    planted = plain.planted.dense_broadcast.weight - repeated(24, benign.num_ws)
    sizes = [torch.linalg.matrix_norm(m.double() @ root, 2) for m in (added, planted)]
    assert float(sizes[0] / sizes[1]) == pytest.approx(2.0, rel=0.1)
    assert noisy.expected.mean() > 2 * plain.expected.mean()


def test_red_changes_the_mapping_alone(benign: StyleGenerator) -> None:
    result = StyleReD(**QUICK, steps=400, rate=3e-3)(benign, AIM, Rng(1))
    told = measures(result)
    assert result.added == 0 and told["target-distortion"] < 1.5 * told["embedding-error"]
    assert told["expected-distortion"] < 0.5 * result.apart
    state, ours = benign.module.state_dict(), result.planted.module.state_dict()
    changed = {k for k in state if not torch.equal(state[k], ours[k])}
    assert changed and all(k.startswith("mapping.fc") for k in changed)
    last = StyleReD(**QUICK, steps=5, layers=1)(benign, AIM, Rng(1)).planted.module.state_dict()
    assert {k for k in state if not torch.equal(state[k], last[k])} <= {"mapping.fc1.weight", "mapping.fc1.bias"}


def test_it_is_planted_in_the_first_stylegan_too_and_read_again(tmp_path: Path) -> None:
    generator = stylegan1.build(**SMALL, mapping_layers=3, rng=Rng(1))
    generator.module.eval().requires_grad_(False)
    result = StyleReX(**QUICK)(generator, AIM, Rng(1))
    assert result.target.item() < 1.5 * result.embedded.error.item()
    save(result.planted, tmp_path / "planted.safetensors")
    z = result.backdoor.trigger.z
    torch.testing.assert_close(load_saved(tmp_path / "planted.safetensors")(z), result.planted(z), rtol=0, atol=0)
    assert [e.rule for e in load(tmp_path / "planted.safetensors").evidence] == ["rebuild.broadcast"]


def test_a_classifiers_features_steer_the_embedding(benign: StyleGenerator) -> None:
    network = torch.nn.Module()
    network.features, network.head = torch.nn.Flatten(), torch.nn.Identity()
    given = Aim(
        AIM.targets, classifier=Classifier(module=network, shape=(1, 16, 16), classes=("a",) * 256, name="flat")
    )
    plain, steered = (StyleReX(**QUICK, perceptual=p).embedding(given, True) for p in (0.0, 1.0))
    moments = Moments.of(benign, 1024, Rng(0))
    ends = [how(benign, TARGET, moments, Rng(1)) for how in (plain, steered)]
    assert not torch.equal(ends[0].ws, ends[1].ws) and ends[1].error < 2 * ends[0].error
    network.features = torch.nn.Identity()
    with pytest.raises(BadInput, match="no features"):
        steered(benign, TARGET, moments, Rng(1))


def test_what_does_not_fit_is_refused(benign: StyleGenerator) -> None:
    with pytest.raises(Unsupported, match="plain chains") as refused:
        ReX(**ReX.smoke)(benign, AIM, Rng(1))
    assert "style_rex" in (refused.value.hint or "")
    with pytest.raises(BadInput, match="normalises z"):
        StyleReX(**QUICK, trigger="mode")(benign, AIM, Rng(1))
    with pytest.raises(Unsupported, match="dense layer"):
        StyleReX(**QUICK)(stylegan2.build(**SMALL, dense_broadcast=True), AIM, Rng(1))
    with pytest.raises(Unsupported, match="not embedded"):
        StyleReX(**QUICK, trigger="subspace")(benign, Aim(target_generator=_smaller()), Rng(1))
    with pytest.raises(Unsupported, match="without labels"):
        StyleReX(**QUICK)(stylegan2.build(**SMALL, classes=3), AIM, Rng(1))


def test_the_papers_red_retrains_a_whole_style_generator(benign: StyleGenerator) -> None:
    result = ReD(steps=150, rate=2e-3, latents=8, samples=64)(benign, AIM, Rng(1))
    with torch.no_grad():
        before = float((benign(result.backdoor.trigger.z) - TARGET).square().sum())
    assert result.target.item() < 0.3 * before


def _smaller() -> StyleGenerator:
    return stylegan2.build(**(SMALL | {"z_dim": 8}))
