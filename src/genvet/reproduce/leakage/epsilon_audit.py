"""An audit of epsilon: canaries in trainings that keep what they claim, and in some that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch

from genvet.attacks.membership.epsilon import CRITIC, NEAREST, Epsilon
from genvet.core.data import Critic, Images
from genvet.core.queries import Samples
from genvet.core.report import Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.epsilon_audit import canaries, chosen
from genvet.nets.judging import scores_of
from genvet.nets.nearest_samples import nearest_samples
from genvet.nets.spaces import pixels
from genvet.reproduce.cells import Cell, Done, Numbers, Place
from genvet.reproduce.experiment import Experiment, Line, Scale, Told, above, claim, largest, median, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.networks import Learned
from genvet.reproduce.leakage.watching import Watched, Way, audited
from genvet.training.adversarial import calibrate
from genvet.training.private_dcgan import PrivateDCGAN

WAYS: dict[Way, str] = {
    "silent": "clipped, without noise",
    "private": "as claimed",
    "mixing": "mini-batch deviation, with noise",
}
GRADIENTS = ("the noisy gradients", "the noisy gradients, smoothed")
CLAIM = 3.0
"""Epsilon, as every one of them tells it."""
Kind = Literal["noise", "inverted"]
KINDS: dict[Kind, str] = {"noise": "noise of black and white", "inverted": "inverted digits"}


class Canaried(Cell):
    """One training with canaries among its records, and what guesses about them prove."""

    way: Way
    kind: Kind
    canaries: int
    background: int
    """Ordinary records, which take part whatever the coins say."""
    seed: int
    settings: dict[str, Any]
    samples: int

    @property
    def name(self) -> str:
        knobs = [f"{key}{value}" for key, value in sorted(self.settings.items())]
        where = [self.way, self.kind, str(self.canaries), str(self.background), str(self.seed), str(self.samples)]
        return "-".join(["audit", *where, *knobs])

    def where(self) -> Mapping[str, object]:
        return {"way": self.way, "kind": self.kind, "seed": self.seed}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (Epsilon, PrivateDCGAN)

    def __call__(self, place: Place) -> Numbers:
        records = Learned(members=self.background, seed=self.seed).held(place, self.canaries)
        x, inside = self.drawn(records.non_members), chosen(self.canaries, Rng(self.seed))
        recipe, rng = PrivateDCGAN(**self.settings), Rng(self.seed)
        duel = audited(recipe, self.way, records.members.x, x, inside, rng)
        calibrate(duel.averaged, duel.generator, rng)
        generator = replace(duel.generator, module=duel.averaged.eval())
        assert isinstance(duel.shield, Watched)
        scores = dict(zip(GRADIENTS, duel.shield.scores, strict=True))
        scores[CRITIC] = scores_of(Critic(duel.D.eval(), tuple(x.shape[1:])), x)
        view = generator.seen_as(Samples)
        scores[NEAREST] = -nearest_samples(view, x, pixels(), self.samples, rng.fork("audit")).distance
        probe = Epsilon(claimed=CLAIM, delta=recipe.delta, samples=self.samples)
        found = probe.audited(scores, inside, rng.fork("audit"), self.samples)
        return {measure.name: measure.value for measure in found.measures()}

    def drawn(self, others: Images) -> torch.Tensor:
        """The canaries, in and out."""
        if self.kind == "inverted":
            return -others.x[: self.canaries]
        return canaries(self.canaries, tuple(others.x.shape[1:]), Rng(self.seed))


SEEDS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 5}
CANARIES: dict[Scale, int] = {"smoke": 40, "small": 1000, "paper": 2000}
BACKGROUND: dict[Scale, int] = {"smoke": 10, "small": 10, "paper": 10}
SAMPLES: dict[Scale, int] = {"smoke": 30, "small": 5000, "paper": 100_000}
SETTINGS: dict[Scale, dict[str, Any]] = {
    "smoke": {
        "steps": 1,
        "batch": 8,
        "capacity": 2,
        "latent": 4,
        "critic_steps": 2,
        "accountant": "rdp",
        "delta": 1e-3,
    },
    "small": {"steps": 25, "batch": 64, "capacity": 8, "critic_steps": 4, "rate": 5e-4},
    "paper": {"steps": 500, "batch": 512, "capacity": 32, "critic_steps": 10, "rate": 5e-4},
}


def cell(scale: Scale, way: Way, kind: Kind, seed: int) -> Canaried:
    """At this scale."""
    return Canaried(
        way=way,
        kind=kind,
        seed=seed,
        canaries=CANARIES[scale],
        background=BACKGROUND[scale],
        samples=SAMPLES[scale],
        settings={**SETTINGS[scale], "epsilon": CLAIM},
    )


MEASURES = {
    "epsilon-least": "epsilon, at least",
    "epsilon-least.noisy-gradients": "epsilon, at least, by the noisy gradients",
    "epsilon-least.critic-score": "epsilon, at least, by the critic's score",
    "epsilon-least.nearest-sample": "epsilon, at least, by the nearest sample",
    "right": "share of guesses that are right",
    "epsilon-ceiling": "epsilon, were all guesses right",
}


class EpsilonAudit(Experiment):
    """Whether a claim of epsilon 3 is refuted where it is false, and stands where it is true."""

    title: ClassVar[str] = "An audit of epsilon by canaries"
    source: ClassVar[str] = f"{SOURCE}, sec. 3 (monitor); Steinke, Nasr, Jagielski 2023, theorem 5.2"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        seeds = range(1, SEEDS[scale] + 1)
        return tuple(cell(scale, way, kind, seed) for seed in seeds for kind in KINDS for way in WAYS)

    def told(self, scale: Scale, done: Done) -> Told:
        lines, bars = [], {"claimed, at most": CLAIM}
        for kind, of in KINDS.items():
            for way, said in WAYS.items():
                lines += [
                    Line((said, of, words), CLAIM if measure == "epsilon-least" else None, median(found))
                    for measure, words in MEASURES.items()
                    for found in [_values(done, way, kind, measure)]
                ]
                shown = median(_values(done, way, kind, "epsilon-least"))
                bars |= {f"{said}, {of}: at least": shown.value} if shown else {}
        ceiling = median(_values(done, "private", "noise", "epsilon-ceiling"))
        bars |= {"could be shown, at most": ceiling.value} if ceiling else {}
        data = {"labels": list(bars), "values": list(bars.values()), "x": "epsilon"}
        figures = (Figure(kind="bars", title="What is claimed of epsilon, and what is shown", data=data),)
        best = {way: _best(done, way) for way in WAYS}
        claims = [
            above(f"{way} is caught", found, CLAIM, f"epsilon at least, above {CLAIM:g}")
            for way, found in best.items()
            if way != "private"
        ]
        honest = largest(v for kind in KINDS for v in _values(done, "private", kind, "epsilon-least"))
        claims.append(claim("what is true stands", honest, honest and honest.high <= CLAIM, f"at most {CLAIM:g}"))
        where = ("trained", "canaries", "measure")
        return Told((table(self.title, where, lines),), tuple(claims), figures if len(bars) > 1 else (), DIFFERS)


def _values(done: Done, way: Way, kind: Kind, measure: str) -> list[float]:
    return [
        value
        for one, numbers in done
        if isinstance(one, Canaried) and (one.way, one.kind) == (way, kind)
        if (value := numbers.get(measure)) is not None
    ]


def _best(done: Done, way: Way) -> Any:
    """By whichever canaries show more, of each seed."""
    by_seed: dict[int, float] = {}
    for one, numbers in done:
        if isinstance(one, Canaried) and one.way == way and (value := numbers.get("epsilon-least")) is not None:
            by_seed[one.seed] = max(value, by_seed.get(one.seed, 0.0))
    return median(by_seed.values())


DIFFERS = (
    "In the column of the paper stands what is claimed, which no lower bound may pass where the claim is true.",
    "Every bound holds at 95 % for all ways to guess about one training at once; the better of two kinds of canaries "
    "is chosen after that, and the table shows both.",
    "The auditor of the noisy gradients sees every one of them, which the guarantee covers, and solves for the "
    "canaries in it; who has the last critic or samples alone shows less.",
    "Trainings are short: what they prove is of their accounting, not of their pictures.",
)
