"""Attacks on a black box, through a live service: they run unchanged, and find what they find on the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import torch
from serving import generator, live
from torch import nn

from genvet.attacks.extraction.fidelity import Fidelity
from genvet.attacks.extraction.measuring import Beside
from genvet.attacks.membership import nearest
from genvet.attacks.membership.latent_recovery_black_box import LatentRecoveryBlackBox
from genvet.cli import main
from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.report import Report
from genvet.core.rng import Rng
from genvet.engine import measured
from genvet.files.convert import load_saved
from genvet.remote import KEY, RemoteQueries

THIEF = "dense:steps=150,batch=64,width=32,average=0.9,rate=0.002"


class Memory(nn.Module):
    """Gives one of the images that it holds, a little off."""

    def __init__(self, x: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("x", x)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.x[z[:, : len(self.x)].argmax(1)] + 0.02 * z[:, -1].view(-1, 1, 1, 1)  # type: ignore[index]


def images(n: int, seed: int) -> Images:
    x = torch.rand(n, 1, 8, 8, generator=Rng(seed).block()) * 2 - 1
    return Images(x, tuple(f"{seed}-{i}" for i in range(n)))


def told(finding: Any) -> dict[str, float]:
    return {m.name: m.value for m in finding.measures if m.value is not None}


def test_a_theft_takes_as_much_from_a_service_as_from_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(tmp_path, budget=5000) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        theft = Fidelity.model_validate({"attacker": THIEF, "queries": 500, "samples": 200, "clusters": 4})
        there = measured(theft, RemoteQueries(url), Beside(), seed=1)[1]
        spent = served.store.clients()[0].used
        here = measured(theft, generator(), Beside(), seed=1)[1]
    assert told(there) == pytest.approx(told(here), rel=1e-3, abs=1e-4) and there.queries == here.queries == spent


def test_members_are_told_through_a_service_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members, others = images(24, 1), images(100, 2)
    model = Generator(module=Memory(members.x).eval(), latent=Latent(25), shape=(1, 8, 8), name="memory")
    given = nearest.Given(members=members, non_members=others)
    with live(tmp_path, model, budget=5000, policy={"latents": {"source": "server"}}) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        found = measured(nearest.Nearest(samples=400), RemoteQueries(url), given, seed=1)[1]
        assert served.store.clients()[0].used == 400
    aucs = [value for name, value in told(found).items() if "auc" in name]
    assert aucs and max(aucs) > 0.95
    with live(tmp_path / "own", model, budget=50_000) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        search = LatentRecoveryBlackBox.model_validate(LatentRecoveryBlackBox.smoke)
        kind = type(search).gift()(members=members, non_members=others)
        there, here = (measured(search, target, kind, seed=1)[1] for target in (RemoteQueries(url), model))
    assert told(there) == pytest.approx(told(here), rel=1e-3, abs=1e-3)


def test_the_command_takes_an_address_in_place_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--attacker", THIEF.replace("150", "5"), "--queries", "100", "--samples", "40", "--clusters", "2"]
    with live(tmp_path / "s") as (served, url):
        monkeypatch.setenv(KEY, served.key)
        spent = []
        for _ in range(2):
            with pytest.raises(SystemExit) as stop:
                main(["attack", "fidelity", url, *words, "--out", "run", "--json"])
            assert stop.value.code == 0
            report = Report.model_validate_json(capsys.readouterr().out)
            spent.append(served.store.clients()[0].used)
        assert report.target.path == url and spent == [180, 180], "what was answered is not asked for again"
    assert load_saved(tmp_path / "run" / "stolen.safetensors").shape == (1, 8, 8)
