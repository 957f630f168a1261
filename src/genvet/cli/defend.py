"""`genvet defend`: the flags are the fields of the defence; a repaired model is scanned again, a guard measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import by_name, outcome, screen
from genvet.cli.opening import opened
from genvet.cli.options import REPORTING, Reporting, command_line, output_folder, technique_settings
from genvet.core.errors import BadInput, Unsupported

if TYPE_CHECKING:
    from genvet.core.backdoor import Backdoor
    from genvet.core.data import Images
    from genvet.core.generator import Generator
    from genvet.core.modelfile import ModelFile
    from genvet.core.report import Finding, Report
    from genvet.core.technique import Guard, Repair

Depth = Literal["none", "quick", "standard", "deep"]


def defend(
    name: str,
    model: Path,
    /,
    *,
    backdoor: Path | None = None,
    clean: Path | None = None,
    count: Annotated[int, Parameter(validator=Number(gte=2, lte=100_000))] = 1024,
    depth: Depth = "quick",
    reference: Path | None = None,
    out: Path | None = None,
    common: Reporting = REPORTING,
    given: Mapping[str, Path] | None = None,
    settings: Any = None,
) -> int:
    """Repair a generator, or measure a guard before it; `genvet defend NAME --help` lists what it takes.

    A repair changes weights so that less of a backdoor is left. A guard changes queries or answers: no model is
    written, and the report tells what it costs an honest user, and what an attacker gets who knows it.

    Parameters
    ----------
    name: str
        The repair, or the guard: `genvet list defence` names them.
    model: Path
        The model to repair or to guard; its file stays as it is.
    backdoor: Path
        A backdoor.safetensors, as genvet attack writes it: measures what is left of that backdoor.
    clean: Path
        The model as it was before the attack, where it is known: what the repaired one should be like.
    count: int
        Latents over which distortions, or a guard's costs, are measured.
    depth: Literal
        How closely the model is scanned before and after; none leaves the scans out.
    reference: Path
        Ordinary samples for these scans: folder, zip, npz, idx or one file; path#a:b slices.
    out: Path
        Folder for repaired.safetensors, the report, and both scans; ./genvet-defend-<stem> unless given.
    """
    from genvet import engine
    from genvet.core.technique import Guard
    from genvet.files.convert import save

    repair = asked(name, settings)
    if isinstance(repair, Guard):
        unneeded(repair, {"--backdoor": backdoor, "--clean": clean, "--reference": reference})
        return guard(repair, model, count, out, common, given)
    file, target = opened(model, common)
    writable(target)
    gift = by_name.gift(repair, given, target)
    planted, benign = by_name.read("Backdoor", backdoor, target), by_name.read("Generator", clean, target)
    folder, seed = out or output_folder("defend", model), common.seed
    path = folder / "repaired.safetensors"
    known = {"backdoor": planted, "clean": benign, "samples": count}
    with screen.progress():
        with outcome.all_or_nothing(folder):
            result, finding = engine.repaired(repair, target, gift, **known, seed=seed, out=folder)
        save(result.repaired, path, {"genvet.repaired": json.dumps({"by": repair.name(), **finding.config})})
        if depth != "none":
            look: dict[str, Any] = {"depth": depth, "seed": seed, "device": common.device, "reference": reference}
            look |= {"targets": targets(planted), "settings": technique_settings(common.config)}
            before = scanned(model, folder / "before", net=common.net, part=common.part, **look)
            finding = told(finding, before, scanned(path, folder / "after", **look))
    outcome.leave(report(file, finding, planted, depth), folder, common.json, [path])
    return 0


def asked(name: str, settings: Any) -> Repair | Guard:
    """The repair or guard; raises BadInput for a defence that is neither."""
    from genvet.core.technique import Guard, Repair

    defence = settings if settings is not None else by_name.named(name, "defence")
    if not isinstance(defence, Repair | Guard):
        raise BadInput(f"{defence.name()} repairs and guards no model", hint="genvet list defence names those that do")
    return defence


def unneeded(defence: Guard, options: Mapping[str, Path | None]) -> None:
    """Raises BadInput where something is given that only a repair could use."""
    given = [name for name, path in options.items() if path is not None]
    if given:
        raise BadInput(f"{defence.name()} changes no model", got=" ".join(given), hint="leave it out")


def guard(
    defence: Guard,
    model: Path,
    count: int,
    out: Path | None,
    common: Reporting,
    given: Mapping[str, by_name.Paths] | None,
) -> int:
    """Measure what a guard costs, and what it is worth against who knows it."""
    from genvet import engine

    file, target = opened(model, common)
    gift = by_name.gift(defence, given, target)
    folder = out or output_folder("defend", model)
    with screen.progress(), outcome.all_or_nothing(folder):
        _, finding = engine.worth(defence, target, gift, samples=count, seed=common.seed, out=folder)
    unchecked = (
        "This measures a guard: the model was not vetted, and no attack was run. genvet attack NAME --guard does."
    )
    outcome.leave(outcome.told(file, finding, unchecked), folder, common.json)
    return 0


def writable(generator: Generator) -> None:
    """Raises Unsupported, before the work, where a repaired generator could not be written down."""
    if "genvet.net" not in generator.metadata:
        hint = "repairs need a network of standard layers that GenVet can build again"
        raise Unsupported(f"a repaired {generator.name} could not be written down", hint=hint)


def targets(backdoor: Backdoor | None) -> Images | None:
    """What the scans are to look for, where the backdoor is known and gives pictures of its own."""
    from torch import Tensor

    from genvet.core.data import Images

    if backdoor is None or not isinstance(backdoor.target, Tensor):
        return None
    return Images(backdoor.target, tuple(f"target {i}" for i in range(len(backdoor.target))))


def scanned(path: Path, folder: Path, **options: Any) -> Report:
    """One scan, with its own reports."""
    from genvet import engine

    report = engine.scan(path, out=folder, command=command_line(), **options)
    outcome.write(report, folder)
    return report


def told(finding: Finding, before: Report, after: Report) -> Finding:
    """The finding with what both scans say, beside each other."""
    from genvet import engine

    severities = f"{before.verdict.severity} before, {after.verdict.severity} after"
    more = {"tables": (*finding.tables, engine.beside(before, after))}
    return finding.model_copy(update={**more, "summary": f"{finding.summary} Scanned: {severities}."})


def report(file: ModelFile, finding: Finding, backdoor: Backdoor | None, depth: Depth) -> Report:
    """The report of one repair: the scans have reports of their own."""
    scans = "It was not scanned." if depth == "none" else "What the scans left out stands in before/ and after/."
    left = "" if backdoor else "Whether a backdoor is left is not known: none was given. "
    return outcome.told(file, finding, left + scans)


def command(words: Sequence[str]) -> Callable[..., int]:
    """`defend` with the fields of the repair that these words ask for."""
    return by_name.command(defend, "defence", words)
