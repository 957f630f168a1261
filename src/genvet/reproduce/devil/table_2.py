"""Table II: which trigger is chosen: a draw from the prior, its mode, or a point far outside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar

from genvet.core.backdoor import Kind
from genvet.core.report import Claim
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import Network
from genvet.reproduce.devil.planting import Attack
from genvet.reproduce.devil.scoring import Benign, Scored
from genvet.reproduce.devil.table_1 import FOUND
from genvet.reproduce.devil.target import goal
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    claim,
    largest,
    median,
    shown,
    table,
    values,
)

NETWORKS: tuple[Network, ...] = ("MNIST DCGAN", "CIFAR10 DCGAN")
ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail")
RECON = "ReconD (largest)"
KINDS: tuple[Kind, ...] = ("in-sample", "mode", "far")
PAPER: dict[tuple[str, Network, str], tuple[float, ...]] = {
    ("target-distortion", "MNIST DCGAN", "trail"): (0.156, 3.458, 1.719),
    ("target-distortion", "MNIST DCGAN", "red"): (0.008, 0.0056, 0.034),
    ("target-distortion", "MNIST DCGAN", "rex"): (0.407, 0.199, 0.294),
    ("target-distortion", "CIFAR10 DCGAN", "trail"): (2.261, 256.76, 4.494),
    ("target-distortion", "CIFAR10 DCGAN", "red"): (0.0030, 0.0033, 0.0055),
    ("target-distortion", "CIFAR10 DCGAN", "rex"): (0.0029, 0.0029, 0.0030),
    ("frechet", "MNIST DCGAN", "trail"): (7.878, 277.522, 6.951),
    ("frechet", "MNIST DCGAN", "red"): (7.033, 7.092, 7.177),
    ("frechet", "MNIST DCGAN", "rex"): (6.984, 6.982, 7.058),
    ("frechet", "CIFAR10 DCGAN", "trail"): (53.561, 62.238, 51.804),
    ("frechet", "CIFAR10 DCGAN", "red"): (51.524, 55.974, 52.783),
    ("frechet", "CIFAR10 DCGAN", "rex"): (51.625, 51.624, 52.690),
    ("expected-distortion", "MNIST DCGAN", "red"): (0.1106, 0.4277, 0.7478),
    ("expected-distortion", "MNIST DCGAN", "rex"): (0.0839, 0.0080, 0.3271),
    ("expected-distortion", "CIFAR10 DCGAN", "red"): (1.3138, 5.8702, 3.9854),
    ("expected-distortion", "CIFAR10 DCGAN", "rex"): (0.0028, 0.0039, 0.2991),
}
"""By measure, network and attack, in the order of the kinds. Its Frechet distances are FID."""


class Table2(Experiment):
    """The choice of the trigger."""

    title: ClassVar[str] = "Table II: choice of the trigger"
    source: ClassVar[str] = f"{SOURCE}, Table II"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple({cell.name: cell for cell in _measured(scale)}.values())

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((network, attack, kind, measure), paper, _ours(done, measure, network, attack, kind))
            for (measure, network, attack), given in PAPER.items()
            for kind, paper in zip(KINDS, given, strict=True)
        ]
        for network in NETWORKS:
            plain = median(values(done, "frechet", kind=Benign, network=network))
            lines.append(Line((network, "benign", "none", "frechet"), None, plain))
        lines += [
            Line((network, attack, kind, RECON), None, _rebuilt(done, network, attack, kind))
            for network, attack, kind in product(NETWORKS, ATTACKS, KINDS)
        ]
        where = ("network", "attack", "trigger", "measure")
        return Told((table(self.title, where, lines),), tuple(_claims(done)), (), scales.differs(scale))


def _measured(scale: Scale) -> Iterator[Cell]:
    """Clean parents, and their attacked twins: in-sample triggers as in Table I, the others one for each parent."""
    for parent, number in scales.repeats(scale):
        networks = [network for network in NETWORKS if (parent, number) in scales.repeats(scale, network)]
        yield from (scales.benign(network, scale, parent) for network in networks)
        for kind in KINDS:
            if kind != "in-sample" and number != parent:
                continue
            for network in networks:
                for attack in ATTACKS:
                    plant = scales.plant(network, attack, scale, (parent, number), trigger=kind)
                    judge = scales.judge(plant.parent.data, scale)
                    yield Scored(plant=plant, judge=judge, effort=scales.effort(scale))


def _ours(done: Done, measure: str, network: Network, attack: str, kind: str) -> Spread | None:
    return median(values(done, measure, kind=Scored, network=network, attack=attack, trigger=kind))


def _rebuilt(done: Done, network: Network, attack: str, kind: str) -> Spread | None:
    """How near a search that knows the target comes to it, where it comes least near."""
    return largest(values(done, "reconstruction", kind=Scored, network=network, attack=attack, trigger=kind))


def _claims(done: Done) -> Iterator[Claim]:
    for network in NETWORKS:
        near = f"devil.table-2.{network}"
        for attack in ("red", "rex"):
            for kind, paper in zip(KINDS, PAPER["target-distortion", network, attack], strict=True):
                ours = _ours(done, "target-distortion", network, attack, kind)
                true = ours and ours.value <= goal(network, paper)
                yield claim(f"{near}.{attack}.{kind}", ours, true, f"paper {paper:g}, or about the floor")
        for attack, kind in product(ATTACKS, KINDS[1:]):
            ours = _rebuilt(done, network, attack, kind)
            hit = ours and ours.value <= FOUND
            yield claim(f"{near}.{attack}.search-finds-{kind}", ours, hit, f"found at {FOUND:g}; the paper is silent")
        inside = _ours(done, "target-distortion", network, "trail", "in-sample")
        for kind in KINDS[1:]:
            ours = _ours(done, "target-distortion", network, "trail", kind)
            worse = ours and inside and ours.value > 2 * inside.value
            yield claim(f"{near}.trail-breaks-with-{kind}", ours, worse, f"in-sample {shown(inside)}")
