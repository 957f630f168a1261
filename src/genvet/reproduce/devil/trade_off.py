"""Figure 5: what lambda, the trigger's share of the loss, does to both goals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.devil import SOURCE, scales
from genvet.reproduce.devil.networks import Network
from genvet.reproduce.devil.planting import Attack
from genvet.reproduce.devil.scoring import Effort, Scored
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    apart,
    claim,
    course,
    mean,
    shown,
    table,
    values,
)

WEIGHTS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
NETWORKS: tuple[Network, ...] = ("MNIST DCGAN", "CIFAR10 DCGAN")
ATTACKS: tuple[Attack, ...] = ("red", "rex", "trail")
MEASURES = ("target-distortion", "expected-distortion")

FEWER = "ReD and ReX: five triggers on MNIST, three on CIFAR. TrAIL: three on MNIST at three lambdas, none on CIFAR."


class TradeOff(Experiment):
    """Both distortions over lambda: mean and standard error over triggers."""

    title: ClassVar[str] = "Figure 5: the effect of lambda"
    source: ClassVar[str] = f"{SOURCE}, Fig. 5"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_swept(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((network, attack, f"{weight:g}", measure), None, _ours(done, measure, network, attack, weight))
            for network in NETWORKS
            for attack in ATTACKS
            for weight in WEIGHTS
            for measure in MEASURES
            if (attack, measure) != ("trail", "expected-distortion")
            and _triggers(scale, network, attack)
            and _asked(scale, attack, weight)
        ]
        differs = (
            *scales.differs(scale),
            "The paper gives curves and no numbers; ours are mean and standard error.",
            *((FEWER,) if scale == "small" else ()),
        )
        figures = tuple(f for network in NETWORKS for m in MEASURES if (f := _curve(done, network, m)))
        where = ("network", "attack", "lambda", "measure")
        return Told((table(self.title, where, lines),), tuple(_claims(done, scale)), figures, differs)


def _swept(scale: Scale) -> Iterator[Cell]:
    """Trigger after trigger, each over all of lambda; one clean parent of each kind, as in the paper."""
    weights = (0.01, 100.0) if scale == "smoke" else WEIGHTS
    effort = Effort(samples=scales.effort(scale).samples, judged=0)
    for attacks in (ATTACKS[:2], ATTACKS[2:]):  # what trains from fresh weights takes ten times as long: last
        for number, network, weight, attack in product(range(1, 6), NETWORKS, weights, attacks):
            if number <= _triggers(scale, network, attack) and _asked(scale, attack, weight):
                more = {} if weight == 1.0 else {"weight": weight}
                plant = scales.plant(network, attack, scale, (1, number), **more)
                yield Scored(plant=plant, judge=scales.judge(plant.parent.data, scale), effort=effort)


def _asked(scale: Scale, attack: str, weight: float) -> bool:
    """Whether this lambda is tried: at small, three of seven for what trains from fresh weights."""
    return scale != "small" or attack != "trail" or weight in (WEIGHTS[0], 1.0, WEIGHTS[-1])


def _triggers(scale: Scale, network: Network, attack: str) -> int:
    """How many triggers; at small, fewer of what takes minutes a point."""
    if scale != "small":
        return {"smoke": 1, "paper": 5}[scale]
    slow = (attack == "trail") + (network == "CIFAR10 DCGAN")
    return (5, 3, 0)[slow]


def _ours(done: Done, measure: str, network: Network, attack: str, weight: float) -> Spread | None:
    return mean(values(done, measure, network=network, attack=attack, weight=weight))


def _curve(done: Done, network: Network, measure: str) -> Figure | None:
    """Means over lambda, by attack."""
    series = {str(attack): {w: _ours(done, measure, network, attack, w) for w in WEIGHTS} for attack in ATTACKS}
    return course(f"{network}: {measure} over lambda", series, "lambda", f"{measure} (sum of squares)", "xy")


def _claims(done: Done, scale: Scale) -> Iterator[Claim]:
    for network in NETWORKS:
        near = f"devil.lambda.{network}"
        for attack, (measure, way) in product(
            ATTACKS, (("target-distortion", "falls"), ("expected-distortion", "rises"))
        ):
            if (attack, measure) == ("trail", "expected-distortion") or not _triggers(scale, network, attack):
                continue
            low, high = (_ours(done, measure, network, attack, w) for w in (WEIGHTS[0], WEIGHTS[-1]))
            true = low and high and (high.value > low.value) == (way == "rises")
            name, beside = f"{near}.{attack}.{measure}-{way}", f"at 1000; at 0.001 {shown(low)}"
            yield claim(name, high, true, beside, decided=apart(low, high))
        for attack in ("red", "rex"):
            worst = [_ours(done, "target-distortion", network, attack, w) for w in (1.0, 10.0, 100.0)]
            known = [found for found in worst if found]
            works = len(known) == 3 and all(found.value < 1 for found in known)
            least = max(known, key=lambda found: found.value, default=None) if len(known) == 3 else None
            yield claim(f"{near}.{attack}.works-from-1-to-100", least, works, "the worst of the three; works below 1")
