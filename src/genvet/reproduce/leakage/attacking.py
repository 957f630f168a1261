"""One attack on one generator, and what the tables make of such cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from genvet.attacks.membership.exposed import Exposed
from genvet.catalogue import find
from genvet.core.data import Images
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Result, Technique
from genvet.engine.running import gift, handed
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Scale, Spread, median
from genvet.reproduce.leakage.networks import Held, Learned, unasked
from genvet.training.shadows import kept_in

Of = Literal["members", "strangers"]


class Leak(Cell):
    """What one attack tells of the records of one generator."""

    variant: str
    """As the tables name it."""
    attack: str
    settings: dict[str, Any]
    target: Learned
    others: int
    """Non-members, and unseen records."""
    most: int = 0
    """Of each set, where an attack is dear; 0 takes all."""
    of: Of = "members"
    """Strangers are asked about by themselves, beside strangers that it never saw."""
    calibrated: bool = False
    """Beside a generator of other records."""

    @property
    def name(self) -> str:
        parts = [self.variant.replace(" ", "-"), *["strangers"] * (self.of == "strangers")]
        size = [str(self.others), *[f"most{self.most}"] * bool(self.most), *["beside"] * self.calibrated]
        return ".".join([self.target.name, *parts, *size])

    def needs(self) -> tuple[Step, ...]:
        return (self.target, *([self.target.beside()] if self.calibrated else []))

    def where(self) -> Mapping[str, object]:
        return {"variant": self.variant, "data": self.target.data, "members": self.target.members, "of": self.of}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (find(f"membership.{self.attack}", "attack").load(),)

    def __call__(self, place: Place) -> Numbers:
        kind: Any = find(f"membership.{self.attack}", "attack").load()
        probe: Probe = kind(**self.settings)
        generator = self.target.generator(place)
        held = self.target.held(place, self.others)
        have: dict[str, Any] = {**self._records(held), "critic": self.target.critic(place)}
        if "reference" in probe.gift().__dataclass_fields__:
            have |= {"reference": unasked(held.reference, list(self._records(held).values()))}
        if self.calibrated:
            beside = self.target.beside()
            have |= {"reference_model": beside.generator(place), "reference_critic": beside.critic(place)}
        with kept_in(place.cache / "shadows"):
            found = probe(handed(probe, generator), gift(probe, have), Rng(self.target.seed).fork(self.variant))
        return numbers(found)

    def _records(self, held: Held) -> dict[str, Images]:
        sets = {"members": held.members, "non_members": held.non_members, "unseen": held.unseen}
        if self.of == "strangers":
            sets = {"members": held.strangers, "non_members": held.new_strangers}
        return {name: _first(images, self.most) for name, images in sets.items() if len(images)}


def _first(images: Images, most: int) -> Images:
    return Images(images.x[:most], images.names[:most]) if most else images


def numbers(found: Result) -> Numbers:
    """All that an attack measured; of a membership attack, every signal by its number."""
    told = {measure.name: measure.value for measure in found.measures()}
    if not isinstance(found, Exposed):
        return told
    signals = {found.key(name): f"{i}." for i, name in enumerate(found.signals) if i}
    short: dict[str, float | None] = {}
    for name, value in told.items():
        begin = next((long for long in signals if name.startswith(long)), "")
        short[signals.get(begin, "") + name.removeprefix(begin)] = value
    return {**short, "low": found.first.interval.low, "high": found.first.interval.high}


Key = tuple[str, int]
"""The data and the seed of a generator."""


def over_seeds(
    done: Done, measure: str, variant: str, targets: Iterable[Learned], of: Of = "members"
) -> dict[Key, float]:
    """One number of every cell on these generators, by data and seed."""
    wanted = {target.name: (target.data, target.seed) for target in targets}
    return {
        wanted[cell.target.name]: value
        for cell, told in done
        if isinstance(cell, Leak) and cell.variant == variant and cell.of == of and cell.target.name in wanted
        if (value := told.get(measure)) is not None
    }


def spread(found: Mapping[Key, float]) -> Spread | None:
    """The median over seeds, and the range."""
    return median(found.values())


def ahead(one: Mapping[Key, float], other: Mapping[Key, float]) -> Spread | None:
    """The median over seeds of how much the one is larger, and the range."""
    return median(one[key] - other[key] for key in one if key in other)


DIFFERS = (
    "The analysis gives no numbers: what it says in words is held against ours.",
    "Networks are DCGANs of 28-pixel images, not StyleGANs of faces; records are images, and no two of a person.",
)
NEARER = 0.8
"""What counts as a copy, of the distance to held-out records. Small DCGANs blur: of 3,000 samples of one that learned
64 digits, none is at 0.5, 8 % are at 0.8, and 0.03 % with both sets exchanged."""
ATTACKS: dict[str, tuple[str, dict[Scale, dict[str, Any]]]] = {
    "critic": ("critic_score", {"smoke": {"samples": 20}, "small": {"samples": 500}, "paper": {}}),
    "nearest": ("nearest", {"smoke": {"samples": 30}, "small": {"samples": 10_000}, "paper": {"samples": 1_000_000}}),
    "copying": (
        "copying",
        {
            "smoke": {"samples": 30, "ratio": NEARER},
            "small": {"samples": 5000, "ratio": NEARER},
            "paper": {"samples": 100_000, "ratio": NEARER},
        },
    ),
    "ranked": (
        "reconstruction",
        {
            "smoke": {"guide": "membership", "samples": 30, "keep": 5},
            "small": {"guide": "membership", "samples": 2000, "keep": 100},
            "paper": {"guide": "membership", "samples": 100_000, "keep": 1000},
        },
    ),
    "monte carlo": (
        "monte_carlo",
        {"smoke": {"samples": 30, "size": 2}, "small": {"samples": 10_000}, "paper": {"samples": 100_000}},
    ),
    "density ratio": (
        "density_ratio",
        {"smoke": {"samples": 30, "directions": 1}, "small": {"samples": 10_000}, "paper": {"samples": 100_000}},
    ),
    "recovery": (
        "latent_recovery",
        {
            "smoke": {"restarts": 1, "steps": 2},
            "small": {"restarts": 2, "steps": 60},
            "paper": {"restarts": 5, "steps": 500},
        },
    ),
    "queries": (
        "latent_recovery_black_box",
        {
            "smoke": {"samples": 20, "steps": 2, "pairs": 2},
            "small": {"samples": 5000, "steps": 20, "pairs": 8},
            "paper": {"samples": 100_000, "steps": 200, "pairs": 32},
        },
    ),
}
"""As the tables name them: the technique, and its settings at each scale."""


def leak(scale: Scale, variant: str, target: Learned, others: int, **more: Any) -> Leak:
    """One of the attacks at this scale."""
    attack, settings = ATTACKS[variant]
    return Leak(variant=variant, attack=attack, settings=settings[scale], target=target, others=others, **more)
