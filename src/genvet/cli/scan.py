"""`genvet scan`: the main job."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from genvet.cli import folder_of_models, screen
from genvet.cli.options import COMMON, Common, Flag, command_line, output_folder, technique_settings
from genvet.cli.outcome import exit_code, leaving_nothing_empty, put, write
from genvet.core.severity import Severity


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Look:
    """What is looked at, and how closely."""

    file_only: Annotated[bool, Flag] = False
    """Look at the file alone: for files that hold no generator, such as diffusion checkpoints."""
    net: str | None = None
    """The architecture, where the weights leave it open: dcgan, or dcgan:activation=leaky_relu,range=tanh."""
    part: str | None = None
    """The part to look at, of a file that holds several generators."""
    targets: Path | None = None
    """Images or sounds that a backdoor may be meant to put out: folder, zip, npz, idx or one file; path#a:b slices."""
    reference: Path | None = None
    """Ordinary samples of the kind that the generator should make; 99 or more calibrate the search for targets."""
    reference_model: Path | None = None
    """A model file of the same architecture that is trusted, such as the release that this one claims to be."""
    classifier: Path | None = None
    """A classifier.safetensors, as genvet train writes it: targets that pixels do not reach are looked for by its
    features, in place of shifted ones, unless --config sets output.reconstruct otherwise."""
    depth: Literal["quick", "standard", "deep"] = "standard"
    """quick takes seconds; standard draws 200,000 samples; deep draws 1,000,000."""
    thresholds: Path | None = None
    """Thresholds from clean models of your own, as `genvet zoo score` writes them; GenVet's own unless given."""


LOOK = Look()
BY_FEATURES = {"output.reconstruct": {"also": "features"}}
"""What a classifier is given for."""


def scan(
    model: Path,
    /,
    *,
    what: Look = LOOK,
    fail_on: Severity = Severity.HIGH,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    common: Common = COMMON,
) -> int:
    """Vet a model file, or every file of a folder, without running any of it.

    Parameters
    ----------
    model: Path
        The model file, or a folder of them.
    fail_on: Severity
        Exit with 1 when a finding is as bad as this, or worse.
    out: Path
        Folder for report.json, report.html and report.sarif; ./genvet-scan-<stem> unless given.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet import engine

    folder = out or output_folder("scan", model)
    options = {**asdict(what), "seed": common.seed, "device": common.device, "command": command_line()}
    options["settings"] = {**(BY_FEATURES if what.classifier else {}), **technique_settings(common.config)}
    with leaving_nothing_empty(folder), screen.progress():
        if model.is_dir():
            scanned = list(folder_of_models.each(engine.scan_folder(model, out=folder, **options)))
        else:
            report = engine.scan(model, out=folder, **options)
            write(report, folder)
    if model.is_dir():
        return folder_of_models.tell(model, scanned, folder, fail_on, json)
    if json:
        put(report)
    else:
        screen.report(report)
    screen.note(f"report: {folder / 'report.html'}")
    return exit_code(report.verdict.severity, report.verdict.complete, fail_on)
