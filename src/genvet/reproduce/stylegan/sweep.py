"""Single dimensions of z, moved as in the paper, beside random directions; and where a delta of 1000 leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.nets.style_space import Z
from genvet.nets.style_space import numbers as numbers_of
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.experiment import FEWEST, Experiment, Line, Scale, Spread, Told, median, shown, table, values
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.looking import TRAINED, UNTRAINED, Look, differs, seeds, worse
from genvet.reproduce.stylegan.networks import parent
from genvet.studies.sweep import Given, Sweep, Swept

NAMED = {3: "hair", 70: "brightness, glasses", 125: "facial hair"}
"""Dimensions that the paper names, and what it sees in them."""
DELTAS: dict[Scale, tuple[float, ...]] = {
    "smoke": (-5.0, 5.0, 1000.0),
    "small": (-1000.0, -100.0, -10.0, -5.0, -2.0, 2.0, 5.0, 10.0, 100.0, 1000.0),
    "paper": (-1000.0, -100.0, -10.0, -5.0, -2.0, 2.0, 5.0, 10.0, 100.0, 1000.0),
}
ORDINARY = 256
"""Samples that moved images are compared with by the critic."""
RARE = 0.05
"""How rarely as many random directions may be ahead of all others, for dimensions to be called special."""
ONE = 0.05
"""Of the differences between samples, below which they are called one image."""
PLAINLY = 0.75
"""How often the critic must prefer ordinary images for moved ones to be called broken."""


class SweptParent(Look):
    """One network's dimensions, one after the other."""

    study: Sweep

    @property
    def probe(self) -> Sweep:
        return self.study

    def __call__(self, place: Place) -> Numbers:
        generator, rng = self.generator(place), Rng(self.parent.seed).fork("sweep")
        found = self.study(generator, Given(), rng)
        told = numbers(found)
        if self.trained:
            critic, usual = self.parent.critic(place), generator.sample(ORDINARY, rng.fork("ordinary"))
            chosen = numbers_of(self.study.dimensions, generator.latent.dim)
            z = generator.latent.sample(0, len(chosen), rng.fork("moved"))
            for delta in found.deltas:  # a latent of its own for each dimension
                images = Z(generator).rendered(z + delta * torch.eye(z.shape[1])[list(chosen)])
                told[f"worse@{delta:g}"] = worse(critic, images, usual)
        return told


def numbers(found: Swept) -> dict[str, float | None]:
    """All that the table needs of one network but what its critic says."""
    told: dict[str, float | None] = {"special": found.special / len(found.names)}
    told |= {"by-chance": found.by_chance / len(found.names), "special.p": found.p_special}
    ones, others = (float(e.value.abs().amax(1).median()) for e in (found.effects, found.controls))
    told |= {"effect": ones, "effect.random": others, "ratio": ones / max(others, 1e-12)}
    for i, delta in enumerate(found.deltas):
        told[f"variety@{delta:g}"] = float(found.moves.variety[:, i].median())
        told[f"w@{delta:g}"] = float(found.w_left[:, i].median()) if found.w_left is not None else None
    for k in NAMED:
        if f"z[{k}]" in found.names:
            at = found.names.index(f"z[{k}]")
            told |= {f"p@z{k}": found.p[at], f"effect@z{k}": float(found.effects.value[at].abs().max())}
    return told


class Sweeping(Experiment):
    """Dimensions 0 to 50, 70 and 125, by -1000 to 1000."""

    title: ClassVar[str] = "Single dimensions of z, moved"
    source: ClassVar[str] = f"{SOURCE}, sec. VI-D"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        learned = [SweptParent(parent=parent(scale, seed), study=study(scale)) for seed in seeds(scale)]
        return (*learned, *(cell.model_copy(update={"trained": False}) for cell in learned))

    def told(self, scale: Scale, done: Done) -> Told:
        remarks = (
            differs(scale),
            "The paper looks at pictures. Here image factors are measured, and random directions of the same length "
            "are the control: z is as evenly spread along them as along its axes.",
            "What a dimension of the paper's network shows says nothing of the same dimension of another network.",
        )
        lines = table(self.title, ("what", "at"), _lines(done, scale))
        return Told((lines,), tuple(_claims(done)), (_figure(done, scale),), remarks)


def study(scale: Scale) -> Sweep:
    """What is measured, at each scale."""
    if scale == "smoke":
        return Sweep(dimensions="0-3", deltas=DELTAS[scale], latents=4, controls=3)
    return Sweep(dimensions="0-50,70,125", deltas=DELTAS[scale], latents=16, controls=99)


