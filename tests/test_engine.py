"""The engine: views, partial reports, resuming, and what is not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from genvet import catalogue, engine
from genvet.core.data import Images
from genvet.core.errors import AccessDenied, BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Call, Evidence, ModelFile
from genvet.core.queries import Gallery, Samples
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result
from genvet.engine import scanning
from genvet.inspections.file import File
from genvet.nets import classifiers


def generator(latent: int = 4) -> Generator:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(latent, 16), nn.ReLU(), nn.Linear(16, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    return Generator(module=module.eval(), latent=Latent(latent), shape=(1, 8, 8), name="mlp")


def model_file(generators: dict[str, Generator] | None = None, **more: Any) -> ModelFile:
    return ModelFile(path="m.pt", sha256="0" * 64, size=1, format="torch-zip", generators=generators or {}, **more)


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Any:
    def scan(model: ModelFile, **options: Any) -> Any:
        monkeypatch.setattr(scanning, "_read", lambda *_: model)
        return engine.scan("m.pt", **options)

    return scan


HOSTILE = {
    "calls": (Call(module="os", name="system", called=True, standing="dangerous", arguments="'id'"),),
    "evidence": (Evidence(rule="call.dangerous", message="os.system would be called", offset=2),),
}


def test_a_hostile_file_is_critical_and_names_the_call():
    finding = engine.assess(File(), model_file(**HOSTILE))
    assert finding.severity == "critical" and "os.system" in finding.summary
    assert finding.proofs[0].rule == "call.dangerous" and finding.proofs[0].offset == 2
    assert finding.reason.startswith("rule call.dangerous")


def test_a_clean_file_is_info():
    finding = engine.assess(File(), model_file())
    assert finding.severity == "info" and "executes nothing" in finding.summary


def test_a_black_box_technique_is_handed_no_weights():
    seen = []

    @dataclass(frozen=True)
    class Seen(Result):
        def summary(self) -> str:
            return "seen"

    class Look(Probe):
        source: ClassVar[str] = "test"

        def __call__(self, target: Samples, given: Nothing, rng: Rng) -> Seen:
            seen.append(target)
            return Seen()

    globals().update(Seen=Seen)  # annotations are looked up in the module
    assert engine.assess(Look(), generator()).access == "Samples"
    assert type(seen[0]) is Gallery and not hasattr(seen[0], "module")
    with pytest.raises(AccessDenied):
        engine.assess(Look(), model_file())


def test_a_file_without_a_generator_is_incomplete_and_says_why(scan):
    report = scan(model_file(not_generators={"": "a critic: images (1, 28, 28) -> one score"}), depth="quick")
    skipped = [n for n in report.not_checked if n.reason == "no_generator"]
    assert skipped and "a critic" in skipped[0].detail and not report.verdict.complete
    alone = scan(model_file(), file_only=True)
    assert alone.verdict.complete and {f.technique for f in alone.findings} >= {"file"}


def test_a_rerun_takes_finished_findings_from_the_folder(scan, tmp_path):
    model = model_file({"": generator()})
    first = scan(model, depth="quick", out=tmp_path)
    again = scan(model, depth="quick", out=tmp_path)
    assert [f.seconds for f in first.findings if f.access != "ModelFile"] == [
        f.seconds for f in again.findings if f.access != "ModelFile"
    ]
    pictures = [f.file for finding in again.findings for f in finding.figures if f.file]
    assert pictures and all((tmp_path / p).is_file() for p in pictures)
    other = scan(model, depth="quick", out=tmp_path, seed=1)
    assert {f.file for x in other.findings for f in x.figures if f.file}.isdisjoint(pictures)
    engine.write(other, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["schema_version"] == 1


def test_an_error_stops_one_inspection_and_an_interrupt_keeps_the_rest(scan, monkeypatch):
    def fails(error: BaseException) -> Any:
        def one(self: Any, target: Any, given: Any, rng: Any) -> Any:
            raise error

        return one

    appearance = catalogue.find("output.appearance").load()
    monkeypatch.setattr(appearance, "__call__", fails(RuntimeError("broken")))
    monkeypatch.setattr(appearance, "gift", classmethod(lambda cls: Nothing))
    report = scan(model_file({"": generator()}), depth="quick")
    assert [(n.technique, n.detail) for n in report.not_checked if n.reason == "error"] == [
        ("output.appearance", "RuntimeError: broken")
    ]
    assert not report.verdict.complete and report.findings
    monkeypatch.setattr(appearance, "__call__", fails(KeyboardInterrupt()))
    report = scan(model_file({"": generator()}, **HOSTILE), depth="quick")
    assert report.verdict.severity == "critical" and not report.verdict.complete
    assert "output.appearance" in {n.technique for n in report.not_checked if n.reason == "interrupted"}


def test_targets_of_the_wrong_shape_are_refused_before_anything_runs(scan, tmp_path):
    with pytest.raises(BadInput, match=r"\(1, 8, 8\)"):
        scan(model_file({"": generator()}), targets=Images(torch.zeros(1, 3, 8, 8), ("t",)), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_classifier_is_a_space_to_search_in(scan):
    few = {"output.reconstruct": {"also": "features", "steps": 5, "restarts": 1}}
    options = {"settings": few, "only": ["output.reconstruct"], "targets": Images(torch.ones(1, 1, 8, 8), ("t",))}
    space = classifiers.build(("a", "b"), capacity=2, size=8)
    space.module.eval().requires_grad_(False)
    finding = scan(model_file({"": generator()}), classifier=space, **options).findings[-1]
    assert finding.technique == "output.reconstruct" and any(".features" in m.name for m in finding.measures)
    with pytest.raises(BadInput, match="do not fit this classifier"):
        scan(model_file({"": generator()}), classifier=classifiers.build(("a", "b"), size=12), **options)


def test_folders(scan, tmp_path):
    with pytest.raises(BadInput, match="holds no files"):
        list(engine.scan_folder(tmp_path))
    (tmp_path / "a").write_bytes(b"1")
    scan(model_file(), file_only=True)  # patches the reader
    (scanned,) = engine.scan_folder(tmp_path, out=tmp_path / "out", file_only=True)
    assert scanned.report and scanned.out == tmp_path / "out" / "001"


def test_an_interrupt_ends_a_folder_and_a_fault_on_one_file_does_not(monkeypatch, tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")

    def read(path: Any, *_: Any) -> ModelFile:
        if path.name == "a":
            raise ZeroDivisionError("a fault")
        return model_file({"": generator()})

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(scanning, "_read", read)
    monkeypatch.setattr(scanning, "_inspect", stop)
    first, second = engine.scan_folder(tmp_path)
    assert first.error and "ZeroDivisionError" in first.error.message
    assert second.report and not second.report.verdict.complete


def test_a_missing_device_is_bad_input(scan):
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="no device"):
            scan(model_file({"": generator()}), device="cuda")


def test_a_folder_that_cannot_be_written_is_told(scan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="output folder"):
        scan(model_file(), out=tmp_path / "file" / "below")


def test_listing_and_looking_at_a_file_need_no_torch():
    code = (
        "import sys; from genvet import catalogue, engine; from genvet.inspections.file import File; "
        "[e.load() for e in catalogue.techniques('inspection').values() if e.access == 'ModelFile']; "
        "from genvet.core.modelfile import ModelFile; "
        "engine.assess(File(), ModelFile(path='', sha256='', size=0, format='x')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(BadInput) as error:
        catalogue.find("brutforce")
    assert error.value.hint.startswith("did you mean output.brute_force")
    assert catalogue.find("brute_force").name == "output.brute_force"
    with pytest.raises(BadInput, match="kind"):
        catalogue.techniques("inspektion")
