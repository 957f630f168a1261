"""Whether images of a StyleGAN can be told from real ones once it is pruned: what the paper leaves to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table, values
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.networks import Styled, parent
from genvet.studies.detect import CONTROL, HELD_OUT, OTHER, Detect, Given

DETECTORS = (
    "radial spectrum",
    "cosine spectrum",
    "co-occurrences",
    "fingerprint",
    "small CNN",
    "neighbours",
    "own critic",
)
SHARES = (0.24, 0.31, 0.5, 0.68)
"""What thresholds of 0.3, 0.4, 0.67 and 1 take of the weights."""
STILL = 0.02
"""By how much the area may fall before detection is called weaker."""
CHANCE = 0.05
"""How far from a half the control may lie."""


class DetectedParent(Cell):
    """One trained network: seven detectors on all kinds of its images, and on those of another seed."""

    parent: Styled
    other: Styled
    study: Detect

    @property
    def name(self) -> str:
        return f"{self.parent.name}.detect"

    def needs(self) -> tuple[Step, ...]:
        return self.parent, self.other

    def where(self) -> Mapping[str, object]:
        return {"seed": self.parent.seed}

    def techniques(self) -> tuple[type[Technique], ...]:
        return Detect, type(self.parent.recipe)

    def __call__(self, place: Place) -> Numbers:
        given = Given(
            reference=self.parent.images(place),
            critic=self.parent.critic(place),
            other=self.other.generator(place),
        )
        found = self.study(self.parent.generator(place), given, Rng(self.parent.seed).fork("detect"))
        told: dict[str, float | None] = {}
        for r in found.readings:
            told |= {f"area/{r.detector}@{r.images}": r.area.value, f"alarms/{r.detector}@{r.images}": r.alarms.value}
            told[f"off/{r.detector}@{r.images}"] = r.off
        return told


class Detection(Experiment):
    """A panel of detectors that learned from the whole network's images, on what pruning and delivery leave of them."""

    title: ClassVar[str] = "Beyond the paper: detectors after pruning, on another seed, and after delivery"
    source: ClassVar[str] = f"{SOURCE}, its open question"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_cells(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((kind, name), None, _ours(done, f"area/{name}@{kind}"), _note(done, name, kind))
            for kind in kinds(scale)
            for name in DETECTORS
        ]
        differs = (
            "The paper trains no detector. These need nobody's weights, and learn from one network's images at most.",
            "Real and generated images are brought to eight bits alike before anything looks at them.",
            "The best of the panel is chosen by its area on held-out images of the whole network.",
        )
        where = ("images", "detector")
        return Told((table(self.title, where, lines),), tuple(_claims(done, scale)), (_figure(done, scale),), differs)


def _cells(scale: Scale) -> Iterator[Cell]:
    seeds = 1 if scale == "smoke" else 3
    for seed in range(1, seeds + 1):
        yield DetectedParent(parent=parent(scale, seed), other=parent(scale, seed % 3 + 1), study=study(scale))


def study(scale: Scale) -> Detect:
    """What is measured, at each scale."""
    if scale == "smoke":
        return Detect(samples=40, tests=20, sparsities=SHARES[1:2], steps=5)
    return Detect(samples=2000 if scale == "small" else 10_000, tests=1000, sparsities=SHARES)


def pruned(scale: Scale) -> dict[float, str]:
    """What the images of each sparsity are called."""
    return {share: f"pruned {share:.0%}" for share in study(scale).sparsities}


def kinds(scale: Scale) -> tuple[str, ...]:
    """All kinds of images that every network has."""
    config = study(scale)
    sent: tuple[str, ...] = (f"JPEG {config.quality}", f"resized {config.resize:.0%}")
    sent += ("greyscale",) * (scale == "paper")  # the only one in colour
    return (HELD_OUT, *pruned(scale).values(), f"channels {config.channels:.0%}", OTHER, *sent, CONTROL)


def _ours(done: Done, name: str) -> Spread | None:
    return median(values(done, name))


def _note(done: Done, name: str, kind: str) -> str:
    """What goes with the area: true alarms, and how far probabilities are off."""
    caught, off = (_ours(done, f"{measure}/{name}@{kind}") for measure in ("alarms", "off"))
    return f"alarms at 1 %: {caught.value:.2f}; probabilities off by {off.value:.2f}" if caught and off else ""


def _figure(done: Done, scale: Scale) -> Figure:
    names = {0.0: HELD_OUT, **pruned(scale)}
    series = {}
    for detector in DETECTORS[:6]:
        known = [(s, found.value) for s, kind in names.items() if (found := _ours(done, f"area/{detector}@{kind}"))]
        if known:
            series[detector] = [[s for s, _ in known], [v for _, v in known]]
    data = {"series": series, "x": "share of the weights gone", "y": "area under the curve"}
    return Figure(kind="curve", title="Detectors on pruned networks", data=data)


def _claims(done: Done, scale: Scale) -> Iterator[Claim]:
    """Each with the best detector on the whole network, beside real images against real ones."""
    best = max(DETECTORS, key=lambda name: found.value if (found := _ours(done, f"area/{name}@{HELD_OUT}")) else 0.0)
    dense, control = (_ours(done, f"area/{best}@{kind}") for kind in (HELD_OUT, CONTROL))
    config = study(scale)
    changed = {
        "outlasts-pruning-by-a-third": pruned(scale)[0.31],
        "outlasts-the-loss-of-channels": f"channels {config.channels:.0%}",
        "holds-for-another-seed": OTHER,
        "outlasts-jpeg": f"JPEG {config.quality}",
        "outlasts-resizing": f"resized {config.resize:.0%}",
    }
    for what, kind in changed.items():
        ours = _ours(done, f"area/{best}@{kind}")
        least = dense.value - STILL if dense else 1.0
        others = {name: found for name in DETECTORS if (found := _ours(done, f"area/{name}@{kind}"))}
        stays = max(others, key=lambda name: others[name].value, default=best)
        # Where the best detector of the whole network's images fails, another one may still do as well.
        true, partly = ours and ours.value >= least, stays in others and others[stays].value >= least
        beside = f"{best}; the whole network {shown(dense)}; best here {stays} {shown(others.get(stays))}"
        told = claim(f"stylegan.detect.{what}", ours, true, f"{beside}; real against real {shown(control)}")
        yield told.model_copy(update={"status": "part"}) if told.status == "not" and partly else told
    for name in DETECTORS:
        ours = _ours(done, f"area/{name}@{CONTROL}")
        true = ours and abs(ours.value - 0.5) <= CHANCE
        yield claim(f"stylegan.detect.control.{name}", ours, true, f"chance 0.5, within {CHANCE:g}")
