"""A whole file: read it, rebuild what it holds, run every inspection that applies, and say what was not checked."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.catalogue import Entry, techniques
from genvet.core.calibration import Subject, Thresholds
from genvet.core.errors import BadInput, BudgetSpent, Unsupported
from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Finding, NotChecked, Report
from genvet.core.technique import Probe
from genvet.engine.composing import compose
from genvet.engine.knobs import Knobs, by_full_name
from genvet.engine.running import assess, gift, lacks
from genvet.engine.shelf import Shelf, key
from genvet.verdict import judge

if TYPE_CHECKING:
    from genvet.core.classifier import Classifier
    from genvet.core.data import Images
    from genvet.core.generator import Generator

DEPTHS = ("quick", "standard", "deep")


@dataclass(frozen=True)
class Step:
    """One inspection of one part."""

    entry: Entry
    part: str
    target: Any
    have: dict[str, Any]


@dataclass
class _Run:
    """What a scan has come to so far."""

    model: ModelFile
    shelf: Shelf
    depth: str
    seed: int
    net: str
    settings: Mapping[str, Knobs]
    thresholds: Thresholds
    only: Collection[str] | None
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
    reference_model: Path | str | Generator | None = None,
    classifier: Path | str | Classifier | None = None,
    depth: str = "standard",
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Knobs] | None = None,
    thresholds: Path | str | Thresholds | None = None,
    only: Collection[str] | None = None,
    command: str = "",
) -> Report:
    """Vet one model file: nothing in it is run, whatever can be rebuilt is inspected, and a verdict is given.

    `settings` changes the knobs of inspections, by their names, from what the depth gives them; `only` names the
    inspections to run, besides that of the file. `thresholds` are those of a population of one's own, in place of those
    that come with GenVet; `classifier` is for searches by features.
    Interrupted, it reports what it has. Raises BadInput for what is no model file, and for targets that do not fit.
    """
    if depth not in DEPTHS:
        raise BadInput("no such depth", expected=", ".join(DEPTHS), got=depth)
    knobs, table = by_full_name(settings or {}, "inspection"), _thresholds(thresholds)
    shelf = Shelf(out)
    model = _read(path, file_only, net, part)
    run = _Run(model, shelf, depth, seed, net or "", knobs, table, only)
    trusted, space = _trusted(reference_model), _classifier(classifier)
    steps = _plan(run, file_only, _gifts(model, targets, reference, trusted, space, device))
    _inspect_all(run, steps)
    return compose(run.model, run.findings, run.not_checked, command)


def _thresholds(given: Path | str | Thresholds | None) -> Thresholds:
    from genvet.files.thresholds import packaged, read_thresholds

    if isinstance(given, Thresholds):
        return given
    return packaged() if given is None else read_thresholds(given)


def _read(path: Path | str, file_only: bool, net: str | None, part: str | None) -> ModelFile:
    from genvet.files.load import load, read

    return read(path) if file_only else load(path, net=net, part=part)


def _gifts(
    model: ModelFile,
    targets: Any,
    reference: Any,
    trusted: Mapping[str, Generator],
    classifier: Classifier | None,
    device: str,
) -> dict[str, dict[str, Any]]:
    """By part, what its inspections may be given; refuses what does not fit before anything runs."""
    gifts: dict[str, dict[str, Any]] = {}
    for part, generator in model.generators.items():
        generator.to(device)
        gifts[part] = {"targets": _samples(targets, generator), "reference": _samples(reference, generator)}
        gifts[part]["reference_model"] = trusted.get(part, next(iter(trusted.values()), None))
        if classifier:
            gifts[part]["classifier"] = classifier.fitting(generator.shape)
            classifier.module.to(generator.device)
    return gifts


def _classifier(source: Path | str | Classifier | None) -> Classifier | None:
    """The classifier whose features are a space to look in, where one is given."""
    from genvet.files.classifiers import load_classifier

    return load_classifier(source) if isinstance(source, (str, Path)) else source


def _trusted(source: Path | str | Generator | None) -> Mapping[str, Generator]:
    """The generators of a file that the user trusts, by part."""
    from genvet.core.generator import Generator

    if source is None or isinstance(source, Generator):
        return {"": source} if source else {}
    found = _read(source, False, None, None).generators
    if not found:
        raise BadInput(f"the reference {printable(source)} holds no generator", hint="name a model file that holds one")
    return found


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


def _plan(run: _Run, file_only: bool, gifts: dict[str, dict[str, Any]]) -> list[Step]:
    """What will run, outputs last; the rest is put down as not checked, with the reason."""
    steps = []
    for entry in sorted(techniques("inspection").values(), key=lambda e: e.name.startswith("output.")):
        if entry.access == "ModelFile":
            steps.append(Step(entry, "", run.model, {}))
        elif run.only is not None and entry.name not in run.only:
            run.skip(entry, "", "not_requested", "only others were asked for")
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


def _inspect_all(run: _Run, steps: list[Step]) -> None:
    left = list(steps)
    try:
        for step in track(steps, len(steps), "inspections"):
            _inspect(run, step)
            left.pop(0)
    except KeyboardInterrupt:
        for step in left:
            run.skip(step.entry, step.part, "interrupted")


def _inspect(run: _Run, step: Step) -> None:
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
        run.skip(step.entry, step.part, "budget", f"{error.message}; {error.hint}")
    except Exception as error:
        run.skip(step.entry, step.part, "error", f"{type(error).__name__}: {error}")


def _finding(run: _Run, step: Step, probe: Probe) -> Finding:
    """From the shelf where an earlier run of the same thing kept it, else made now. Looking at the file is cheap."""
    if isinstance(step.target, ModelFile):
        return assess(probe, step.target, seed=run.seed, out=run.shelf.out)
    source = source_hash(step.entry.path)
    what = (run.model.sha256, step.part, run.net, _about(step.target), probe.name(), probe.version, source)
    name = key(version("genvet"), *what, probe.model_dump(mode="json"), run.seed, _hashes(step.have))
    found = run.shelf.recall(name)
    if found is None:
        given = gift(probe, step.have)
        found = assess(probe, step.target, given, seed=run.seed, out=run.shelf.out, part=step.part)
        run.shelf.keep(name, found)
    return judge(found, run.thresholds, _subject(step.target))


@cache
def source_hash(path: Path) -> str:
    """SHA-256 of a technique's source, as it was when this process first asked: that is what it runs."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _subject(generator: Generator) -> Subject:
    from genvet.nets.family import family

    return Subject(family(generator), tuple(generator.shape))


def _about(target: Any) -> list[str]:
    """What changes a finding besides the file: how its generator was rebuilt, and where it runs."""
    return [target.name, str(target.latent), str(target.shape), target.output, *target.assumed, str(target.device)]


def _hashes(have: dict[str, Any]) -> dict[str, str]:
    """Of the pixels and names, or of the weights, that an inspection is given."""
    return {name: _hash(thing) for name, thing in have.items() if thing is not None}


def _hash(given: Images | Generator) -> str:
    import torch

    found = hashlib.sha256()
    tensors = given.module.state_dict() if hasattr(given, "module") else {repr(given.names): given.x}
    for name, tensor in tensors.items():
        found.update(name.encode() + bytes(tensor.detach().cpu().flatten().view(torch.uint8).numpy()))
    return found.hexdigest()
