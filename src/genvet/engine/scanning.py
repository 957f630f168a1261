"""A whole file: read it, rebuild what it holds, run every inspection that applies, and say what was not checked."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from genvet.catalogue import Entry, find, techniques
from genvet.core.errors import BadInput, BudgetSpent, GenVetError, Unsupported
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Check, Finding, MadeBy, NotChecked, Report, Target
from genvet.core.technique import Probe
from genvet.engine.running import assess, gift, lacks
from genvet.engine.shelf import Shelf, key
from genvet.verdict import verdict

if TYPE_CHECKING:
    from genvet.core.data import Images
    from genvet.core.generator import Generator

Knobs = Mapping[str, Any]
DEPTHS = ("quick", "standard", "deep")


@dataclass(frozen=True)
class Step:
    """One inspection of one part."""

    entry: Entry
    part: str
    target: Any
    have: dict[str, Any]


@dataclass(frozen=True)
class Scanned:
    """What became of one file of a folder: a report, or the reason why there is none."""

    path: Path
    out: Path | None
    report: Report | None = None
    error: GenVetError | None = None


@dataclass
class _Run:
    """What a scan has come to so far."""

    model: ModelFile
    shelf: Shelf
    depth: str
    seed: int
    net: str
    settings: Mapping[str, Knobs]
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def skip(self, entry: Entry, part: str, reason: Any, detail: str = "") -> None:
        skipped = NotChecked(technique=entry.name, part=part, reason=reason, detail=printable(detail))
        self.not_checked.append(skipped)


def scan(
    path: Path | str,
    *,
    out: Path | None = None,
    file_only: bool = False,
    net: str | None = None,
    part: str | None = None,
    targets: Path | str | Images | None = None,
    reference: Path | str | Images | None = None,
    depth: str = "standard",
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Knobs] | None = None,
    command: str = "",
) -> Report:
    """Vet one model file: nothing in it is run, whatever can be rebuilt is inspected, and a verdict is given.

    `settings` changes the knobs of inspections, by their names, from what the depth gives them.
    Interrupted, it reports what it has. Raises BadInput for what is no model file, and for targets that do not fit.
    """
    if depth not in DEPTHS:
        raise BadInput("no such depth", expected=", ".join(DEPTHS), got=depth)
    knobs = _settings(settings or {})
    shelf = Shelf(out)
    model = _read(path, file_only, net, part)
    run = _Run(model, shelf, depth, seed, net or "", knobs)
    steps = _plan(run, file_only, _gifts(model, targets, reference, device))
    _work(run, steps)
    return _report(run, command)


def scan_folder(path: Path | str, *, out: Path | None = None, **options: Any) -> Iterator[Scanned]:
    """Scan every file below a folder, one after the other; what cannot be read does not stop the rest."""
    own = out.resolve() if out else None
    files = sorted(p for p in Path(path).rglob("*") if p.is_file() and not (own and p.absolute().is_relative_to(own)))
    if not files:
        raise BadInput(f"the folder {path} holds no files", hint="name a model file, or a folder that holds some")
    for number, file in enumerate(files, 1):
        own = out / f"{number:03d}" if out else None
        try:
            if file.is_symlink():
                raise BadInput(f"{printable(file)} is a link, and was not followed", hint="name what it points to")
            report = scan(file, out=own, **options)
        except GenVetError as error:
            yield Scanned(file, own, error=error)
        except Exception as error:  # a fault of ours on one file: told, and the others go on
            yield Scanned(file, own, error=GenVetError(f"{type(error).__name__}: {printable(error)}"))
        else:
            yield Scanned(file, own, report=report)
            if any(n.reason == "interrupted" for n in report.not_checked):
                return


def _settings(settings: Mapping[str, Knobs]) -> dict[str, Knobs]:
    """By full name; raises BadInput for an inspection or a knob that there is not, before anything runs."""
    known = {}
    for name, knobs in settings.items():
        entry = find(name, "inspection")
        try:
            entry.load()(**knobs)
        except (ValidationError, TypeError) as error:
            raise BadInput(f"these are no settings of {entry.name}: {error}") from None
        known[entry.name] = knobs
    return known


def _read(path: Path | str, file_only: bool, net: str | None, part: str | None) -> ModelFile:
    from genvet.files.load import load, read

    return read(path) if file_only else load(path, net=net, part=part)


def _gifts(model: ModelFile, targets: Any, reference: Any, device: str) -> dict[str, dict[str, Any]]:
    """By part, what its inspections may be given; refuses what does not fit before anything runs."""
    gifts = {}
    for part, generator in model.generators.items():
        _place(generator, device)
        gifts[part] = {"targets": _samples(targets, generator), "reference": _samples(reference, generator)}
    return gifts


def _samples(source: Any, generator: Generator) -> Images | None:
    from genvet.core.data import Images

    if source is None:
        return None
    if not isinstance(source, Images):
        if len(generator.shape) == 3:
            from genvet.files.images import load_images as loaded
        else:
            from genvet.files.sounds import load_sounds as loaded
        source = loaded(source, shape=generator.shape)
    images: Images = source
    images.fitting(generator.shape)
    return images


def _place(generator: Generator, device: str) -> None:
    import torch

    on = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        generator.module.to(on).eval()
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"there is no device {on!r} here", expected="auto, cpu or cuda", got=str(error)[:100]) from None


def _plan(run: _Run, file_only: bool, gifts: dict[str, dict[str, Any]]) -> list[Step]:
    """What will run, outputs last; the rest is put down as not checked, with the reason."""
    steps = []
    for entry in sorted(techniques("inspection").values(), key=lambda e: e.name.startswith("output.")):
        if entry.access == "ModelFile":
            steps.append(Step(entry, "", run.model, {}))
        elif file_only:
            run.skip(entry, "", "not_requested", "only the file was to be looked at")
        elif not run.model.generators:
            why = "; ".join(
                f"{name}: {reason}" if name else reason for name, reason in run.model.not_generators.items()
            )
            run.skip(entry, "", "no_generator", why or "the file holds none that could be rebuilt")
        else:
            steps += [Step(entry, part, g, gifts[part]) for part, g in run.model.generators.items()]
    return steps


def _work(run: _Run, steps: list[Step]) -> None:
    left = list(steps)
    try:
        for step in track(steps, len(steps), "inspections"):
            _one(run, step)
            left.pop(0)
    except KeyboardInterrupt:
        for step in left:
            run.skip(step.entry, step.part, "interrupted")


def _one(run: _Run, step: Step) -> None:
    """Run one inspection, or recall it; an error in it is put down and stops nothing else."""
    try:
        technique = step.entry.load()
        config, asked = technique.depths.get(run.depth, {}), run.settings.get(step.entry.name)
        if config is None and asked is None:
            return run.skip(step.entry, step.part, "not_requested", f"left out at depth {run.depth}")
        probe = technique(**{**(config or {}), **(asked or {})})
        assert isinstance(probe, Probe)
        lacking = lacks(probe, step.have)
        if lacking:
            return run.skip(step.entry, step.part, "not_requested", f"needs --{' and --'.join(lacking)}")
        run.findings.append(_finding(run, step, probe))
    except Unsupported as error:
        run.skip(step.entry, step.part, "not_applicable", error.message)
    except BudgetSpent as error:
        run.skip(step.entry, step.part, "budget", error.message)
    except Exception as error:
        run.skip(step.entry, step.part, "error", f"{type(error).__name__}: {error}")


def _finding(run: _Run, step: Step, probe: Probe) -> Finding:
    """From the shelf where an earlier run of the same thing kept it, else made now. Looking at the file is cheap."""
    if isinstance(step.target, ModelFile):
        return assess(probe, step.target, seed=run.seed, out=run.shelf.out)
    source = hashlib.sha256(step.entry.path.read_bytes()).hexdigest()
    what = (run.model.sha256, step.part, run.net, _about(step.target), probe.name(), probe.version, source)
    name = key(version("genvet"), *what, probe.model_dump(mode="json"), run.seed, _hashes(step.have))
    found = run.shelf.recall(name)
    if found is None:
        given = gift(probe, step.have)
        found = assess(probe, step.target, given, seed=run.seed, out=run.shelf.out, part=step.part)
        run.shelf.keep(name, found)
    return found


def _about(target: Any) -> list[str]:
    """What changes a finding besides the file: how its generator was rebuilt, and where it runs."""
    return [target.name, str(target.latent), str(target.shape), target.output, *target.assumed, str(target.device)]


def _hashes(have: dict[str, Images | None]) -> dict[str, str]:
    """Of the pixels and names that an inspection is given."""
    given = {name: images for name, images in have.items() if images is not None}
    return {
        n: hashlib.sha256(i.x.contiguous().numpy().tobytes() + repr(i.names).encode()).hexdigest()
        for n, i in given.items()
    }


def _report(run: _Run, command: str) -> Report:
    return Report(
        target=_target(run.model),
        verdict=verdict(run.model, run.findings, run.not_checked),
        findings=tuple(run.findings),
        checked=tuple(Check(technique=f.technique, part=f.part) for f in run.findings),
        not_checked=tuple(run.not_checked),
        made_by=MadeBy(
            genvet=version("genvet"),
            python=platform.python_version(),
            torch=version("torch"),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
            command=command,
        ),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _target(model: ModelFile) -> Target:
    return Target(
        path=printable(model.path),
        sha256=model.sha256,
        size=model.size,
        format=printable(model.format),
        networks=tuple(_line(part, g) for part, g in model.generators.items()),
        others=tuple(printable(f"{part or 'the file'}: {why}") for part, why in model.not_generators.items()),
        metadata={printable(k, 100): printable(v) for k, v in model.metadata.items()},
    )


def _line(part: str, g: Generator) -> str:
    latent = f"{g.latent.dim} latents ({g.latent.distribution})" + f", {g.latent.classes} classes" * bool(
        g.latent.classes
    )
    line = f"{part or 'generator'}: {g.name}, {g.parameters:,} parameters, {latent}, output {g.shape} ({g.output})"
    return printable(line + "".join(f"; assumed: {a}" for a in g.assumed))
