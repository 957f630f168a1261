"""The whole vector, scaled as in the paper: in z, where a style generator takes any scale out again, and in w."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar, Literal

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.experiment import FEWEST, Experiment, Line, Scale, Spread, Told, median, shown, table, values
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.looking import Look, differs, seeds
from genvet.reproduce.stylegan.networks import parent
from genvet.studies.scale import ABOUT_MEAN, INVISIBLE, Given, Scaled
from genvet.studies.scale import Scale as Scaling

FACTORS = (0.05, 0.5, 5.0, 10.0)
"""The paper's, apart from 1."""
WAYS = ("z", "w", ABOUT_MEAN)
READ = ("brightness", "contrast", "sharpness", "saturation", "hue cosine", "hue sine")
"""What the paper sees change, in our factors."""
PLAINLY = 0.5
"""Standard deviations across samples, from which on a reading is called changed."""


class ScaledParent(Look):
    """One network's vectors, scaled in every way."""

    study: Scaling

    @property
    def probe(self) -> Scaling:
        return self.study

    def __call__(self, place: Place) -> Numbers:
        return numbers(self.study(self.generator(place), Given(), Rng(self.parent.seed).fork("scale")))


def numbers(found: Scaled) -> Numbers:
    """All that the table needs of one network."""
    told: dict[str, float | None] = {"rounding": found.rounding}
    for row in found.rows:
        at = f"{row.way}@{row.factor:g}"
        told |= {f"largest/{at}": row.largest, f"mean/{at}": row.mean, f"variety/{at}": row.variety}
        told |= {f"{name}/{at}": value for name, value in zip(found.read, row.read, strict=True) if name in READ}
    for way in {row.way for row in found.rows}:
        told[f"largest/{way}"] = max(row.largest for row in found.of(way))
        told[f"mean/{way}"] = max(row.mean for row in found.of(way))
    return told


class Scalings(Experiment):
    """Factors of 0.05 to 10, in z, in w, about the mean of w, and in each layer."""

    title: ClassVar[str] = "The whole vector, scaled"
    source: ClassVar[str] = f"{SOURCE}, sec. VI-C"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(ScaledParent(parent=parent(scale, seed), study=study(scale)) for seed in seeds(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        remarks = (
            differs(scale),
            "The paper scales z and sees images change; our networks normalise z, as all of NVlabs' and the usual ones "
            "do. What it shows can come from a network without that norm, or from scaling w.",
            "Sharpness is the step between neighbouring pixels over the contrast, so that it does not rise with it.",
        )
        return Told(
            (table(self.title, ("scaled", "by", "what"), _lines(done)),),
            tuple(_claims(done)),
            (_figure(done),),
            remarks,
        )


def study(scale: Scale) -> Scaling:
    """What is measured, at each scale."""
    if scale == "smoke":
        return Scaling(factors=FACTORS, latents=3)
    return Scaling(factors=FACTORS, latents=64 if scale == "small" else 256)


def _ours(done: Done, name: str) -> Spread | None:
    return median(values(done, name))


def _lines(done: Done) -> Iterator[Line]:
    yield Line(("z", "rounding", "largest change of a pixel, of 2"), None, _ours(done, "rounding"))
    for way, factor in product(WAYS, FACTORS):
        by = f"{factor:g}"
        for name, what in (("largest", "largest change of a pixel, of 2"), ("mean", "mean change of a pixel, of 2")):
            yield Line((way, by, what), None, _ours(done, f"{name}/{way}@{factor:g}"))
        yield Line(
            (way, by, "differences between samples that are left"), None, _ours(done, f"variety/{way}@{factor:g}")
        )
        for reading in READ:
            ours = _ours(done, f"{reading}/{way}@{factor:g}")
            if ours:
                yield Line((way, by, f"{reading}, in standard deviations"), None, ours)
    for layer in range(32):
        ours = _ours(done, f"mean/w[{layer}]")
        if ours:
            yield Line((f"w of layer {layer}", "the worst of all", "mean change of a pixel, of 2"), None, ours)


def _figure(done: Done) -> Figure:
    series = {}
    for way in WAYS:
        known = [(factor, ours.value) for factor in FACTORS if (ours := _ours(done, f"mean/{way}@{factor:g}"))]
        if known:
            series[way] = [list(column) for column in zip(*known, strict=True)]
    data = {"series": series, "x": "factor", "y": "mean change of a pixel, of 2", "log": "x"}
    return Figure(kind="curve", title="What scaling changes", data=data)


Status = Literal["holds", "part", "not"]


def _claims(done: Done) -> Iterator[Claim]:
    z, rounding = _ours(done, "largest/z"), _ours(done, "rounding")
    status: Status = "holds" if z and z.low >= INVISIBLE else "part" if z and z.high >= INVISIBLE else "not"
    beside = (
        f"the largest change of a pixel at any factor; below {INVISIBLE:.4f} nobody sees it; rounding {shown(rounding)}"
    )
    yield _claim("scaling-z-changes-images", z, status, beside)
    w = _ours(done, "largest/w")
    beside = "the same of w, in which the effects of the paper can be had"
    yield _claim("scaling-w-changes-images", w, "holds" if w and w.low >= INVISIBLE else "not", beside)
    told = f"standard deviations; {PLAINLY:g} or more is called a change"
    blur = _ours(done, "sharpness/w@0.05")
    yield _claim("w-at-0.05-is-blurred", blur, _changed(blur, sign=-1), f"sharpness, in {told}")
    more = _ours(done, "contrast/w@5")
    yield _claim("w-at-5-is-exaggerated", more, _changed(more, sign=1), f"contrast, in {told}")
    names = ("brightness", "saturation", "hue cosine", "hue sine")
    found = [(abs(ours.value), name, ours) for name in names if (ours := _ours(done, f"{name}/w@5"))]
    top = max(found, default=None)
    ours = top[2] if top else None
    beside = f"{top[1] if top else 'none'}, the most of {len(found)} that there are, in {told}"
    yield _claim("w-at-5-changes-light-and-colour", ours, max(_changed(ours, 1), _changed(ours, -1), key=_rank), beside)


def _rank(status: Status) -> int:
    return ("not", "part", "holds").index(status)


def _changed(ours: Spread | None, sign: int) -> Status:
    """Whether a reading goes this way in every network, in the middle one, or in neither."""
    if ours is None or sign * ours.value < PLAINLY:
        return "not"
    return "holds" if min(sign * ours.low, sign * ours.high) >= PLAINLY else "part"


def _claim(name: str, ours: Spread | None, status: Status, beside: str) -> Claim:
    """Undecided with fewer networks than a claim is decided on."""
    sure = ours is not None and ours.n >= FEWEST
    evidence = f"ours {shown(ours)}; {beside}"
    return Claim(id=f"stylegan.scale.{name}", status=status if sure else "undecided", evidence=evidence)
