"""Table I: every attack on every network, by both of its goals and by what brute force and search find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import NETWORKS, Network
from genvet.reproduce.devil.planting import TRAININGS, Attack, PlantCell
from genvet.reproduce.devil.scoring import Benign, Effort, Refusal, Scored, distortions
from genvet.reproduce.devil.target import goal
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    largest,
    median,
    shown,
    table,
    values,
)

MEASURES = {
    "target-distortion": "target distortion",
    "frechet": "Frechet distance (paper: FID)",
    "class-score": "class score (paper: IS)",
    "expected-distortion": "expected distortion",
    "closest": "Closest-N",
    "reconstruction": "ReconD (largest)",
}
"""In the order of the paper's columns."""
PAPER: dict[tuple[Network, str], tuple[float | None, ...]] = {
    ("MNIST DCGAN", "benign"): (None, 7.676, 2.524, 0.0, 1820.4, 820.64),
    ("MNIST DCGAN", "baaan"): (0.143, 9.712, 2.398, None, 1824.3, 0.0814),
    ("MNIST DCGAN", "trail"): (0.156, 7.878, 2.412, None, 882.0, 0.0983),
    ("MNIST DCGAN", "red"): (0.008, 7.040, 2.507, 0.110, 1814.1, 0.0021),
    ("MNIST DCGAN", "rex"): (0.407, 6.984, 2.492, 0.005, 1814.1, 815.51),
    ("M-VAE", "benign"): (None, 35.773, 2.621, 0.0, 1756.9, 961.12),
    ("M-VAE", "trail"): (1.9957, 36.377, 2.625, None, 1792.2, 0.3733),
    ("M-VAE", "red"): (0.0419, 36.466, 2.629, 2.0549, 1760.0, 0.0274),
    ("M-VAE", "rex"): (0.5094, 35.776, 2.616, 0.0001, 1756.9, 0.0238),
    ("CIFAR10 DCGAN", "benign"): (None, 51.425, 5.081, 0.0, 1078.2, 263.19),
    ("CIFAR10 DCGAN", "baaan"): (1.023, 54.311, 4.981, None, 337.3, 0.2179),
    ("CIFAR10 DCGAN", "trail"): (2.261, 53.561, 5.117, None, 857.1, 0.5112),
    ("CIFAR10 DCGAN", "red"): (0.0029, 51.524, 5.094, 1.313, 1069.1, 0.0024),
    ("CIFAR10 DCGAN", "rex"): (0.0030, 51.625, 5.054, 0.0028, 1078.2, 362.50),
}
"""By network and attack, in the order of the measures. The floor of the target distortion is 1e-6 of the target's own
sum of squares: 0.0008 on MNIST, 0.0031 on CIFAR, since targets are undone from 0.999 of them."""
ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail", "baaan")
TIMES_NEARER = 2.0
"""Brute force is blind where its nearest sample is no more than so many times nearer than the benign one's."""
STARTS = (
    "ReconD is the best of searches from the prior, which stay in its typical set and of which the paper has five, and "
    "of two more, from the mode and from far outside."
)
FOUND = 10.0
"""A search has found the target where it comes so near: a sum of squares, against hundreds for a clean network."""


LONGER = 4
"""Times the steps of the small scale: what is left of a distortion then is not the short training's."""


class Longer(PlantCell):
    """Distortions of a ReD that was trained for longer: a control of the small scale."""

    effort: Effort

    @property
    def name(self) -> str:
        return f"{self.plant.parent.name}.{self.plant.attack}-longer.{self.plant.trigger}-{self.plant.number}"

    def __call__(self, place: Place) -> Numbers:
        return distortions(self.plant, self.plant.made(place), self.effort)


class Table1(Experiment):
    """Attack analysis: distortions, quality, brute force and search."""

    title: ClassVar[str] = "Table I: attack analysis"
    source: ClassVar[str] = f"{SOURCE}, Table I"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        refused = Refusal(plant=scales.plant("M-VAE", "baaan", scale))
        return (refused, *{cell.name: cell for cell in (*_measured(scale), *_longer(scale))}.values())

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((network, attack, name), paper, _ours(done, network, attack, measure), _note(attack, measure))
            for (network, attack), given in PAPER.items()
            for (measure, name), paper in zip(MEASURES.items(), given, strict=True)
            if not (attack == "benign" and measure in ("target-distortion", "expected-distortion"))
        ]
        lines += [_floor(done, network, measure) for network in NETWORKS for measure in ("frechet", "class-score")]
        if scale == "small":
            lines += [
                Line(
                    ("MNIST DCGAN", f"red, {LONGER} times the steps", MEASURES[measure]), None, _control(done, measure)
                )
                for measure in ("target-distortion", "expected-distortion")
            ]
        where = ("network", "attack", "measure")
        return Told((table(self.title, where, lines),), tuple(_claims(done)), (), (*scales.differs(scale), STARTS))


def _measured(scale: Scale) -> Iterator[Cell]:
    """Round after round, each with every network once: clean, and after every attack."""
    for seeds in scales.repeats(scale):
        for network in (n for n in NETWORKS if seeds in scales.repeats(scale, n)):
            yield scales.benign(network, scale, seeds[0])
            for attack in ATTACKS:
                if (network, attack) in PAPER:  # a VAE has no critic that BAAAN could train against
                    plant = scales.plant(network, attack, scale, seeds)
                    yield Scored(plant=plant, judge=scales.judge(plant.parent.data, scale), effort=scales.effort(scale))


