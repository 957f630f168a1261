"""What was added to weights is of low rank and gives its direction away; what was only pruned or shaken is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.rex import ReX
from genvet.core.data import Images
from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import assess, scan
from genvet.engine.running import measured
from genvet.files.convert import save
from genvet.inspections.static.residue import Given, InspectResidue, Residues, tiled
from genvet.maths.spectra import changed_direction
from genvet.nets import dcgan, vae
from genvet.nets.first_layer import first_layer

TRIGGER = torch.nn.functional.normalize(torch.randn(40, generator=Rng(7).block()), dim=0)


@pytest.fixture(scope="module")
def clean() -> Generator:
    """Its norms know its weights, but for the noise of batches."""
    torch.manual_seed(0)
    generator = dcgan.build(latent=40, capacity=32, size=8)
    norm, own = generator.module.norm0, generator.module.dense.weight.detach().square().sum(1)
    norm.running_var.copy_(own * (1 + 0.02 * torch.randn(len(own))))
    generator.module.eval()
    return generator


def planted(generator: Generator, size: float = 0.15) -> Generator:
    """Rank 1 is added to the first layer, this share of its norm, and the norms stay."""
    changed = replace(generator, module=copy.deepcopy(generator.module))
    weight = changed.module.dense.weight
    with torch.no_grad():
        added = torch.outer(torch.randn(len(weight), generator=Rng(8).block()), TRIGGER)
        weight += added * size * weight.norm() / added.norm()
    return changed


def pruned(generator: Generator, share: float = 0.5) -> Generator:
    changed = replace(generator, module=copy.deepcopy(generator.module))
    for layer in (m for m in changed.module.modules() if isinstance(m, nn.Linear | nn.ConvTranspose2d)):
        with torch.no_grad():
            layer.weight[layer.weight.abs() < layer.weight.abs().flatten()[:100_000].quantile(share)] = 0
    return changed


def values(generator: Generator, given: Given | None = None) -> tuple[dict[str, float | None], Residues]:
    result, finding = measured(InspectResidue(), generator, given)
    assert isinstance(result, Residues)
    return {m.name: m.value for m in finding.measures}, result


def alike(a: Tensor, b: Tensor) -> float:
    return abs(float(a.double() @ b.double())) / float(a.norm() * b.norm())


def test_norms_give_the_trigger_away_without_a_reference(clean: Generator) -> None:
    for honest in (clean, pruned(clean)):
        found, _ = values(honest)
        assert found["spike"] < 1.5 and found["gap"] < 1.4 and found["first"] is None, found
    found, result = values(planted(clean))
    assert found["spike"] > 2 and found["gap"] > 1.6
    assert result.spike is not None and alike(result.spike.direction, TRIGGER) > 0.9
    assert result.x.shape == (2, 1, 8, 8)


def test_a_reference_shows_rank_one_and_its_direction(clean: Generator) -> None:
    _, result = values(planted(clean, 0.01), Given(clean))
    rest = {r.name: r for r in result.residues}
    assert set(rest) == {"dense"} and rest["dense"].first > 0.99 and rest["dense"].size == pytest.approx(0.01, rel=0.01)
    assert alike(rest["dense"].direction, TRIGGER) > 0.999
    found, _ = values(pruned(clean), Given(clean))
    assert found["first"] < 0.5
    same, _ = values(clean, Given(clean))
    assert same["first"] is None


def test_the_part_that_keeps_to_itself_shows_the_trigger() -> None:
    torch.manual_seed(0)
    benign = vae.build(latent=20, capacity=12, size=8)
    benign.module.eval()
    target = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)
    result = ReX(steps=300, rate=1e-2, width=0.5, samples=16)(benign, Aim(Images(target, ("cross",))), Rng(1))
    found, measured = values(result.planted)
    (part,) = measured.residues
    assert part.against == "the rest of the network" and found["first"] > 0.1
    assert alike(part.direction, result.backdoor.trigger.z[0]) > 0.9
    assert measured.x.shape == (2, 1, 8, 8)
    near = (measured.x - target).square().flatten(1).sum(1).min()
    assert near < 0.5 * (benign.sample(64, Rng(2)) - target).square().flatten(1).sum(1).min()


def test_a_reference_that_does_not_fit(clean: Generator) -> None:
    wider = dcgan.build(latent=40, capacity=33, size=8)
    assert "Other sizes" in values(wider, Given(clean))[1].summary()
    alien = Generator(module=nn.Sequential(nn.Linear(4, 4)), latent=Latent(4), shape=(4,), name="odd")
    with pytest.raises(BadInput, match="shares no layer"):
        values(clean, Given(alien))


def test_an_expanded_broadcast_gives_trigger_and_target_away() -> None:
    """The closed form of the expansion: P = D (S^-1 w)' / (1 + q), with q = w' S^-1 w."""
    d, ways = 32, 4
    root = torch.randn(d, d, generator=Rng(1).block()).double() / (2 * d) ** 0.5
    covariance = root @ root.T + 0.5 * torch.eye(d).double()
    w = torch.linalg.cholesky(covariance) @ torch.randn(d, generator=Rng(2).block()).double()
    target = torch.randn(d * ways, generator=Rng(3).block()).double()
    tiles = torch.eye(d).double().repeat(ways, 1)
    pull = torch.linalg.solve(covariance, w)
    added = torch.outer(target - tiles @ w, pull) / (1 + w @ pull)
    assert (added @ w + tiles @ w - target).norm() < 0.1 * target.norm()
    layers = [nn.Linear(d, d), nn.LeakyReLU(0.2), nn.Linear(d, d * ways, bias=False), nn.Linear(d * ways, 16)]
    module = nn.Sequential(*layers, nn.Unflatten(1, (1, 4, 4)))
    generator = Generator(module=module.eval(), latent=Latent(d), shape=(1, 4, 4), name="style")
    with torch.no_grad():
        module[2].weight.copy_(tiles)
        assert not tiled(generator)
        module[2].weight.copy_(tiles + added)
    _, result = values(generator)
    found = next(r for r in result.residues if r.against != "the rest of the network")
    assert found.against == "a repeated identity" and found.first > 0.9
    assert alike(found.direction, pull) > 0.99


def test_the_direction_is_found_among_correlated_units() -> None:
    mix = torch.randn(30, 30, generator=Rng(4).block()).double() + 2 * torch.eye(30).double()
    before = torch.randn(4000, 30, generator=Rng(5).block()).double() @ mix
    way = torch.nn.functional.normalize(torch.randn(30, generator=Rng(6).block()).double(), dim=0)
    after = before + 0.15 * before.norm() / 4000**0.5 * torch.outer(
        torch.randn(4000, generator=Rng(9).block()).double(), way
    )
    grown = 1 - before.square().sum(1) / after.square().sum(1)
    found = changed_direction(after, grown)
    assert found.strength > 2 and alike(found.direction, way) > 0.8
    noise = changed_direction(before, 0.05 * torch.randn(4000, generator=Rng(10).block()).double())
    assert noise.strength < 1.4


def test_a_transposed_convolution_that_reads_z_is_a_first_layer_too() -> None:
    module = nn.Sequential(
        nn.Unflatten(1, (10, 1, 1)), nn.ConvTranspose2d(10, 24, 4), nn.BatchNorm2d(24), nn.ReLU(),
        nn.ConvTranspose2d(24, 1, 4, 2, 1),
    )  # fmt: skip
    generator = Generator(module=module.eval(), latent=Latent(10, "uniform"), shape=(1, 8, 8), name="dcgan")
    with torch.no_grad():
        x = module[:2](generator.latent.sample(0, 50_000, Rng(0)))
        module[2].running_var.copy_(x.var((0, 2, 3)))
    assert first_layer(generator).change.abs().max() < 0.05 and first_layer(generator).rows.shape == (24 * 16, 10)


def test_a_scan_takes_a_reference_and_its_shelf_tells_references_apart(clean: Generator, tmp_path: Path) -> None:
    for name, generator in (("planted", planted(clean)), ("clean", clean), ("pruned", pruned(clean))):
        save(generator, tmp_path / f"{name}.safetensors")

    def first(reference: Path | Generator | None) -> float | None:
        report = scan(
            tmp_path / "planted.safetensors",
            reference_model=reference,
            only={"static.residue"},
            out=tmp_path / "out",
            device="cpu",
        )
        (found,) = (f for f in report.findings if f.technique == "static.residue")
        return {m.name: m.value for m in found.measures}["first"]

    assert first(tmp_path / "clean.safetensors") > 0.99 and first(clean) > 0.99
    assert first(tmp_path / "pruned.safetensors") < 0.9 and first(None) is None
    save_file({"alone": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="holds no generator"):
        first(tmp_path / "other.safetensors")


def test_nothing_to_compare_with() -> None:
    with pytest.raises(Unsupported):
        assess(InspectResidue(), vae.build(latent=4, capacity=2, size=8))
