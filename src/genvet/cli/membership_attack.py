"""What `genvet attack` does where it asks who was in a training set: a report, and a score of each record beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genvet.cli import by_name, guarding, outcome, screen
from genvet.cli.guarding import GUARDS, Guards
from genvet.cli.options import Reporting, output_folder
from genvet.cli.served import target
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.technique import Probe


def expose(
    probe: Probe,
    model: Path | None,
    out: Path | None,
    common: Reporting,
    given: Mapping[str, by_name.Paths] | None,
    guards: Guards = GUARDS,
) -> int:
    """Run a membership attack on the generator of a file, or of an address."""
    from genvet.files.writing import write_tensors
    from genvet.training.shadows import kept_in

    if model is None:
        raise BadInput(f"{probe.name()} looks at a generator", expected="its file", hint="name it after the attack")
    folder = out or output_folder("attack", model)
    file, generator = target(model, common, folder)
    gift = by_name.gift(probe, given, generator)
    # Finished shadow models stay, so that the same command goes on from them.
    with screen.progress(), outcome.leaving_nothing_empty(folder), kept_in(folder / "shadows"):
        result, findings = guarding.measured(probe, generator, gift, guards, seed=common.seed, out=folder)
    about = {"genvet.attack": probe.name(), "genvet.config": probe.model_dump_json()}
    tensors = result.tensors()
    paths = [write_tensors(tensors, folder / f"{probe.name()}.safetensors", about)] if tensors else []
    report = outcome.told(file, findings, "This is an attack, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, paths)
    return 0
