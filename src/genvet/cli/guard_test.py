"""`genvet guard-test`: attacks a served generator, and tells what its policy costs attackers and honest clients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import by_name, outcome, screen
from genvet.cli.opening import opened
from genvet.cli.options import REPORTING, Flag, Reporting, command_line
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.severity import Severity

if TYPE_CHECKING:
    from genvet.core.generator import Generator
    from genvet.core.queries import Queries
    from genvet.core.report import Report
    from genvet.engine.endpoint import Known, Outcome

LARGEST = 64 << 20
"""Bytes of an earlier report."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Beside:
    """What the tester has beside the address."""

    model: Path | None = None
    """The served model's file: answers are held against it, and attacks run on it too, without the policy."""
    members: Path | None = None
    """Records that the model was trained on: folder, zip, npz, idx or one file; path#a:b slices."""
    non_members: Path | None = None
    """Records of the same kind that it never saw."""
    split: Path | None = None
    """Both in one: an npz with images and `member`, or a folder with members/ and non-members/."""
    reference: Path | None = None
    """Real samples like those that the model learned from: how near a stolen copy comes to these."""
    attacker: str = "adversarial:steps=1000"
    """The recipe by which the thief trains, with its fields; a stronger thief takes longer."""
    alone: Annotated[bool, Flag] = False
    """With --model, leave out the attacks on the model without its policy."""


BESIDE = Beside()


def guard_test(
    url: str,
    /,
    *,
    budget: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000_000))] = 10_000,
    beside: Beside = BESIDE,
    compare: Path | None = None,
    fail_on: Severity = Severity.HIGH,
    out: Path | None = None,
    common: Reporting = REPORTING,
) -> int:
    """Attack a service of your own, and report what its policy costs the attacker and the honest client.

    Extraction, membership, recovery of records by queries, latents far out, patterned, repeated or drifting. The key is
    read from GENVET_KEY. Attack no service whose owner has not agreed to it.

    Parameters
    ----------
    url: str
        Where the service is: https://host:port.
    budget: int
        Queries in all; each attack has a fixed share.
    compare: Path
        An earlier report.json: exit with 1 where a number of exposure rose beyond the intervals of both.
    fail_on: Severity
        Exit with 1 when a finding is as bad as this, or worse.
    out: Path
        Folder for report.json and report.html; ./genvet-guard-test-<host> unless given.
    """
    from genvet.engine.endpoint import guard_test as tests

    where = address(url)
    then = None if compare is None else earlier(compare)
    folder = out or Path(f"genvet-guard-test-{where}")
    view = asked(url, budget)
    have = known(beside, view, common)
    with screen.progress(), outcome.leaving_nothing_empty(folder):
        plain, seed = not beside.alone, common.seed
        tested = tests(view, budget, have, attacker=beside.attacker, plain=plain, seed=seed, out=folder)
    report, rose, unclear = told(where, view, tested, then)
    outcome.leave(report, folder, common.json)
    for line in rose:
        screen.complain(f"exposure rose: {line}", "see the table of the report")
    for line in unclear:
        screen.note(f"not compared: {line}")
    for gap, labels in report.gaps():
        if not gap.complete:
            screen.note(f"not complete ({gap.reason.replace('_', ' ')}): {labels}: {gap.detail}")
    if rose:
        return 1
    return outcome.exit_code(report.verdict.severity, report.verdict.complete and not unclear, fail_on)


def address(url: str) -> str:
    """The host and port of a service, as a name for a folder; raises BadInput for anything that is no http address."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and not parts.username and not parts.query
        port = parts.port
    except ValueError:
        fits, port = False, None
    if not fits:
        hint = "for a model file: genvet attack NAME MODEL --guard NAME; keys go into GENVET_KEY"
        raise BadInput("this is no address of a service", expected="https://host:port", got=printable(url), hint=hint)
    host = re.sub(r"[^A-Za-z0-9.-]+", "_", parts.hostname or "")
    return host if port is None else f"{host}-{port}"


def asked(url: str, budget: int) -> Queries:
    """The service's generator; raises BadInput where there is none."""
    from genvet.remote import RemoteQueries

    view: Any = RemoteQueries(url, budget=budget)
    return view  # type: ignore[no-any-return]


def known(beside: Beside, view: Queries, common: Reporting) -> Known:
    """What the tester has, read from its files."""
    from genvet.engine.endpoint import Known

    bare: Generator | None = None
    if beside.model is not None:
        _, bare = opened(beside.model, common)
        ours, theirs = (bare.shape, bare.latent), (tuple(view.shape), view.latent)
        if ours != theirs:
            raise BadInput("this is not the served model", expected=str(theirs), got=str(ours))
    target = bare or view
    images = {
        name: by_name.read("Images", getattr(beside, name), target)  # type: ignore[arg-type]
        for name in ("members", "non_members", "reference")
    }
    if (images["members"] is None) != (images["non_members"] is None) or (beside.split and images["members"]):
        raise BadInput("who is a member, and who is not?", expected="--members and --non-members, or --split")
    split = by_name.read("Split", beside.split, target)  # type: ignore[arg-type]
    return Known(undefended=bare, split=split, **images)


def earlier(path: Path) -> Report:
    """A report that was written before; raises BadInput for anything else."""
    from pydantic import ValidationError

    from genvet.core.report import Report

    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{printable(path)} is too large for a report", expected=f"at most {LARGEST} bytes")
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {printable(path)}", got=error.strerror or str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(printable(part, 40) for part in first["loc"])
        raise BadInput(f"{printable(path)} is no report.json", got=f"{place}: {printable(first['msg'], 100)}") from None


def told(
    where: str, view: Queries, tested: Outcome, then: Report | None
) -> tuple[Report, tuple[str, ...], tuple[str, ...]]:
    """The report, what rose since the earlier one, and what does not compare with it."""
    from genvet import engine
    from genvet.core.modelfile import ModelFile
    from genvet.engine.exposure import compared

    findings, rose, unclear = list(tested.findings), tuple[str, ...](), tuple[str, ...]()
    if then is not None:
        table, rose, unclear = compared(findings, then)
        if not table.rows or all(row[-1] in ("not comparable", "not measured then") for row in table.rows):
            raise BadInput("the earlier report compares with nothing here", expected="a guard-test of the same budget")
        first = findings[0]
        risen = f" Exposure rose since the earlier report: {'; '.join(rose)}." if rose else ""
        findings[0] = first.model_copy(update={"tables": (table, *first.tables), "summary": f"{first.summary}{risen}"})
    file = ModelFile(path=where, sha256="", size=0, format="a service")
    report = engine.compose(file, findings, tested.not_checked, command_line())
    latent = f"{view.latent.dim} latents ({view.latent.distribution})"
    chosen = "chosen by clients" if getattr(view, "chooses", True) else "drawn by the service"
    line = f"a served generator: {latent}, {chosen}, output {tuple(view.shape)}"
    said = {
        "loading": "No file was loaded: the model is served.",
        "behaviour": findings[0].summary,
        "unchecked": report.verdict.unchecked,
    }
    verdict = report.verdict.model_copy(update=said)
    target = report.target.model_copy(update={"networks": (line,)})
    return report.model_copy(update={"verdict": verdict, "target": target}), rose, unclear
