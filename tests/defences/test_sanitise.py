"""Repairs do what they say: units fall silent, students are like their teachers, and what was planted goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.attacks.backdoor.rex import ReX
from genvet.core.backdoor import Backdoor, Points
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Repair
from genvet.defences.sanitise.distil import Distil
from genvet.defences.sanitise.excise import Excise
from genvet.defences.sanitise.forget import Forget
from genvet.defences.sanitise.measuring import compare
from genvet.defences.sanitise.prune import Prune, hidden, lipschitz
from genvet.defences.sanitise.renorm import Renorm
from genvet.nets import dcgan, vae_network
from genvet.nets.distortion import outputs
from genvet.nets.weights import noised

LATENT = 32
TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)


def benign() -> Generator:
    """Its pictures are far from each other, as those of a trained one are."""
    torch.manual_seed(0)
    generator = dcgan.build(latent=LATENT, capacity=8, size=8)
    generator.module(torch.randn(256, LATENT))
    generator.module.eval().requires_grad_(False)
    generator.module.conv3.weight *= 8  # type: ignore[union-attr, operator]
    return generator


@pytest.fixture(scope="module")
def planted() -> tuple[Generator, Backdoor]:
    result = ReD(steps=300, rate=2e-3, samples=64)(benign(), Aim(Images(TARGET, ("t",))), Rng(3))
    assert result.target.mean() < 1 and result.expected.mean() < 5
    return result.planted, result.backdoor


def repaired(repair: Repair, generator: Generator) -> Generator:
    return repair(generator, Nothing(), Rng(7))


def moved(a: Generator, b: Generator) -> float:
    return float((a.sample(200, Rng(9)) - b.sample(200, Rng(9))).square().flatten(1).sum(1).mean())


def at_dense(generator: Generator, z: Tensor) -> Tensor:
    return generator.module[:3](z)  # type: ignore[index]


def test_pruning_silences_the_least_active_units_and_no_others() -> None:
    generator, z = benign(), Latent(LATENT).sample(0, 500, Rng(7).fork("samples"))
    before = at_dense(generator, z)
    after = at_dense(repaired(Prune(share=0.25, samples=500), generator), z)
    silent = (after == 0).all(0)
    assert int(silent.sum()) == before.shape[1] // 4
    activity = before.abs().mean(0)
    assert activity[silent].max() <= activity[~silent].min()
    assert torch.equal(after[:, ~silent], before[:, ~silent])


def test_pruning_nothing_changes_nothing_and_pruning_all_leaves_one_image() -> None:
    generator = benign()
    same = repaired(Prune(share=0.0, layers=("all",), samples=64), generator)
    assert torch.equal(same.sample(5, Rng(0)), generator.sample(5, Rng(0)))
    gone = repaired(Prune(share=1.0, samples=64), generator).sample(5, Rng(0))
    assert torch.equal(gone, gone[:1].expand_as(gone)) and generator.sample(5, Rng(0)).std(0).max() > 0


@pytest.mark.parametrize("criterion", ["weight", "scale", "lipschitz"])
def test_other_criteria_take_the_channel_that_they_are_made_for(criterion: str) -> None:
    """Channel 2 of conv1 has tiny weights, channel 3 a tiny scale, channel 5 is loud."""
    generator = benign()
    conv, norm = generator.module.conv1, generator.module.norm1  # type: ignore[union-attr]
    with torch.no_grad():
        conv.weight[:, 2] *= 1e-3  # type: ignore[index, operator]
        norm.weight[3], norm.weight[5] = 1e-3, 50.0  # type: ignore[index, operator]
    share = 1 / norm.num_features  # type: ignore[operator]
    pruned = repaired(Prune(share=share, layers=("conv1",), criterion=criterion), generator)  # type: ignore[arg-type]
    new = pruned.module.norm1  # type: ignore[union-attr]
    wanted = {"weight": 2, "scale": 3, "lipschitz": 5}[criterion]
    assert (new.weight == 0).nonzero().flatten().tolist() == [wanted]


def test_a_channels_lipschitz_constant_bounds_what_it_does() -> None:
    """Against the slow way: the channel as a matrix of all that it does, on a small circle of pixels."""
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode="zeros", bias=False)
    net = nn.Sequential(nn.Unflatten(1, (3, 4, 4)), layer, nn.ReLU(), nn.Conv2d(4, 1, 1))
    units = hidden(Generator(module=net, latent=Latent(48), shape=(1, 4, 4), name="stack"))["1"]
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0], torch.zeros(3, 4, 4))
    whole = torch.linalg.matrix_norm(jacobian.reshape(4, 16, 48), ord=2)
    # A kernel as a matrix bounds one patch; nine patches overlap in a pixel.
    assert (lipschitz(units) <= whole + 1e-5).all() and (whole <= 3 * lipschitz(units)).all()


def test_a_vae_is_pruned_through_its_biases() -> None:
    generator = vae_network.build(latent=4, capacity=4, size=8)
    nn.init.ones_(generator.module.dense.bias)  # type: ignore[union-attr, arg-type]
    module = repaired(Prune(share=0.5, samples=64), generator).module
    h = module[:2](torch.randn(50, 4))  # type: ignore[index]
    assert int((h == 0).all(0).sum()) >= h.shape[1] // 2


def test_what_cannot_be_pruned_is_told() -> None:
    with pytest.raises(BadInput, match="dense, conv1, conv2 or all"):
        repaired(Prune(layers=("conv3",)), benign())  # the last layer makes the pixels
    net = nn.Sequential(nn.Linear(6, 9), nn.Sigmoid(), nn.Linear(9, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    stack = Generator(module=net, latent=Latent(6), shape=(1, 8, 8), name="mlp")
    with pytest.raises(Unsupported, match=r"0\.5"):
        repaired(Prune(samples=64), stack)
    with pytest.raises(Unsupported, match="no batch norm"):
        repaired(Renorm(samples=256), stack)


def test_renorm_brings_back_the_statistics_that_latents_give() -> None:
    generator = benign()
    with torch.no_grad():
        generator.module.norm1.running_mean += 3  # type: ignore[union-attr, operator]
    again = repaired(Renorm(samples=2048), generator)
    h = again.module[:5](Latent(LATENT).sample(0, 4096, Rng(11)))  # type: ignore[index]
    norm = again.module.norm1  # type: ignore[union-attr]
    torch.testing.assert_close(norm.running_mean, h.mean((0, 2, 3)), atol=0.05, rtol=0.05)  # type: ignore[arg-type]
    assert norm.momentum == generator.module.norm1.momentum  # type: ignore[union-attr]


REPAIRS: dict[str, Repair] = {
    "fresh": Distil(steps=200, rate=3e-3),
    "noised": Distil(start="noised", steps=120, rate=3e-3),
    "forget": Forget(steps=120, rate=3e-3, noise=0.7, rounds=2),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_learning_from_ordinary_outputs_drops_the_trigger(name: str, planted: tuple[Generator, Backdoor]) -> None:
    generator, backdoor = planted
    student = repaired(REPAIRS[name], generator)
    result = compare(generator, student, Rng(1), backdoor=backdoor, clean=benign(), samples=256)
    assert result.hit and result.clean
    assert result.hit.before.mean() < 1 < 20 < result.hit.after.mean()
    stranger = noised(benign().module, 1.0, Rng(5))
    worse = moved(generator, Generator(module=stranger, latent=Latent(LATENT), shape=(1, 8, 8), name="dcgan"))
    assert result.expected.mean() < worse / 4


def test_plain_fine_tuning_forgets_nothing(planted: tuple[Generator, Backdoor]) -> None:
    """Which is why `forget` shakes the weights: without that, the model is its own perfect teacher."""
    generator, backdoor = planted
    same = repaired(Forget(noise=0.0, steps=30, rounds=1), generator)
    assert (outputs(same, backdoor.trigger.z) - TARGET).square().sum() < 2  # type: ignore[union-attr]


def test_the_measures_say_what_they_should() -> None:
    generator = benign()
    z = torch.ones(1, LATENT)
    backdoor = Backdoor(Points(z), TARGET)
    other = Generator(
        module=nn.Sequential(generator.module, Half()), latent=Latent(LATENT), shape=(1, 8, 8), name="half"
    )
    result = compare(generator, other, Rng(1), backdoor=backdoor, clean=generator, samples=50)
    x = generator.sample(50, Rng(1).fork("measured"))
    of = {m.name: m.value for m in result.measures()}
    assert of["expected-distortion"] == pytest.approx(float((x / 2).square().flatten(1).sum(1).mean()), rel=1e-5)
    assert of["expected-distortion.clean"] == pytest.approx(of["expected-distortion"])
    assert of["target-distortion"] == pytest.approx(float((generator(z) / 2 - TARGET).square().sum()), rel=1e-5)
    assert of["target-distortion.before"] == pytest.approx(float((generator(z) - TARGET).square().sum()), rel=1e-5)
    assert of["trigger-to-clean"] == pytest.approx(float((generator(z) / 2).square().sum()), rel=1e-5)
    assert of["changed"] is None
    with pytest.raises(BadInput, match="does not fit"):
        compare(generator, other, Rng(1), clean=dcgan.build(latent=9, capacity=2, size=8), samples=8)


def test_without_a_backdoor_only_the_cost_is_measured() -> None:
    generator = benign()
    result = compare(generator, repaired(Prune(samples=64), generator), Rng(1), samples=50)
    names = {m.name for m in result.measures()}
    assert names == {"expected-distortion", "frechet", "changed"} and "is not known" in result.summary()


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def test_excising_gives_the_benign_network_back() -> None:
    """ReX adds units in a row; cut out, what is left is the network that it began with, number by number."""
    generator = benign()
    result = ReX(steps=3, samples=16)(generator, Aim(Images(TARGET, ("t",))), Rng(3))
    assert result.planted.parameters > 1.5 * generator.parameters
    after = repaired(Excise(), result.planted)
    state, wanted = after.module.state_dict(), generator.module.state_dict()
    assert state.keys() == wanted.keys() and after.metadata == generator.metadata
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)
    with pytest.raises(Unsupported, match="keeps to itself"):
        repaired(Excise(), generator)
