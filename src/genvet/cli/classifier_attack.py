"""What `genvet attack` does where the target is a classifier: images of its classes, in a file beside the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genvet.cli import by_name, outcome, screen
from genvet.cli.options import Reporting, output_folder
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.technique import Probe


def invert(
    probe: Probe, model: Path | None, out: Path | None, common: Reporting, given: Mapping[str, by_name.Paths] | None
) -> int:
    """Run an inversion on the classifier of a file."""
    from genvet import engine
    from genvet.files.classifiers import load_classifier
    from genvet.files.load import read
    from genvet.files.writing import write_tensors

    if model is None:
        raise BadInput(f"{probe.name()} inverts a classifier", expected="its file", hint="name it after the attack")
    target = load_classifier(model)
    target.to(common.device)
    gift = by_name.gift(probe, given, target)
    folder = out or output_folder("attack", model)
    with screen.progress(), outcome.all_or_nothing(folder):
        result, finding = engine.measured(probe, target, gift, seed=common.seed, out=folder)
    about = {"genvet.attack": probe.name(), "genvet.config": probe.model_dump_json()}
    path = write_tensors(result.tensors(), folder / "inverted.safetensors", about)
    report = outcome.told(read(model), finding, "This is an attack, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, [path])
    return 0