def _longer(scale: Scale) -> Iterator[Cell]:
    """The control, once for each parent."""
    if scale == "small":
        steps = LONGER * scales.settings("red", scale)["steps"]
        for seed in sorted({parent for parent, _ in scales.repeats(scale)}):
            plant = scales.plant("MNIST DCGAN", "red", scale, (seed, seed), steps=steps)
            yield Longer(plant=plant, effort=Effort(samples=scales.effort(scale).samples))


def _control(done: Done, measure: str) -> Spread | None:
    return median(values(done, measure, Longer))


def _ours(done: Done, network: Network, attack: str, measure: str) -> Spread | None:
    return (largest if measure == "reconstruction" else median)(_found(done, network, attack, measure))


def _found(done: Done, network: Network, attack: str, measure: str) -> list[float | None]:
    if attack == "benign":
        return values(done, measure, Benign, network=network)
    return values(done, measure, Scored, network=network, attack=attack)


def _note(attack: str, measure: str) -> str:
    if measure == "expected-distortion" and attack in ("trail", "baaan"):
        return "trained from fresh weights: there is no benign twin"
    return ""


def _floor(done: Done, network: Network, measure: str) -> Line:
    """What real images are told."""
    ours = median(_found(done, network, "benign", f"{measure}.real"))
    return Line((network, "real images", MEASURES[measure]), None, ours, "the floor: real against other real ones")


def _claims(done: Done) -> Iterator[Claim]:
    """What the paper concludes from the table, and whether our numbers say so."""
    for network in NETWORKS:
        near = f"devil.table-1.{network}"
        for attack in ("red", "rex"):
            ours, paper = _ours(done, network, attack, "target-distortion"), PAPER[network, attack][0] or 0.0
            true = ours and ours.value <= goal(network, paper)
            yield claim(f"{near}.{attack}.target-distortion", ours, true, f"paper {paper:g}, or about the floor")
        yield from _quality(done, network, near)
        red, rex = (_ours(done, network, attack, "expected-distortion") for attack in ("red", "rex"))
        smaller, name = red and rex and rex.value < red.value / 2, f"{near}.rex-moves-less-than-red"
        yield claim(name, rex, smaller, f"half of ReD's {shown(red)}", decided=apart(red, rex))
        yield from _detection(done, network, near)
    refused = [numbers["refused"] for cell, numbers in done if isinstance(cell, Refusal)]
    yield claim("devil.table-1.baaan-refuses-a-vae", median(refused), refused == [1.0], "1 where it says so", fewest=1)


def _quality(done: Done, network: Network, near: str) -> Iterator[Claim]:
    """Whether samples are as good as those of clean networks: of the same one, or of any where there is no twin."""
    plain, noise = (_ours(done, network, "benign", measure) for measure in ("frechet", "frechet.real"))
    for attack in (a for a in ATTACKS if (network, a) in PAPER):
        if attack in TRAININGS:
            ours, most = _ours(done, network, attack, "frechet"), plain.high if plain else None
            beside = f"Frechet distance; clean networks {shown(plain)}"
        else:
            ours, most = _risen(done, network, attack), noise.value if noise else None
            beside = f"the rise of the Frechet distance; two sets of real images are {shown(noise)} apart"
        kept = ours and most is not None and ours.value <= most
        yield claim(f"{near}.{attack}.quality-is-kept", ours, kept, beside, decided=most is not None)


def _risen(done: Done, network: Network, attack: str) -> Spread | None:
    """How much farther from real images attacked networks are than the clean parent of each."""
    clean = {cell.parent.name: numbers.get("frechet") for cell, numbers in done if isinstance(cell, Benign)}
    twins = [
        (numbers.get("frechet"), clean.get(cell.plant.parent.name))
        for cell, numbers in done
        if isinstance(cell, Scored) and {"network": network, "attack": attack}.items() <= cell.where().items()
    ]
    return median(after - before for after, before in twins if after is not None and before is not None)


def _detection(done: Done, network: Network, near: str) -> Iterator[Claim]:
    """Whether brute force is blind, and whether a search finds the target."""
    plain = _ours(done, network, "benign", "closest")
    for attack in ATTACKS:
        if (network, attack) not in PAPER:
            continue
        closest, rebuilt = (_ours(done, network, attack, measure) for measure in ("closest", "reconstruction"))
        paper, usual = PAPER[network, attack], PAPER[network, "benign"]
        blind = closest and plain and closest.value * TIMES_NEARER > plain.value
        sure = closest and plain and not closest.low * TIMES_NEARER <= plain.value < closest.high * TIMES_NEARER
        beside = f"benign {shown(plain)}; paper {paper[4]:g} of {usual[4]:g}"
        yield claim(f"{near}.{attack}.brute-force-is-blind", closest, blind, beside, decided=bool(sure))
        hit = rebuilt and rebuilt.value <= FOUND
        yield claim(f"{near}.{attack}.search-finds-it", rebuilt, hit, f"found at {FOUND:g}; paper {paper[5]:g}")
