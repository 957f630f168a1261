"""Whether single dimensions are single factors, measured: the paper judges by eye, and lists it as its next check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import ClassVar, Literal

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.experiment import (
    FEWEST,
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    median,
    shown,
    table,
    values,
)
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.looking import TRAINED, UNTRAINED, Look, differs, seeds
from genvet.reproduce.stylegan.networks import parent
from genvet.studies.disentangle import SCORES, Disentangle, Disentangled, Given

SPACES: tuple[Literal["z", "w"], ...] = ("z", "w")
NAMES = {
    "dci.disentanglement": "DCI, disentanglement",
    "dci.completeness": "DCI, completeness",
    "mig": "mutual information gap",
    "sap": "separated attribute predictability",
}
RARE = 0.05
"""How rarely a turned basis may score as high for axes to be special: four times the smallest p of four scores."""


class LookedInto(Look):
    """The dimensions of one space of one network."""

    study: Disentangle

    @property
    def probe(self) -> Disentangle:
        return self.study

    @property
    def name(self) -> str:
        return f"{super().name}.{self.study.space}"

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "space": self.study.space}

    def __call__(self, place: Place) -> Numbers:
        return numbers(self.study(self.generator(place), Given(), Rng(self.parent.seed).fork("disentangle")))


def numbers(found: Disentangled) -> Numbers:
    """All that the table needs of one space."""
    told: dict[str, float | None] = {"explained": found.explained, "special": found.special / len(found.named)}
    told["by-chance"] = found.by_chance / len(found.named)
    for score in SCORES:
        turned = sorted(found.turned[score])
        told |= {score: found.scores[score].value, f"{score}.turned": turned[len(turned) // 2]}
        told[f"{score}.p"] = found.p(score)
    told["p"] = min(1.0, len(SCORES) * min(found.p(score) for score in SCORES))
    for named in found.named:
        told |= {f"best@{named.factor}": named.value.value, f"turned@{named.factor}": max(named.turned)}
        told[f"p@{named.factor}"] = named.p
    told["path-length"] = found.path.value if found.path else None
    told["separability"] = 2 ** sum(found.separable.values()) if found.separable else None
    return told


class Disentanglement(Experiment):
    """DCI, MIG and SAP of z and w without an encoder, beside turned bases and networks that learned nothing."""

    title: ClassVar[str] = "Whether single dimensions are single factors"
    source: ClassVar[str] = f"{SOURCE}, its assumption in sec. VI-D and next check 1"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        cells = [
            LookedInto(parent=parent(scale, seed), study=study(scale, space))
            for seed, space in product(seeds(scale), SPACES)
        ]
        return (*cells, *(cell.model_copy(update={"trained": False}) for cell in cells))

    def told(self, scale: Scale, done: Done) -> Told:
        remarks = (
            differs(scale),
            "The paper measures nothing here. The control is ours: the same points in bases turned at random, which z "
            "is as evenly spread in as in its own.",
            "Factors are measured on images without trained weights; what a person calls glasses is not among them.",
            "Path lengths are in a random feature space of our own (random-conv-1), and compare within it alone.",
        )
        where = ("space", "network", "what")
        tables = (
            table(self.title, where, _lines(done)),
            table("The best dimension of each factor", where, _best(done)),
        )
        return Told(tables, tuple(_claims(done)), (_figure(done),), remarks)


def study(scale: Scale, space: Literal["z", "w"]) -> Disentangle:
    """What is measured, at each scale."""
    if scale == "smoke":
        return Disentangle(space=space, samples=160, turns=2, paths=8)
    return Disentangle(space=space, samples=4000 if scale == "small" else 20_000, turns=199, paths=1000)


def _ours(done: Done, name: str, space: str, network: str = TRAINED) -> Spread | None:
    return median(values(done, name, space=space, network=network))


def _lines(done: Done) -> Iterator[Line]:
    for space, network in product(SPACES, (TRAINED, UNTRAINED)):
        for score, words in NAMES.items():
            turned, p = (_ours(done, f"{score}.{of}", space, network) for of in ("turned", "p"))
            note = f"turned bases {turned.value:.3g}, p {p.value:.2g}" if turned and p else ""
            yield Line((space, network, words), None, _ours(done, score, space, network), note)
        chance = _ours(done, "by-chance", space, network)
        note = f"by chance {chance.value:.2g}" if chance else ""
        what = "share of factors with a dimension that no turned basis has the like of"
        yield Line((space, network, what), None, _ours(done, "special", space, network), note)
        for name, words in (
            ("explained", "share of the factors that the space explains"),
            ("separability", "linear separability"),
            ("path-length", "path length in random-conv-1"),
        ):
            yield Line((space, network, words), None, _ours(done, name, space, network))


def _factors(done: Done) -> list[str]:
    names = (name for _, numbers in done for name in numbers)
    return list(dict.fromkeys(name.removeprefix("best@") for name in names if name.startswith("best@")))


def _best(done: Done) -> Iterator[Line]:
    for space, network, factor in product(SPACES, (TRAINED, UNTRAINED), _factors(done)):
        turned, p = (_ours(done, f"{of}@{factor}", space, network) for of in ("turned", "p"))
        note = f"at most {turned.value:.3g} in turned bases, p {p.value:.2g}" if turned and p else ""
        yield Line(
            (space, network, f"{factor}, squared correlation"),
            None,
            _ours(done, f"best@{factor}", space, network),
            note,
        )


def _figure(done: Done) -> Figure:
    """Scores of the axes over those of turned bases, by space and network."""
    kinds = list(product(SPACES, (TRAINED, UNTRAINED)))
    rows = []
    for space, network in kinds:
        pairs = ((_ours(done, s, space, network), _ours(done, f"{s}.turned", space, network)) for s in SCORES)
        rows.append([a.value - b.value if a and b else None for a, b in pairs])
    data = {"values": rows, "rows": [f"{s}, {n}" for s, n in kinds], "columns": list(NAMES.values()), "centred": True}
    return Figure(kind="heat", title="By how much the axes score higher than turned bases", data=data)


Status = Literal["holds", "part", "not"]


def _claims(done: Done) -> Iterator[Claim]:
    for space in SPACES:
        p, control = _ours(done, "p", space), _ours(done, "p", space, UNTRAINED)
        learned = not (control and control.value <= RARE)  # axes behind a rectifier can be special from the start
        status: Status = "holds" if p and p.high <= RARE and learned else "part" if p and p.value <= RARE else "not"
        beside = (
            f"how rarely a turned basis scores as high, at most {RARE:g}; untrained networks {shown(control)}; "
            f"factors with such a dimension {shown(_ours(done, 'special', space))}"
        )
        yield _claim(f"dimensions-of-{space}-are-factors", p, status, beside)
    for name, score, more in (
        ("w-is-more-disentangled-than-z", "dci.disentanglement", True),
        ("w-is-more-separable-than-z", "separability", False),
    ):
        z, w = (_ours(done, score, space) for space in SPACES)
        ahead = z and w and (w.value > z.value) == more
        claim = _claim(name, w, "holds" if ahead else "not", f"z {shown(z)}")
        yield claim if apart(z, w) else claim.model_copy(update={"status": "undecided"})


def _claim(name: str, ours: Spread | None, status: Status, beside: str) -> Claim:
    """Undecided with fewer networks than a claim is decided on."""
    sure = ours is not None and ours.n >= FEWEST
    evidence = f"ours {shown(ours)}; {beside}"
    return Claim(id=f"stylegan.disentangle.{name}", status=status if sure else "undecided", evidence=evidence)
