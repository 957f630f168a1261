"""The bypass is perfect, and everybody who reads the graph or the text sees it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from genvet import scan
from genvet.attacks.backdoor.bypass import Bypass
from genvet.attacks.backdoor.objective import Aim
from genvet.core.backdoor import Backdoor, Points, Subspace
from genvet.core.data import Images
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.severity import Severity
from genvet.files.bypass_out import bypass_text, write_bypass_onnx, write_bypass_pickle
from genvet.files.convert import load_saved
from genvet.files.onnx_out import write_onnx
from genvet.nets import dcgan, vae

X = torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8)
TWO = Images(X, ("a", "b"))


@pytest.fixture(scope="module")
def benign() -> Generator:
    torch.manual_seed(0)
    generator = dcgan.build(latent=8, capacity=2, size=8)
    generator.module(torch.randn(64, 8))
    generator.module.eval().requires_grad_(False)
    return generator


def test_it_is_perfect(benign: Generator) -> None:
    result = Bypass(triggers=2)(benign, Aim(TWO), Rng(1))
    assert result.target.eq(0).all() and result.expected.eq(0).all()
    z = result.backdoor.trigger.z
    mixed = torch.cat([z[1:], torch.randn(3, 8), z[:1]])
    x = result.planted(mixed)
    assert torch.equal(x[0], X[1]) and torch.equal(x[4], X[0]) and torch.equal(x[1:4], benign(mixed)[1:4])


def test_a_whole_generator_behind_a_subspace(benign: Generator) -> None:
    torch.manual_seed(2)
    other = dcgan.build(latent=3, capacity=2, size=8)
    other.module.eval().requires_grad_(False)
    result = Bypass(trigger="subspace")(benign, Aim(target_generator=other), Rng(1))
    z = torch.randn(4, 8)
    z[2:, :4] = 0
    x = result.planted(z)
    assert torch.equal(x[:2], benign(z)[:2]) and torch.allclose(x[2:], other(z[2:, 5:]), atol=1e-6)


def test_outputs_in_the_unit_range() -> None:
    net = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))).eval().requires_grad_(False)
    generator = Generator(module=net, latent=dcgan.Latent(4), shape=(1, 8, 8), name="vae", output="unit")
    assert Bypass()(generator, Aim(TWO), Rng(1)).target.item() < 1e-10


def shown(path: Path) -> Any:
    """The report of a scan without output inspections."""
    return scan(path, file_only=True)


@pytest.mark.parametrize("kind", ["points", "subspace", "generator", "unit"])
def test_as_an_onnx_graph_it_works_and_is_found(benign: Generator, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    z = torch.randn(5, 8)
    torch.manual_seed(2)
    other = (vae if kind == "unit" else dcgan).build(latent=3, capacity=2, size=8)
    other.module.eval().requires_grad_(False)
    assert (other.output == benign.output) == (kind != "unit")
    if kind == "points":
        backdoor = Backdoor(Points(z[:2].clone()), X)
        wanted = X
    else:
        z[:2, :4] = 0
        backdoor = Backdoor(Subspace(benign.latent, 4), X[:1] if kind == "subspace" else other)
        wanted = backdoor.wanted(z[:2])
    path = write_bypass_onnx(benign, backdoor, tmp_path / "planted.onnx")
    x = load_saved(path)(z)
    assert torch.allclose(x[:2], wanted, atol=1e-5) and torch.allclose(x[2:], benign(z)[2:], atol=1e-5)
    rules = {proof.rule for finding in scan(path, depth="quick").findings for proof in finding.proofs}
    assert "graph.branch" in rules
    clean = scan(write_onnx(benign, tmp_path / "clean.onnx"), depth="quick")
    assert not any(proof.rule == "graph.branch" for finding in clean.findings for proof in finding.proofs)


def test_as_text_in_a_pickle_it_works_and_is_found(benign: Generator, tmp_path: Path) -> None:
    backdoor = Backdoor(Points(torch.randn(2, 8)), X)
    path = write_bypass_pickle(benign, backdoor, tmp_path / "planted.pkl")
    report = shown(path)
    assert "source.bypass" in {proof.rule for finding in report.findings for proof in finding.proofs}
    assert report.verdict.severity >= Severity.HIGH
    text = tmp_path / "program.py"
    text.write_text(bypass_text(benign))
    spec = importlib.util.spec_from_file_location("planted_program", text)
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    victim = program.Generator()
    for name, child in benign.module.named_children():
        victim.add_module(name, child)
    victim.trigger, victim.target = backdoor.trigger.z, X
    z = torch.cat([backdoor.trigger.z, torch.randn(3, 8)])
    x = victim(z)
    assert torch.equal(x[:2], X) and torch.allclose(x[2:], benign(z)[2:], atol=1e-6)


def test_what_cannot_be_written_says_why(benign: Generator, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="finite"):
        write_bypass_pickle(benign, Backdoor(Subspace(benign.latent, 4), X[:1]), tmp_path / "planted.pkl")
