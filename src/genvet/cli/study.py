"""`genvet study`: the flags are the fields of the study, and of what it may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.cli import by_name, outcome, screen
from genvet.cli.opening import opened
from genvet.cli.options import REPORTING, Reporting, output_folder

if TYPE_CHECKING:
    from genvet.core.technique import Probe, Result


def study(
    name: str,
    model: Path,
    /,
    *,
    out: Path | None = None,
    common: Reporting = REPORTING,
    given: Mapping[str, Path] | None = None,
    settings: Any = None,
) -> int:
    """Measure what is inside a generator, and how good it is; `genvet study NAME --help` lists what the study takes.

    Parameters
    ----------
    name: str
        The study: `genvet list study` names them.
    model: Path
        The model file.
    out: Path
        Folder for the report; ./genvet-study-<stem> unless given.
    """
    from genvet import engine

    probe = settings if settings is not None else by_name.named(name, "study")
    file, generator = opened(model, common)
    gift = by_name.gift(probe, given, generator)
    folder = out or output_folder("study", model)
    with screen.progress(), outcome.all_or_nothing(folder):
        result, finding = engine.measured(probe, generator, gift, seed=common.seed, out=folder)
        paths = keep(result, probe, folder)
    report = outcome.told(file, finding, "This is a study, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, paths)
    return 0


def keep(result: Result, probe: Probe, folder: Path) -> list[Path]:
    """The tensors that a study found, such as directions, in a file of the study's name; gives its path."""
    from genvet.files.writing import write_tensors

    tensors = result.tensors()
    about = {"genvet.study": probe.name(), "genvet.config": probe.model_dump_json()}
    return [write_tensors(tensors, folder / f"{probe.name()}.safetensors", about)] if tensors else []


def command(words: Sequence[str]) -> Callable[..., int]:
    """`study` with the fields of the study that these words ask for."""
    return by_name.command(study, "study", words)
