"""The report: the verdict on what was found, with what was scanned, where, when and by which versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from genvet.core.modelfile import ModelFile
from genvet.core.printable import printable
from genvet.core.report import Check, Finding, MadeBy, NotChecked, Report, Target, Verdict
from genvet.verdict import verdict

if TYPE_CHECKING:
    from genvet.core.generator import Generator


def compose(model: ModelFile, findings: Sequence[Finding], not_checked: Sequence[NotChecked], command: str) -> Report:
    """The report on one file."""
    return put_together(_target(model), verdict(model, findings, not_checked), findings, not_checked, command)


def put_together(
    target: Target, judged: Verdict, findings: Sequence[Finding], not_checked: Sequence[NotChecked], command: str
) -> Report:
    """The report on whatever was looked at, as it was judged."""
    return Report(
        target=target,
        verdict=judged,
        findings=tuple(findings),
        checked=tuple(Check(technique=f.technique, part=f.part) for f in findings),
        not_checked=tuple(not_checked),
        made_by=made_by(command),
        made_at=made_now(),
    )


def made_by(command: str) -> MadeBy:
    """These versions, on this machine."""
    return MadeBy(
        genvet=version("genvet"),
        python=platform.python_version(),
        torch=version("torch"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        command=command,
    )


def made_now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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
    latent = f"{g.latent.dim} latents ({g.latent.distribution})"
    if g.latent.classes:
        latent += f", {g.latent.classes} classes"
    line = f"{part or 'generator'}: {g.name}, {g.parameters:,} parameters, {latent}, output {g.shape} ({g.output})"
    return printable(line + "".join(f"; assumed: {a}" for a in g.assumed))
