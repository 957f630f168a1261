"""What `genvet attack` does where the target is a classifier: images of its classes, in a file beside the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.cli import by_name, guarding, outcome, screen
from genvet.cli.guarding import GUARDS, Guards
from genvet.cli.options import Reporting, output_folder
from genvet.cli.served import served
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.modelfile import ModelFile
    from genvet.core.technique import Probe


def invert(
    probe: Probe,
    model: Path | None,
    out: Path | None,
    common: Reporting,
    given: Mapping[str, by_name.Paths] | None,
    guards: Guards = GUARDS,
) -> int:
    """Run an inversion on the classifier of a file, or of an address."""
    from genvet.files.inverted import save_inverted

    if model is None:
        raise BadInput(f"{probe.name()} inverts a classifier", expected="its file", hint="name it after the attack")
    folder = out or output_folder("attack", model)
    target, file = _target(model, common, folder)
    gift = by_name.gift(probe, given, target)
    # What a service answered is kept: the same command goes on from there.
    keeping = outcome.leaving_nothing_empty if served(model) else outcome.all_or_nothing
    with screen.progress(), keeping(folder):
        result, findings = guarding.measured(probe, target, gift, guards, seed=common.seed, out=folder)
    path = save_inverted(result.tensors(), folder, probe.name(), probe.model_dump_json(), target.classes)
    report = outcome.told(file, findings, "This is an attack, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, [path])
    return 0


def _target(model: Path, common: Reporting, folder: Path) -> tuple[Any, ModelFile]:
    """The classifier of a file; or of an address, whose answers are kept beside the report."""
    from genvet.core.modelfile import ModelFile
    from genvet.files.classifiers import load_classifier, parted
    from genvet.files.load import read
    from genvet.remote import RemoteScores

    if url := served(model):
        target = RemoteScores(url, answered=folder / "answers.sqlite")
        return target, ModelFile(path=url, sha256="", size=0, format="service")
    classifier = load_classifier(model)
    classifier.to(common.device)
    return classifier, read(parted(model)[0])
