"""The threat model of one generator: the entry that the founding document refines, filled with what was measured.

Reports are read as claims of somebody who may lie: they pass the report's schema, and what they say is quoted. What no
report measured is said to be unmeasured, with the command that would measure it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from genvet.core.printable import printable
from genvet.core.report import Finding, Measure, Report
from genvet.core.severity import Severity
from genvet.core.threat import Evidence, Row, Subject, ThreatModel

MOST = 40
"""Findings that one row quotes."""
SHOWN = 4
"""Measures of a finding."""
CHANCE, P_VALUE = 0.5, 0.05
POWER = 0.65
"""An area that a membership test has to be able to find, for its silence to count."""
EPSILON = 10.0
"""The largest that counts as a promise."""


@dataclass(frozen=True)
class Asked:
    """What a row of the entry is about, and which findings tell of it."""

    id: str
    title: str
    says: str
    techniques: tuple[str, ...]
    """Names, or with a dot at the end all of a room."""
    measures: tuple[str, ...]
    command: str

    def fits(self, finding: Finding) -> bool:
        """Whether this finding tells of it."""
        named = any(
            finding.technique == t or (t[-1] == "." and finding.technique.startswith(t)) for t in self.techniques
        )
        if not named and "epsilon" in self.measures:
            return any(m.name == "epsilon" and m.value is not None for m in finding.measures)
        return named


_SETS = "--members members --non-members non-members"
_MEMBERSHIP = tuple(
    f"membership.{name}"
    for name in (
        *("nearest", "monte_carlo", "density_ratio", "latent_recovery", "latent_recovery_black_box"),
        *("critic_score", "shadow"),
    )
)
VECTORS = (
    Asked(
        "membership",
        "Who was in the training set",
        "An attacker who holds a record tells whether the model learned from it, by samples, by queries or by weights.",
        _MEMBERSHIP,
        ("auc", "p", "tpr-at-0.01", "least-auc", "auc.outliers"),
        f"genvet attack nearest MODEL {_SETS}",
    ),
    Asked(
        "reconstruction",
        "Training records are rebuilt",
        "A latent is optimised until the image comes near a training record, guided by what is known of it.",
        ("membership.reconstruction",),
        ("pixels.nearer", "pixels.gained", "pixels.auc"),
        f"genvet attack reconstruction MODEL {_SETS}",
    ),
    Asked(
        "copies",
        "Ordinary samples are copies",
        "Nobody attacks: samples of the model lie nearer to training records than fresh real ones do.",
        ("membership.copying",),
        ("data-copying", "replication", "given-away", "p"),
        f"genvet attack copying MODEL {_SETS}",
    ),
    Asked(
        "inversion",
        "A classifier's people are drawn by the model",
        "With this model as the prior, latents are driven by the scores of a classifier that knows the people.",
        ("inversion.",),
        ("beyond-controls", "accuracy", "confidence", "shown-to-the-target"),
        "genvet attack mirror CLASSIFIER --prior MODEL",
    ),
    Asked(
        "theft",
        "The model is stolen, and attacked at leisure",
        "A copy that learned from answers knows no budget: attacks on weights then run on it.",
        ("extraction.",),
        ("fidelity.frechet", "accuracy.frechet", "queries"),
        "genvet attack fidelity MODEL",
    ),
    Asked(
        "endpoint",
        "The service answers what it should not",
        "Latents far out, patterned, repeated or in small steps are what triggers, averaging and searches need.",
        ("endpoint", "borders"),
        ("far-100.answered", "repeated.answered", "drifting.answered", "averaging.gain"),
        "genvet guard-test URL --model MODEL",
    ),
)
FACTORS = (
    Asked(
        "diversity",
        "Diversity of the training data",
        "The fewer kinds of records there are, the more of each is learned by heart.",
        ("data.duplicates", "data.identities"),
        (),
        "genvet audit-data DATA",
    ),
    Asked(
        "outliers",
        "Outliers",
        "A record that is like no other is remembered best, and told best.",
        ("data.outliers",),
        (),
        "genvet audit-data DATA",
    ),
    Asked(
        "training",
        "Length of training, capacity and regularisation",
        "Long training of a large network on few records learns these records.",
        ("adversarial", "regularised", "sngan", "pggan", "wasserstein", "variational", "stylegan1", "stylegan2"),
        (),
        "genvet train dcgan --data DATA",
    ),
)
PRIMARY = (
    Asked(
        "privacy",
        "Differential privacy",
        "Noise in the gradients of what sees data bounds what any one record can change. It promises something, which "
        "the rest does not; images suffer.",
        ("private_dcgan", "private_stylegan2", "dp_merf", "private", "membership.epsilon"),
        ("epsilon", "epsilon.low", "epsilon.claimed"),
        "genvet train dcgan --data DATA --epsilon 3",
    ),
    Asked(
        "data",
        "Choice and anonymisation of the data",
        "What is not in the data cannot leak. Faces, texts, names, places and doubles are looked for and taken out.",
        ("data.",),
        (),
        "genvet audit-data DATA",
    ),
)
SECONDARY = (
    Asked(
        "filter",
        "Output filters",
        "Answers that are too near protected images are held back. They miss what nobody thought of, and their "
        "refusals tell who is protected.",
        ("filter.", "membership.filter_oracle"),
        ("blocked", "false-blocks", "copies.left", "auc"),
        "genvet defend ssim MODEL --protected members --unseen non-members",
    ),
    Asked(
        "guards",
        "Guards of queries",
        "Queries and answers are changed on their way. Who knows the guard takes part of that back.",
        ("query.",),
        ("psnr", "frechet", "repeat", "price"),
        "genvet defend gaussian_noise MODEL",
    ),
    Asked(
        "policy",
        "The service's policy",
        "Keys, budgets, a look at latents, a person who decides about held images, and a log that shows tampering.",
        ("endpoint", "honest"),
        ("answered", "latency.p50", "price"),
        "genvet guard-test URL --model MODEL",
    ),
    Asked(
        "testing",
        "Membership tests",
        "They measure, and do not mitigate: high membership advantage suggests that inversion succeeds too.",
        ("membership.",),
        ("auc", "p", "least-auc"),
        f"genvet attack shadow MODEL {_SETS}",
    ),
)
DESCRIPTION = (
    "An attacker who can ask the model, or holds its weights, searches its latents for images that give away what it "
    "learned from. The search is guided by a classifier's scores, by what is known of a person, or by nearness to a "
    "record. What comes out best are outliers, and records that have many like them."
)
IMPACT = (
    "Privacy: people in the training data are recognised, or shown to have been in it.",
    "Confidentiality: what the data's owner kept to themselves shows in samples.",
    "Reputation and law: who published the model answers for both.",
)
COMPONENTS = (
    "The model's file: its weights hold what was learned, and whoever has them has no budget.",
    "The way in: the function or service that turns latents into images.",
    "The training data, indirectly: their size, diversity and outliers decide how much there is to leak.",
)


def threat_model(runs: Sequence[tuple[str, Report]]) -> ThreatModel:
    """The entry for what these runs are about, each with the name that it is quoted by."""
    vectors, factors, primary, secondary = (
        tuple(_row(asked, runs) for asked in part) for part in (VECTORS, FACTORS, PRIMARY, SECONDARY)
    )
    severity, reasons = _severity(vectors, primary)
    subjects = tuple(_subjects(runs))
    return ThreatModel(
        threat="Training data leakage (model inversion)",
        description=DESCRIPTION,
        impact=IMPACT,
        components=COMPONENTS,
        severity=severity,
        reasons=reasons,
        vectors=vectors,
        factors=factors,
        primary=primary,
        secondary=secondary,
        notes=tuple(_notes(subjects)),
        subjects=subjects,
        runs=tuple(f"{printable(name, 200)}: {printable(report.made_by.command, 300)}" for name, report in runs),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _row(asked: Asked, runs: Sequence[tuple[str, Report]]) -> Row:
    found = [(name, report, f) for name, report in runs for f in report.findings if asked.fits(f)]
    evidence = tuple(_evidence(asked, *one) for one in found[:MOST])
    left_out = max(0, len(found) - MOST)
    shown = {"id": asked.id, "title": asked.title, "says": asked.says, "measured_by": asked.command}
    return Row(**shown, evidence=evidence, left_out=left_out)


def _evidence(asked: Asked, run: str, report: Report, finding: Finding) -> Evidence:
    told = {m.name: m for m in finding.measures if _finite(m.value)}
    names = [name for name in asked.measures if name in told] or list(told)
    return Evidence(
        run=printable(run, 200),
        technique=printable(finding.technique, 80),
        target=printable(report.target.path, 200),
        made_at=printable(report.made_at, 40),
        summary=printable(finding.summary, 1000),
        measures=tuple(_plain(told[name]) for name in names[:SHOWN]),
        exposes=_exposes(asked.id, finding),
    )


def _plain(m: Measure) -> Measure:
    """A measure whose words cannot deceive, and whose numbers are numbers."""
    ends = {name: value if _finite(value := getattr(m, name)) else None for name in ("low", "high", "chance")}
    words = {"name": printable(m.name, 80), "unit": printable(m.unit, 40), "note": printable(m.note, 300)}
    return m.model_copy(update={**ends, **words})


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _exposes(id: str, finding: Finding) -> bool | None:
    """Whether the numbers show the threat, at their intervals; None where they alone do not say."""
    of = {m.name: m for m in finding.measures if _finite(m.value)}

    def beyond(name: str, chance: float) -> bool | None:
        m = of.get(name)
        return None if m is None or m.low is None or not math.isfinite(m.low) else m.low > chance

    def significant(name: str) -> bool | None:
        m = of.get(name)
        return None if m is None or m.value is None else m.value <= P_VALUE

    rules: dict[str, Callable[[], bool | None]] = {
        "membership": lambda: _both(beyond("auc", CHANCE), significant("p")),
        "reconstruction": lambda: (
            beyond("pixels.gained", CHANCE) if "pixels.gained" in of else beyond("pixels.auc", CHANCE)
        ),
        "copies": lambda: significant("p"),
        "inversion": lambda: beyond("beyond-controls", 0.0),
        # The summary of a test also tells of members, which have a row of their own.
        "endpoint": lambda: finding.severity >= Severity.MEDIUM if finding.technique == "borders" else None,
    }
    return rules[id]() if id in rules else None


def _both(one: bool | None, other: bool | None) -> bool | None:
    return None if one is None or other is None else one and other


def _severity(vectors: Sequence[Row], primary: Sequence[Row]) -> tuple[Severity, tuple[str, ...]]:
    """High, as the document has it, until tests that could have found something did not, and a promise stands."""
    shown = [row for row in vectors if any(e.exposes for e in row.evidence)]
    if shown:
        return Severity.HIGH, tuple(f"Measured: {row.title.lower()} ({_by(row)})." for row in shown)
    of = {row.id: row for row in (*vectors, *primary)}
    quiet = {row.id for row in vectors if any(e.exposes is False for e in row.evidence)}
    power = any(_value(e, "least-auc") <= POWER for e in of["membership"].evidence if e.exposes is False)
    promised = min((_value(e, "epsilon") for e in of["privacy"].evidence), default=math.inf)
    lacking = [
        *["no membership test that could find an area of 0.65 was run and found nothing"] * (not power),
        *["neither reconstruction nor copying was looked for in vain"] * (not quiet & {"reconstruction", "copies"}),
        *[f"no training with an epsilon of {EPSILON:g} or less is among the runs"] * (promised > EPSILON),
    ]
    if lacking:
        return Severity.HIGH, (f"The document's own severity stands: {'; '.join(lacking)}.",)
    return Severity.MEDIUM, (
        f"Membership and reconstruction were looked for and not found, and an epsilon of {promised:.3g} is promised. "
        "Attacks that nobody has run may do better, which is why it is not lower.",
    )


def _value(evidence: Evidence, name: str) -> float:
    return next((m.value for m in evidence.measures if m.name == name and m.value is not None), math.inf)


def _by(row: Row) -> str:
    return ", ".join(dict.fromkeys(e.technique for e in row.evidence if e.exposes))


def _subjects(runs: Sequence[tuple[str, Report]]) -> Iterator[Subject]:
    """Each file or address once."""
    seen = set()
    for _, report in runs:
        t = report.target
        if (t.sha256 or t.path) not in seen:
            seen.add(t.sha256 or t.path)
            networks = tuple(printable(line, 300) for line in t.networks[:8])
            yield Subject(path=printable(t.path, 200), sha256=printable(t.sha256, 64), networks=networks)


def _notes(subjects: Sequence[Subject]) -> Iterator[str]:
    yield "Numbers are quoted from the runs' reports, and were not measured again; whoever wrote these could have lied."
    models = [s for s in subjects if s.networks]
    if len(models) > 1:
        yield f"The runs are about {len(models)} models: see below which number is about which."
    yield "Private training clips and noises what sees data: the critic. It takes longer, and its images are worse."
    yield "Anonymised images cost quality; what was done to which file belongs in a log."
    yield "A filter is a part of its own, which has to be kept up to date; held images need a person."
    yield "Membership tests need records that were kept out of training from the beginning."
    yield "No test shows that nothing leaks: each has the power that stands beside it."
