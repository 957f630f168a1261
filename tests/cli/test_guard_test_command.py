"""`genvet guard-test URL` against a real service: exit codes, comparison, and what it says where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from serve.serving import Served, classifier, generator, live

from genvet.cli import main
from genvet.core.report import Report
from genvet.core.rng import Rng
from genvet.remote import KEY

THIEF = ("--attacker", "adversarial:steps=2,batch=8,capacity=2,latent=4")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(url: str, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["guard-test", url, "--budget", "1000", *THIEF, *words])
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, str]]:
    """A service that clients may send latents, looked at only for how typical they are."""
    (tmp_path / "service").mkdir()
    with live(tmp_path / "service", budget=100_000) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        yield served, url


def saved(path: Path, seed: int) -> Path:
    np.savez(path, images=(generator().sample(40, Rng(seed)).permute(0, 2, 3, 1).numpy() * 127 + 128).astype("uint8"))
    return path


def test_a_report_of_a_service_and_what_it_compares_with(run: Run, served: tuple[Served, str], tmp_path: Path) -> None:
    """The policy refuses far latents; an earlier report in which fewer were answered says that exposure rose."""
    code, out, _ = run(served[1], "--out", "first", "--json")
    report = Report.model_validate_json(out)
    assert code == 0 and report.verdict.complete and served[0].key not in out
    assert [f.technique for f in report.findings] == ["endpoint", "honest", "borders", "extraction.fidelity"]
    of = {m.name: m for f in report.findings for m in f.measures}
    assert of["answered"].value == 1 and of["far-100.answered"].value == 0 and of["repeated.answered"].value == 1
    assert of["latency.p50"].value is not None and "A service was attacked" in Path("first/report.html").read_text()
    old = json.loads(Path("first/report.json").read_text())
    for finding in old["findings"]:
        for measure in finding["measures"]:
            if measure["name"] == "repeated.answered":
                measure.update(value=0.1, low=0.0, high=0.2)
    Path("old.json").write_text(json.dumps(old))
    code, _, err = run(served[1], "--out", "third", "--compare", "old.json")
    assert code == 1 and "exposure rose: one latent is answered again and again" in err
    assert "rose" in Path("third/report.html").read_text()


def test_what_fails_the_build(run: Run, served: tuple[Served, str], tmp_path: Path) -> None:
    """A thing found at or above --fail-on wins; a comparison that lost what it compares is incomplete."""
    sets = ["--members", str(saved(tmp_path / "in.npz", 1)), "--non-members", str(saved(tmp_path / "out.npz", 2))]
    assert run(served[1], *sets, "--fail-on", "low", "--out", "sets")[0] == 1
    code, _, err = run(served[1], "--compare", "sets/report.json", "--out", "fewer")
    assert code == 2 and "not compared: membership.nearest auc: not measured now" in err


def test_a_service_that_draws_its_latents_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").mkdir()
    with live(tmp_path / "service", budget=100_000, policy={"latents": {"source": "server"}}) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        code, out, _ = run(url, "--json")
        report = Report.model_validate_json(out)
        assert code == 0 and report.verdict.complete
        assert [f.technique for f in report.findings] == ["endpoint", "honest", "extraction.fidelity"]
        assert {gap.technique for gap in report.not_checked if gap.reason == "not_applicable"} == {
            "borders",
            "membership.latent_recovery_black_box",
        }


def test_a_budget_that_ends_leaves_what_was_measured(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").mkdir()
    with live(tmp_path / "service", budget=150) as (served, url):
        monkeypatch.setenv(KEY, served.key)
        code, out, err = run(url, "--json")
        report = Report.model_validate_json(out)
        assert (Path(f"genvet-guard-test-{url[7:].replace(':', '-')}") / "report.json").is_file()
        assert code == 2 and not report.verdict.complete and "not complete (budget)" in err
        assert report.findings[1].technique == "honest"
        assert served.store.clients()[0].used <= 150


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.safetensors"], "no address of a service"),
        (["https://user:word@host"], "no address of a service"),
        (["http://127.0.0.1:1"], "gave no answer"),
    ],
)
def test_bad_input(run: Run, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    code, _, err = run(*words)
    assert code == 2 and said in " ".join(err.split())
    assert not list(Path().glob("genvet-*"))


def test_no_key_and_no_generator(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").mkdir()
    with live(tmp_path / "service", classifier()) as (served, url):
        monkeypatch.setenv(KEY, "genvet_no")
        code, _, err = run(url)
        assert code == 2 and "wants a key" in err
        monkeypatch.setenv(KEY, served.key)
        code, _, err = run(url)
        assert code == 2 and "generator" in err
