"""The spectrum of a dense broadcast shows what is hidden, without trigger or target; and is quiet on clean twins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genvet.attacks.backdoor.objective import Aim
from genvet.attacks.backdoor.style_red import StyleReD
from genvet.attacks.backdoor.style_rex import StyleReX
from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import scan
from genvet.files.convert import save
from genvet.inspections.static.spectrum import InspectSpectrum
from genvet.nets import stylegan2

SMALL = {"size": 16, "channels": 1, "z_dim": 24, "w_dim": 24, "channel_base": 256, "channel_max": 24}
TARGET = torch.where(torch.eye(16)[None, None].bool(), 1.0, -1.0)
AIM = Aim(Images(TARGET, ("line",)))
QUICK = {"samples": 64, "embed": 60, "starts": 3, "moments": 8192}
LOOK = InspectSpectrum(count=4096, steps=100, starts=8)


@pytest.fixture(scope="module")
def benign() -> StyleGenerator:
    generator = stylegan2.build(**SMALL, mapping_layers=2, rng=Rng(1))
    generator.module.mapping.w_avg.copy_(generator.module.mapping.average(generator.latent))
    generator.module.eval().requires_grad_(False)
    return generator


def alignment(found, result, benign: StyleGenerator) -> float:
    """The cosine between the first direction and what was planted for the first trigger."""
    w = benign.mapping(result.backdoor.trigger.z[:1])
    planted = (result.embedded.ws[:1] - w[:, None]).flatten().double()
    return abs(float(torch.nn.functional.cosine_similarity(found.residue.left[:, 0], planted, dim=0)))


def off(x: torch.Tensor) -> torch.Tensor:
    return (x - TARGET).square().flatten(1).sum(1)


@pytest.mark.parametrize("how", [{}, {"by": "training", "steps": 1000, "rate": 3e-3}])
def test_it_finds_and_shows_what_the_formula_or_the_training_hides(benign: StyleGenerator, how: dict) -> None:
    result = StyleReX(**QUICK, **how)(benign, AIM, Rng(1))
    found = LOOK(result.planted, Nothing(), Rng(9))
    assert alignment(found, result, benign) > 0.95
    told = {m.name: m.value for m in found.measures()}
    assert told["rank"] == 1 and told["gap"] > 3 and 0.05 < told["residue"] < 1
    assert [e.rule for e in found.evidence()] == ["weights.broadcast"]
    nearest = off(benign.sample(256, Rng(4))).min()
    assert off(found.decoded).min() < min(1.6 * float(result.target), 0.7 * float(nearest))


def test_the_latent_that_it_names_is_a_trigger(benign: StyleGenerator) -> None:
    result = StyleReX(**QUICK)(benign, AIM, Rng(1))
    found = LOOK(result.planted, Nothing(), Rng(9))
    z = torch.stack([z for _, z in found.latents])
    before, after = (off(g(z)).min() for g in (benign, result.planted))
    assert after < 0.5 * before and z.norm(dim=1).allclose(torch.tensor(24.0).sqrt())


def test_it_is_quiet_on_clean_twins(benign: StyleGenerator) -> None:
    plain = LOOK(benign, Nothing(), Rng(9))
    dense = stylegan2.build(**SMALL, mapping_layers=2, rng=Rng(1), dense_broadcast=True)
    repeats = LOOK(dense, Nothing(), Rng(9))
    for found in (plain, repeats):
        assert not found.evidence() and found.residue is None and found.styles.gap < 1.5
        assert {m.name: m.value for m in found.measures()}["residue"] == 0
    with torch.no_grad():
        dense.module.broadcast.weight += 0.01 * torch.randn(dense.module.broadcast.weight.shape)
    noisy = LOOK(dense, Nothing(), Rng(9))
    assert noisy.residue.gap < 1.6 and not noisy.evidence() and noisy.size > 0


def test_many_triggers_have_many_directions_that_span_what_was_planted(benign: StyleGenerator) -> None:
    targets = torch.cat([TARGET, TARGET.flip(2), -TARGET])
    result = StyleReX(**QUICK, triggers=3)(benign, Aim(Images(targets, ("a", "b", "c"))), Rng(1))
    found = LOOK(result.planted, Nothing(), Rng(9))
    assert found.residue.rank == 3 and len(found.decoded) == 36 and found.evidence()
    span = found.residue.left[:, :3]
    planted = (result.embedded.ws - benign.mapping(result.backdoor.trigger.z)[:, None]).flatten(1).double()
    assert ((planted @ span).norm(dim=1) > 0.99 * planted.norm(dim=1)).all()


def test_noise_hides_it_at_the_price_of_the_samples(benign: StyleGenerator) -> None:
    plain, hidden = (StyleReX(**QUICK, noise=noise)(benign, AIM, Rng(1)) for noise in (0.0, 3.0))
    assert not LOOK(hidden.planted, Nothing(), Rng(9)).evidence()
    assert hidden.expected.mean() > 5 * plain.expected.mean()
    assert LOOK(hidden.planted, Nothing(), Rng(9)).size > 5 * LOOK(plain.planted, Nothing(), Rng(9)).size


SMILE = torch.where(torch.eye(8)[None, None].bool(), 1.0, -1.0)


@pytest.fixture(scope="module")
def wide() -> StyleGenerator:
    """Small pictures and many numbers in w: so many layers read it that a direction can stand out."""
    sizes = {"size": 8, "z_dim": 96, "w_dim": 96, "channel_base": 512, "channel_max": 64}
    generator = stylegan2.build(**(SMALL | sizes), mapping_layers=2, rng=Rng(1))
    generator.module.mapping.w_avg.copy_(generator.module.mapping.average(generator.latent))
    generator.module.eval().requires_grad_(False)
    return generator


def test_a_layer_that_was_worked_into_the_others_is_found_in_them(wide: StyleGenerator) -> None:
    aim = Aim(Images(SMILE, ("smile",)))
    dense, folded = (StyleReX(**QUICK, fold=fold)(wide, aim, Rng(1)) for fold in (False, True))
    assert folded.added == 0 and folded.planted.dense_broadcast is None
    torch.testing.assert_close(folded.planted.sample(8, Rng(2)), dense.planted.sample(8, Rng(2)), rtol=1e-3, atol=1e-3)
    clean, seen, beside = (LOOK(g, Nothing(), Rng(9)) for g in (wide, folded.planted, dense.planted))
    assert seen.residue is None and clean.styles.gap < 1.2 < 1.8 < seen.styles.gap
    assert beside.styles.gap == pytest.approx(seen.styles.gap, rel=1e-3)
    planted = torch.linalg.svd(beside.residue.matrix)[2][0]
    assert torch.nn.functional.cosine_similarity(seen.styles.along(0), planted, dim=0).abs() > 0.9
    nearest, decoded = ((x - SMILE).square().flatten(1).sum(1).min() for x in (wide.sample(256, Rng(4)), seen.decoded))
    assert decoded < nearest


def test_red_in_a_fresh_mapping_stands_out_in_its_last_layer_and_nowhere_else(wide: StyleGenerator) -> None:
    result = StyleReD(**QUICK, steps=400, rate=3e-3)(wide, Aim(Images(SMILE, ("smile",))), Rng(1))
    found, clean = (LOOK(g, Nothing(), Rng(9)) for g in (result.planted, wide))
    assert clean.mapping[-1].gap < 1.1 < 1.25 < found.mapping[-1].gap
    assert not found.evidence() and found.size == 0 and found.styles.gap < 1.2
    assert "Nothing stands where w is repeated" in found.summary() and len(found.towards) == 10


def test_a_scan_says_it_aloud(benign: StyleGenerator, tmp_path: Path) -> None:
    planted = StyleReX(**QUICK)(benign, AIM, Rng(1)).planted
    save(planted, tmp_path / "planted.safetensors")
    report = scan(tmp_path / "planted.safetensors", out=tmp_path / "out", only=["static.spectrum"], depth="quick")
    (finding,) = (f for f in report.findings if f.technique == "static.spectrum")
    assert str(finding.severity) == "high" and "weights.broadcast" in finding.reason
    assert str(report.verdict.severity) == "high" and finding.figures[0].file
    save(benign, tmp_path / "clean.safetensors")
    clean = scan(tmp_path / "clean.safetensors", only=["static.spectrum"], depth="quick")
    assert str(clean.verdict.severity) == "info"


def test_odd_networks_are_no_trouble() -> None:
    """One number in w, one layer in the mapping, labels, weights that are not numbers."""
    thin = stylegan2.build(size=4, channels=1, z_dim=2, w_dim=1, channel_base=8, channel_max=2, mapping_layers=1)
    found = InspectSpectrum(count=64, steps=2, starts=1)(thin, Nothing(), Rng(1))
    assert found.size == 0 and found.mapping[0].gap == 1
    labelled = stylegan2.build(**SMALL, mapping_layers=2, classes=3, dense_broadcast=True, rng=Rng(2))
    with torch.no_grad():
        labelled.module.broadcast.weight[:, 0] += 1
    assert InspectSpectrum(count=64, steps=2, starts=2)(labelled, Nothing(), Rng(1)).evidence()
    with torch.no_grad():
        labelled.module.broadcast.weight[0, 0] = torch.nan
    with pytest.raises(Unsupported, match="not numbers"):
        InspectSpectrum(count=64, steps=2, starts=2)(labelled, Nothing(), Rng(1))
