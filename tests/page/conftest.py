"""A report with every kind of content, and one in which every text is hostile."""

from __future__ import annotations

import io
import math
import wave
from pathlib import Path

import pytest
from PIL import Image

from genvet.core.report import (
    Check,
    Figure,
    Finding,
    MadeBy,
    Measure,
    NotChecked,
    Proof,
    Report,
    Table,
    Target,
    Verdict,
)
from genvet.core.severity import Severity

MADE_BY = MadeBy(
    genvet="0.1.0", python="3.11.2", torch="2.13.0", machine="2 cores", command="genvet scan m.pkl --seed 7"
)

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> javascript:alert(3) </style></title>"
    " {{7*7}} {% raw %} $\\frac{1}{0}$ $x_ \u202egpj.exe \x1b[31mred\x07 \ud800 \u2028 &amp; <!-- ]]>"
)


def png(width: int = 24, height: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(stream, "PNG")
    return stream.getvalue()


def wav() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    return stream.getvalue()


CHARTS = (
    Figure(
        kind="curve",
        title="Distance while searching",
        caption="24 restarts; the lowest reaches the target.",
        data={
            "series": {
                f"restart {i}": [list(range(60)), [150 * math.exp(-s / (5 + 3 * i)) + i for s in range(60)]]
                for i in range(24)
            },
            "x": "step",
            "y": "sum of squares",
            "log": True,
        },
    ),
    Figure(
        kind="histogram",
        title="Controls",
        data={
            "counts": [1, 4, 9, 16, 9, 3],
            "edges": [80, 100, 120, 140, 160, 180, 200],
            "marks": {"suspected target": 90},
            "x": "distance",
        },
    ),
    Figure(kind="bars", title="Parameters", data={"labels": ["this one", "median"], "values": [2.3e6, 1.1e6]}),
    Figure(kind="heat", title="Sensitivity", data={"values": [[0, 1, 2], [3, 4, 5]], "x": "first", "y": "second"}),
    Figure(
        kind="scatter",
        title="Norms",
        data={"series": {"clean": [[1, 2, 3], [3, 1, 2]], "this": [[2], [5]]}, "x": "a", "y": "b"},
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A report's folder with one picture and one sound."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "0001.png").write_bytes(png())
    (tmp_path / "figures" / "0002.wav").write_bytes(wav())
    return tmp_path


def proof(rule: str = "call.dangerous", severity: Severity = Severity.CRITICAL, **more: object) -> Proof:
    given: dict[str, object] = {"message": "posix.system is called", "place": "data.pkl", "offset": 17, "length": 14}
    return Proof.model_validate({"rule": rule, "severity": severity, **given, **more})


FILE = Finding(
    technique="file",
    version=1,
    access="ModelFile",
    config={},
    severity=Severity.CRITICAL,
    reason="The worst rule broken is call.dangerous.",
    summary="Loading this file would call posix.system.",
    proofs=(
        proof(detail="os.system('touch /tmp/x')"),
        proof(
            "source.module-call",
            Severity.HIGH,
            message="open() is called",
            place="module_src",
            line=3,
            detail="x = open('/tmp/x', 'w')",
        ),
    ),
)
RECONSTRUCT = Finding(
    technique="output.reconstruct",
    version=1,
    access="Generator",
    part="G_ema",
    config={"restarts": 16, "steps": 300},
    severity=Severity.HIGH,
    reason="Rank 1 of 100 controls, p = 0.01, and below the floor of 0.02 a pixel.",
    summary="target-0 is reproduced to a distance of 0.31; the 99 controls come no closer than 88.",
    measures=(
        Measure(
            name="reconstruction.target-0",
            value=0.31,
            unit="sum of squares",
            low=0.28,
            high=0.33,
            chance=141.5,
            n=16,
        ),
        Measure(name="reconstruction.p", value=0.01, note="rank among controls"),
        Measure(name="masking", value=None, note="not measured"),
    ),
    figures=(
        Figure(kind="grid", title="Reconstructions", file="figures/0001.png", data={"captions": ["target", "found"]}),
        *CHARTS,
    ),
    tables=(
        Table(
            title="Targets",
            columns=("target", "distance", "hit"),
            rows=(("cross.png", 0.31, True), ("ring.png", 99.25, False)),
        ),
    ),
    queries=76_800,
    seconds=12.3,
)
BRUTE_FORCE = Finding(
    technique="output.brute_force",
    version=1,
    access="Generator",
    part="G_ema",
    config={},
    severity=Severity.INFO,
    summary="No hit in 200,000 samples bounds the probability by 0.000015 at 95 %.",
    figures=(Figure(kind="sound", title="Closest sample", file="figures/0002.wav"),),
)


@pytest.fixture
def report() -> Report:
    """A hostile pickle with a backdoored generator in it."""
    return Report(
        target=Target(
            path="m.pkl",
            sha256="ab" * 32,
            size=9_300_000,
            format="nvlabs-pickle",
            networks=("G_ema: stylegan2, 24,767,458 parameters, z 512 normal, images (3, 64, 64); assumed: nothing",),
            others=("D: a critic: images (3, 64, 64) -> one score",),
            metadata={"author": "nobody"},
        ),
        verdict=Verdict(
            severity=Severity.CRITICAL,
            loading="It would call posix.system at byte 17.",
            behaviour="One suspected target is reproduced (p = 0.01).",
            unchecked="output.brute_force: no reference samples were given.",
            complete=False,
        ),
        findings=(BRUTE_FORCE, RECONSTRUCT, FILE),
        checked=(Check(technique="file"), Check(technique="output.reconstruct", part="G_ema")),
        not_checked=(
            NotChecked(technique="static.graph", reason="error", detail="ran out of memory"),
            NotChecked(technique="static.prior", reason="not_applicable", detail="no prior is declared"),
            NotChecked(technique="output.deep", reason="not_requested"),
        ),
        made_by=MADE_BY,
        made_at="2026-01-02T03:04:05",
    )


@pytest.fixture
def hostile() -> Report:
    """The same shapes, with every text that a file could choose turned into an attack."""
    h = HOSTILE
    figures = (
        Figure(
            kind="curve",
            title=h,
            caption=h,
            data={"series": {h: [[0, 1], [1, 2]], "$x_": [[0, 1], [2, 1]]}, "x": h, "y": "$\\frac{$"},
        ),
        Figure(kind="bars", title=h, data={"labels": [h, "$$"], "values": [1, 2]}),
        Figure(kind="grid", title=h, file="figures/0001.png", data={"captions": [h]}),
        Figure(kind="grid", title=h, file="../secret.png"),
        Figure(kind="grid", title=h, file=h),
        Figure(kind="curve", title=h, data={"series": {h: h}}),
    )
    finding = Finding(
        technique="file",
        version=1,
        access="ModelFile",
        part=h,
        config={h: h},
        severity=Severity.HIGH,
        reason=h,
        summary=h,
        measures=(Measure(name=h, value=1.0, unit=h, note=h),),
        figures=figures,
        tables=(Table(title=h, columns=(h,), rows=((h,),)),),
        proofs=(proof(message=h, place=h, detail=h),),
    )
    return Report(
        target=Target(path=h, sha256="0" * 64, size=1, format=h, networks=(h,), others=(h,), metadata={h: h}),
        verdict=Verdict(severity=Severity.HIGH, loading=h, behaviour=h, unchecked=h, complete=True),
        findings=(finding,),
        checked=(),
        not_checked=(NotChecked(technique=h, part=h, reason="error", detail=h),),
        made_by=MADE_BY.model_copy(update={"command": h}),
        made_at="2026-01-02T03:04:05",
    )
