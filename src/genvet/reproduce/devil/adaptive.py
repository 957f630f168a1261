"""An attacker who knows each inspection: the price in distortion, and what the inspections' signals say then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from genvet.core.generator import Generator
from genvet.core.report import Claim, Scalar, Table
from genvet.core.technique import Technique
from genvet.files.convert import save
from genvet.files.thresholds import packaged
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import Clean
from genvet.reproduce.devil.planting import Attack, PlantCell
from genvet.reproduce.devil.scoring import MEASURES, Effort, distortions
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    median,
    shown,
    table,
    values,
)
from genvet.zoo.parents import Parent
from genvet.zoo.scoring import Look, Row, inspections, look

USUAL = "as usual"
SHARED: dict[str, dict[str, Any]] = {
    USUAL: {},
    "keeps batch norms": {"keep_norms": True},
    "smooth": {"smooth": 0.5},
    "narrow": {"narrow": 0.1},
    "decoys": {"decoys": 100},
}
HIDDEN: dict[str, dict[str, Any]] = {
    "shuffled": {"shuffle": True},
    "noise 0.1": {"shuffle": True, "noise": 0.1},
    "noise 0.5": {"shuffle": True, "noise": 0.5},
    "noise 1": {"shuffle": True, "noise": 1.0},
}
VARIANTS: dict[Attack, dict[str, dict[str, Any]]] = {"red": SHARED, "rex": {**SHARED, **HIDDEN}}
"""Settings of the attack, by what its attacker hides."""
AGAINST = {
    "keeps batch norms": "static.norms/",
    "smooth": "dynamic.sensitivity/",
    "narrow": "dynamic.sensitivity/",
    "decoys": "output.hidden/",
    "shuffled": "static.blocks/",
    "noise 0.1": "static.blocks/",
    "noise 0.5": "static.blocks/",
    "noise 1": "static.blocks/",
}
"""Whose signals each is meant to silence."""


class Innocent(Cell):
    """The signals of a clean parent."""

    parent: Parent
    depth: str

    @property
    def name(self) -> str:
        return f"{self.parent.name}.clean"

    def needs(self) -> tuple[Step, ...]:
        return (Clean(parent=self.parent),)

    def where(self) -> Mapping[str, object]:
        return {"attack": "none", "variant": USUAL}

    def techniques(self) -> tuple[type[Technique], ...]:
        return _looking()

    def __call__(self, place: Place) -> Numbers:
        return signals(Clean(parent=self.parent).generator(place), self.depth)


class Adapted(PlantCell):
    """Distortions and signals of one variant."""

    variant: str
    effort: Effort
    depth: str

    @property
    def name(self) -> str:
        return f"{self.plant.parent.name}.{self.plant.attack}.{self.variant.replace(' ', '-')}"

    def where(self) -> Mapping[str, object]:
        return {**super().where(), "variant": self.variant}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (*super().techniques(), *_looking())

    def __call__(self, place: Place) -> Numbers:
        made = self.plant.made(place)
        return {**distortions(self.plant, made, self.effort), **signals(made.planted, self.depth)}


def _looking() -> tuple[type[Technique], ...]:
    """The inspections that look at such networks: none of them is a style generator."""
    return tuple(entry.load() for entry in inspections() if entry.access != "StyleGenerator")


def signals(generator: Generator, depth: str) -> Numbers:
    """What every inspection's signals say of a generator, as a stranger's file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "generator.safetensors"
        save(generator, path)
        row = look(Look(path, Row(name="model", parent="model", signals={}), Path(folder) / "out", depth, 0, None))
    return row.signals if row else {}