def _ours(done: Done, name: str, network: str = TRAINED) -> Spread | None:
    return median(values(done, name, network=network))


def _lines(done: Done, scale: Scale) -> Iterator[Line]:
    for network in (TRAINED, UNTRAINED):
        chance, p = (_ours(done, name, network) for name in ("by-chance", "special.p"))
        note = f"by chance {chance.value:.2g}; p {p.value:.2g}" if chance and p else ""
        what = "share of dimensions that do more than any random direction"
        yield Line((what, network), None, _ours(done, "special", network), note)
        what = "strongest effect of a dimension, over that of a random direction"
        yield Line((what, network), None, _ours(done, "ratio", network), "1: no difference")
    for k, seen in NAMED.items():
        p = _ours(done, f"p@z{k}")
        note = f"p against random directions {p.value:.2g}" if p else "the network has no such dimension"
        yield Line(("strongest effect in standard deviations", f"z[{k}]"), seen, _ours(done, f"effect@z{k}"), note)
    for delta in DELTAS[scale]:
        at = f"{delta:+g}"
        yield Line(("differences between images that are left", at), None, _ours(done, f"variety@{delta:g}"))
        yield Line(("differences between w that are left", at), None, _ours(done, f"w@{delta:g}"))
        what = "how often the critic prefers an ordinary image"
        yield Line((what, at), None, _ours(done, f"worse@{delta:g}"), "a half: no difference")


def _figure(done: Done, scale: Scale) -> Figure:
    deltas = sorted(delta for delta in {0.0, *DELTAS[scale]} if delta >= 0)
    names = {"variety": "images", "w": "w", "worse": "critic prefers ordinary images"}
    known = {
        word: [(d, f.value) for d in deltas if d and (f := _ours(done, f"{n}@{d:g}"))] for n, word in names.items()
    }
    series = {word: [list(column) for column in zip(*pairs, strict=True)] for word, pairs in known.items() if pairs}
    data = {"series": series, "x": "delta", "y": "share", "log": "x"}
    caption = "How much samples still differ behind a move of one dimension, and whether the critic minds."
    return Figure(kind="curve", title="Where a large delta leads", caption=caption, data=data)


Status = Literal["holds", "part", "not"]


def _claims(done: Done) -> Iterator[Claim]:
    special, p, ratio = (_ours(done, name) for name in ("special", "special.p", "ratio"))
    control = _ours(done, "special.p", UNTRAINED)
    learned = not (control and control.value <= RARE)
    status: Status = "holds" if p and p.high <= RARE and learned else "part" if p and p.value <= RARE else "not"
    beside = (
        f"how likely as many random directions lead, at most {RARE:g}; ahead are {shown(special)} of the dimensions, "
        f"of untrained networks {shown(_ours(done, 'special', UNTRAINED))}, p "
        f"{shown(control)}; effects over those of random directions {shown(ratio)}"
    )
    yield _claim("a-dimension-is-a-feature", p, status, beside)
    left, w = _ours(done, "variety@1000"), _ours(done, "w@1000")
    gone: Status = "holds" if left and left.high < ONE else "not"
    beside = (
        f"of the differences between samples, below {ONE:g}: all become one image, since w keeps {shown(w)} of its own"
    )
    yield _claim("at-1000-a-sample-loses-its-features", left, gone, beside)
    broken = _ours(done, "worse@1000")
    lost: Status = (
        "holds" if broken and broken.low > PLAINLY else "part" if broken and broken.value > PLAINLY else "not"
    )
    beside = f"how often the critic prefers an ordinary image, above {PLAINLY:g}; a half is no difference"
    yield _claim("what-is-left-at-1000-is-no-image", broken, lost, beside)
    bent = _ours(done, "worse@5")
    distorted: Status = "holds" if bent and bent.low > PLAINLY else "part" if bent and bent.value > PLAINLY else "not"
    yield _claim("at-5-images-are-distorted", bent, distorted, beside)


def _claim(name: str, ours: Spread | None, status: Status, beside: str) -> Claim:
    """Undecided with fewer networks than a claim is decided on."""
    sure = ours is not None and ours.n >= FEWEST
    evidence = f"ours {shown(ours)}; {beside}"
    return Claim(id=f"stylegan.sweep.{name}", status=status if sure else "undecided", evidence=evidence)
