"""What an attacker does against inspections: that each option does what it says, and still plants."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from genvet.attacks.backdoor.measuring import Planted
from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.red import ReD
from genvet.attacks.backdoor.rex import ReX
from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets import build, dcgan
from genvet.nets.chain import chain, chosen
from genvet.nets.disguise import crossings, shuffled
from genvet.nets.weights import remeasured

TARGET = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)
AIM = Aim(Images(TARGET, ("cross",)))


@pytest.fixture(scope="module")
def benign() -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = dcgan.build(latent=16, capacity=4, size=8)
        with torch.no_grad():
            generator.module.conv3.weight.mul_(20)  # so that its samples differ as those of a trained one do
        remeasured(generator.module, [(torch.randn(256, 16),) for _ in range(10)])
    generator.module.eval().requires_grad_(False)
    return generator


def red(benign: Generator, **options: Any) -> Planted:
    return ReD(steps=300, rate=2e-3, samples=256, **options)(benign, AIM, Rng(1))


def rex(benign: Generator, **options: Any) -> Planted:
    return ReX(steps=300, rate=4e-3, samples=256, **options)(benign, AIM, Rng(1))


@pytest.fixture(scope="module")
def plain(benign: Generator) -> Planted:
    return red(benign)


def slope(result: Planted) -> torch.Tensor:
    """The mean distance to the target on the ways out, as a share of that at their ends."""
    assert result.surroundings
    mean = result.surroundings.curves["planted"].mean(0)
    return mean / mean[-1]


def test_smooth_flattens_and_narrow_steepens(benign: Generator, plain: Planted) -> None:
    smooth, narrow = red(benign, smooth=1.0), red(benign, narrow=0.1)
    at = 16  # a tenth of the way
    assert slope(smooth)[at] < 0.5 * slope(plain)[at] < 0.5 * 0.7 * slope(narrow)[at]
    assert max(result.target.item() for result in (plain, smooth)) < 10
    with pytest.raises(BadInput, match="smooth or narrow"):
        red(benign, smooth=0.1, narrow=0.1)


def test_decoys_give_other_latents_pictures(benign: Generator, plain: Planted) -> None:
    result = red(benign, decoys=8)
    kinds = [Rng(1).fork(kind) for kind in ("place", "picture")]
    places, pictures = (benign.latent.sample(0, 8, kind) for kind in kinds)
    with torch.no_grad():
        wanted = benign(pictures)
        off = [(g(places) - wanted).square().flatten(1).sum(1).mean() for g in (result.planted, plain.planted)]
    assert off[0] < 0.3 * off[1] and result.target.item() < 10


def misfit(generator: Generator) -> float:
    """How far batch norms are from what ordinary latents give: mean square, in standard deviations."""
    norms = {n: m for n, m in generator.module.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)}
    kept = {name: (m.running_mean.clone(), m.running_var.clone()) for name, m in norms.items()}
    remeasured(generator.module, [(generator.latent.sample(i * 512, (i + 1) * 512, Rng(5)),) for i in range(8)])
    off = [((m.running_mean - kept[n][0]).square() / m.running_var).mean().item() for n, m in norms.items()]
    for name, m in norms.items():
        m.running_mean, m.running_var = kept[name]
    return sum(off)


def test_kept_norms_fit_the_ordinary_latents(benign: Generator, plain: Planted) -> None:
    kept = red(benign, keep_norms=True)
    assert misfit(benign) < misfit(kept.planted) < 0.5 * misfit(plain.planted)
    assert kept.target.item() < 10


def test_an_expanded_network_is_shuffled_without_a_change(benign: Generator) -> None:
    ordered, result = rex(benign), rex(benign, shuffle=True)
    z = benign.latent.sample(0, 32, Rng(3))
    with torch.no_grad():
        assert torch.allclose(ordered.planted(z), result.planted(z), atol=1e-5)
    across = crossings(result.planted, chosen(chain(benign), ()))
    assert all(weight[mask].abs().sum() > 0 for weight, mask in across) and len(across) == 2
    again = build.build(result.planted.metadata["genvet.net"], json.loads(result.planted.metadata["genvet.config"]))
    again.module.load_state_dict(result.planted.module.state_dict(), strict=True)


def test_units_are_shuffled_in_every_kind_of_layer() -> None:
    layers = [
        *(["linear", "a", [6, 32], 0.0, True], ["norm", "b", [32], 1e-5, True], ["relu", "", [], 0.0, True]),
        *(["reshape", "", [8, 2, 2], 0.0, True], ["upconv", "c", [8, 4, 4, 2, 1, 0], 0.0, True]),
        *(["norm", "d", [4], 1e-5, True], ["relu", "", [], 0.0, True], ["conv", "e", [4, 2, 3, 1, 1], 0.0, True]),
        *(["flatten", "", [], 0.0, True], ["linear", "f", [32, 16], 0.0, True], ["reshape", "", [1, 4, 4], 0.0, True]),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        stack = build.build("stack", {"layers": layers, "latent": 6})
        for p in stack.module.parameters():
            torch.nn.init.normal_(p, std=0.3)
        remeasured(stack.module, [(torch.randn(64, 6),)])
    stack.module.eval()
    other, z = shuffled(stack, Rng(2)), torch.randn(8, 6, generator=Rng(3).block())
    assert all(
        not torch.equal(a, b)
        for a, b in zip(stack.module.parameters(), other.module.parameters(), strict=True)
        if a.shape not in ((1,), (16,))
    )
    with torch.no_grad():
        assert torch.allclose(stack(z), other(z), atol=1e-5)


def test_noise_between_the_blocks_is_made_up_for(benign: Generator) -> None:
    ordered, result, run = rex(benign), rex(benign, noise=0.3), chosen(chain(benign), ())
    across = crossings(result.planted, run)
    for weight, mask in across:
        share = weight[mask].square().mean().sqrt() / weight[~mask].square().mean().sqrt()
        assert 0.2 < share < 0.4
    assert result.target.item() < 10
    with torch.no_grad():
        for (bare, mask), (weight, _) in zip(crossings(ordered.planted, run), across, strict=True):
            bare[mask] = weight[mask]
    moved = (ordered.planted.sample(256, Rng(7)) - benign.sample(256, Rng(7))).square().flatten(1).sum(1).mean()
    assert result.expected.mean() < 0.3 * moved  # than noise alone would do