class Adaptive(Experiment):
    """What hiding from inspections costs, and whether it works."""

    title: ClassVar[str] = "Beyond the paper: attackers who know the inspections"
    source: ClassVar[str] = f"{SOURCE}, sec. V-D asks for it"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_adapted(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        price = [
            Line((attack, variant, measure), None, _ours(done, measure, attack, variant))
            for attack, variants in VARIANTS.items()
            for variant in variants
            for measure in MEASURES
        ]
        price += [Line((a, v, "signals"), None, _loudest(done, a, v), LOUDEST) for a in VARIANTS for v in VARIANTS[a]]
        names = sorted({name for _, numbers in done for name in numbers if "/" in name})
        tables = (
            table(self.title, ("attack", "variant", "measure"), price),
            *(_said(done, names, a) for a in VARIANTS),
        )
        differs = (
            "The paper has no such attacker. A signal is silent up to scan's own limit for such networks, or where "
            "scan has none, up to the highest of these clean parents.",
        )
        return Told(tables, tuple(_claims(done, names)), (), (*differs, *scales.differs(scale)))


def _adapted(scale: Scale) -> Iterator[Cell]:
    parents, depth = (1, "quick") if scale == "smoke" else (3, "standard")
    variants = {a: {USUAL: v[USUAL]} for a, v in VARIANTS.items()} if scale == "smoke" else VARIANTS
    whole = scales.effort(scale)
    effort = whole.model_copy(update={"judged": 0, "closest": min(whole.closest, 10_000)})
    for seed in range(1, parents + 1):
        yield Innocent(parent=scales.parent("MNIST DCGAN", scale, seed), depth=depth)
        for attack, some in variants.items():
            for variant, settings in some.items():
                plant = scales.plant("MNIST DCGAN", attack, scale, (seed, seed), **settings)
                yield Adapted(plant=plant, variant=variant, effort=effort, depth=depth)


LOUDEST = "the largest of those that scan judges by, in times its limit"
FAMILY = "convolutional with batch norms"


def limits() -> Mapping[str, float]:
    """From where on scan calls a signal of such networks suspicious, by its name."""
    found = packaged().populations
    return {f"{x.technique}/{x.measure}": x.above for p in found for x in p.limits if x.family == FAMILY}


def _loudest(done: Done, attack: str, variant: str) -> Spread | None:
    """The signal that is farthest beyond scan's limit, as so many times that limit: 1 and more raises an alarm."""
    place = {"attack": attack, "variant": variant}.items()
    rows = [numbers for cell, numbers in done if place <= cell.where().items()]
    return median(
        max((value / most for name, most in limits().items() if (value := row.get(name)) is not None), default=None)
        for row in rows
    )


def _said(done: Done, names: list[str], attack: Attack) -> Table:
    """Signals by variant of one attack, beside the clean parents' highest."""
    variants = VARIANTS[attack]

    def row(name: str) -> tuple[Scalar, ...]:
        clean = _ours(done, name, "none", USUAL)
        found = [_ours(done, name, attack, variant) for variant in variants]
        return name, clean.high if clean else None, limits().get(name), *(f.value if f else None for f in found)

    columns = ("signal", "clean, highest", "limit of scan", *variants)
    title = f"Signals of {attack}, by what its attacker hides"
    return Table(title=title, columns=columns, rows=tuple(map(row, names)))


def _ours(done: Done, measure: str, attack: str, variant: str) -> Spread | None:
    return median(values(done, measure, attack=attack, variant=variant))


def _claims(done: Done, names: list[str]) -> Iterator[Claim]:
    """Whether each variant silences the signals that it is meant to, and still gives its target."""
    for attack, variants in VARIANTS.items():
        for variant in variants:
            if variant == USUAL:
                continue
            near = f"devil.adaptive.{attack}.{variant}"
            for name in (n for n in names if n.startswith(AGAINST[variant])):
                plain, hidden = (_ours(done, name, attack, v) for v in (USUAL, variant))
                clean = _ours(done, name, "none", USUAL)
                most = limits().get(name, clean.high if clean else None)
                silent = hidden and most is not None and hidden.value <= most
                beside = f"silent up to {most:.4g}; as usual {shown(plain)}" if most is not None else "none to compare"
                yield claim(f"{near}.silences.{name.replace('/', '.')}", hidden, silent, beside)
            loud, before = (_loudest(done, attack, v) for v in (variant, USUAL))
            quiet, beside = loud and loud.value <= 1, f"times scan's limit; as usual {shown(before)}"
            sure = loud is not None and not loud.low <= 1 < loud.high
            yield claim(f"{near}.stays-below-scan", loud, quiet, beside, decided=sure)
            plain, ours = (_ours(done, "expected-distortion", attack, v) for v in (USUAL, variant))
            dearer = ours and plain and ours.value > plain.value
            beside = f"as usual {shown(plain)}"
            yield claim(f"{near}.costs-distortion", ours, dearer, beside, decided=apart(ours, plain))
