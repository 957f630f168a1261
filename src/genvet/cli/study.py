"""`genvet study`: the flags are the fields of the study, and of what it may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from genvet.cli import by_name, outcome, screen
from genvet.cli.options import COMMON, Common, Flag, output_folder


def study(
    name: str,
    model: Path,
    /,
    *,
    out: Path | None = None,
    net: str | None = None,
    part: str | None = None,
    json: Annotated[bool, Flag] = False,
    common: Common = COMMON,
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
    net: str
        The architecture, where the weights leave it open.
    part: str
        The generator to take, where the file holds several; the average of weights (EMA) unless given.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet import engine
    from genvet.files.convert import averaged
    from genvet.files.load import load

    probe = settings if settings is not None else by_name.named(name, "study")
    file = load(model, net=net, part=part)
    generator = averaged(file)
    generator.to(common.device)
    gift = by_name.gift(probe, given, generator)
    folder = out or output_folder("study", model)
    with screen.progress():
        finding = engine.assess(probe, generator, gift, seed=common.seed, out=folder)
    report = outcome.told(file, finding, "This is a study, not a scan: the model was not vetted.")
    outcome.leave(report, folder, json)
    return 0


def command(words: Sequence[str]) -> Callable[..., int]:
    """`study` with the fields of the study that these words ask for."""
    return by_name.command(study, "study", words)
