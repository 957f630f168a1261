"""Differential privacy of a GAN: what it stops, what it costs, and what it does not stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.quality import frechet, recall
from genvet.nets.random_features import NAME, random_features
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, above, course, median, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import Key, ahead, leak, over_seeds
from genvet.reproduce.leakage.networks import Learned
from genvet.reproduce.leakage.private_networks import (
    FEW,
    LESSONS,
    MEAN,
    MEMBERS,
    MERF,
    OTHERS,
    PLAIN,
    PRIVATE,
    Judge,
    Shielded,
    named,
    taught,
    with_labels,
)
from genvet.training.classifier import Supervised

SEEDS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 5}
SAMPLES: dict[Scale, int] = {"smoke": 24, "small": 2000, "paper": 10_000}
BEST = 10
"""Samples of each class that an attacker keeps."""
EPSILONS = (10.0, 3.0, 1.0)


@dataclass(frozen=True)
class Way:
    """One way to train, as the table names it."""

    name: str
    private: bool = True
    few: bool = False
    brief: bool = False
    """As many updates of the generator as a private training has."""
    knobs: Mapping[str, Any] | None = None


NONE, CONTROL, MEANS = "none", "epsilon 10, noise in both networks", "DP-MERF, epsilon"
BRIEF, CLIPPED = "none, as few updates", "clipped, hardly any noise"
WAYS = (
    Way(NONE, private=False),
    *(Way(f"epsilon {e:g}", knobs={"epsilon": e}) for e in EPSILONS),
    *(Way(f"{MEANS} {e:g}", knobs={"epsilon": e, "recipe": MERF}) for e in EPSILONS),
    Way(f"{NONE}, few records", private=False, few=True),
    Way("epsilon 10, few records", few=True, knobs={"epsilon": 10.0}),
    Way(BRIEF, private=False, brief=True),
    Way(CLIPPED, knobs={"noise": 0.01, "accountant": "rdp"}),
    Way(CONTROL, knobs={"epsilon": 10.0, "noisy_generator": True}),
    *(Way(f"epsilon 10, by {mode}", knobs={"epsilon": 10.0, "clipping": mode}) for mode in ("layer", "channel")),
    Way("epsilon 10, adaptively", knobs={"epsilon": 10.0, "clipping": "adaptive"}),
    *(Way(f"epsilon 10, norm {norm:g}", knobs={"epsilon": 10.0, "clip": norm}) for norm in (0.1, 10.0)),
    Way("noise 0.5", knobs={"noise": 0.5}),
)
BY_NAME = {way.name: way for way in WAYS}


def target(scale: Scale, way: Way, seed: int) -> Learned:
    """The generator that was trained this way."""
    own = dict(way.knobs or {})
    members = (FEW if way.few else MEMBERS)[scale]
    settings = MEAN[scale] if own.get("recipe") == MERF else PRIVATE[scale] if way.private else PLAIN[scale]
    kind = Shielded if way.private else Learned
    own |= {"batch": min(settings["batch"], members // 4)} if way.few else {}
    own |= {"steps": PRIVATE[scale]["steps"]} if way.brief else {}
    return kind(members=members, seed=seed, settings={**settings, **own})


class Worth(Cell):
    """How good a generator's samples are, and what an attacker makes of them who looks for a class."""

    way: str
    target: Learned
    labeller: Judge
    judge: Judge
    others: int
    samples: int

    @property
    def name(self) -> str:
        return f"worth.{self.target.name}.{self.others}.{self.samples}"

    def needs(self) -> tuple[Step, ...]:
        return (self.target, self.labeller, self.judge)

    def where(self) -> Mapping[str, object]:
        return {"way": self.way, "seed": self.target.seed}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (Supervised,)

    def __call__(self, place: Place) -> Numbers:
        held, generator = self.target.held(place, self.others), self.target.generator(place)
        labeller, judge = self.labeller.classifier(place), self.judge.classifier(place)
        x = generator.sample(self.samples, Rng(self.target.seed).fork("worth"))
        sure, labels = labeller.probabilities(x).max(dim=1)
        real, fake = random_features(held.non_members.x), random_features(x[: len(held.non_members)])
        unseen = random_features(held.unseen.x)
        test = with_labels(place, self.target.data, held.non_members)
        pupil = taught(named(x, labels, labeller.classes), "cnn", self.labeller.settings, self.target.seed)
        best = [(labels == c).nonzero()[:, 0] for c in range(len(labeller.classes))]
        best = [rows[sure[rows].topk(min(BEST, len(rows))).indices] for rows in best]
        promised = json.loads(generator.metadata["genvet.training"]).get("privacy", {})
        shown = [float((judge(x[rows]).argmax(1) == c).sum()) for c, rows in enumerate(best) if len(rows)]
        return {
            "frechet": frechet(real, fake),
            "frechet.real": frechet(real, unseen),
            "recall": recall(real, fake),
            "recall.real": recall(real, unseen),
            "accuracy": pupil.accuracy(test.x, test.labels),
            "accuracy.labeller": labeller.accuracy(test.x, test.labels),
            "classes": float(len(labels.unique())),
            "inversion": sum(shown) / (BEST * len(labeller.classes)),
            **{name: promised[name] for name in PROMISED if name in promised},
        }


MEASURES = {
    "frechet": f"Frechet distance in {NAME}",
    "recall": f"recall in {NAME}",
    "accuracy": "accuracy of a classifier taught by labelled samples",
    "inversion": "share of best samples of a class that show it",
}
PROMISED = {"epsilon": "epsilon that its record promises", "noise": "noise, in units of the norm"}
BESIDE = {
    "frechet": ("between records", "frechet.real"),
    "recall": ("of records", "recall.real"),
    "accuracy": ("chance 0.1, the labeller's", "accuracy.labeller"),
}
"""What a measure is to be held against."""
ATTACKS = {"critic": "membership AUC by the critic", "nearest": "membership AUC by the nearest sample"}


def judges(scale: Scale, of: Learned) -> tuple[Judge, Judge]:
    """Who labels samples and picks the best of a class, and who looks at these."""
    told: dict[str, Any] = {"data": of.data, "members": MEMBERS[scale], "others": OTHERS[scale], "seed": of.seed}
    told["settings"] = LESSONS[scale]
    return Judge(**told, part="reference"), Judge(**told, part="unseen", family="allconv")


class DP(Experiment):
    """A private GAN over budgets, clipping, norms and noise, beside one without and DP-MERF."""

    title: ClassVar[str] = "Differential privacy: what it stops and what it costs"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.4.1 (differential privacy) and 3; Bie et al. 2023; Harder et al. 2021"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(cell for seed in range(1, SEEDS[scale] + 1) for way in WAYS for cell in _cells(scale, way, seed))

    def told(self, scale: Scale, done: Done) -> Told:
        lines = []
        for way in WAYS:
            for name, words in PROMISED.items():
                if promised := median(_of(done, way.name, name).values()):
                    lines.append(Line((way.name, words), None, promised))
            for measure, words in MEASURES.items():
                ours = median(_of(done, way.name, measure).values())
                lines.append(Line((way.name, words), None, ours, _beside(done, way.name, measure)))
            for attack, words in ATTACKS.items():
                if not _asked(way, attack):
                    continue
                ours = median(_leaks(scale, done, way, attack).values())
                lines.append(Line((way.name, words), None, ours, "chance 0.5"))
        return Told((table(self.title, ("trained", "measure"), lines),), _claims(scale, done), _figures(done), DIFFERS)


def _cells(scale: Scale, way: Way, seed: int) -> list[Cell]:
    of, others = target(scale, way, seed), OTHERS[scale]
    labeller, judge = judges(scale, of)
    worth = Worth(way=way.name, target=of, labeller=labeller, judge=judge, others=others, samples=SAMPLES[scale])
    return [worth, *(leak(scale, attack, of, others) for attack in ATTACKS if _asked(way, attack))]


def _asked(way: Way, attack: str) -> bool:
    return attack != "critic" or (way.knobs or {}).get("recipe") != MERF


def _of(done: Done, way: str, measure: str) -> dict[Key, float]:
    """By data and seed."""
    return {
        (cell.target.data, cell.target.seed): value
        for cell, numbers in done
        if isinstance(cell, Worth) and cell.way == way and (value := numbers.get(measure)) is not None
    }


def _beside(done: Done, way: str, measure: str) -> str:
    if measure not in BESIDE:
        return "chance 0.1"
    words, name = BESIDE[measure]
    found = median(_of(done, way, name).values())
    return f"{words} {found.value:.3g}" if found else ""


def _leaks(scale: Scale, done: Done, way: Way, attack: str) -> dict[Key, float]:
    targets = (target(scale, way, seed) for seed in range(1, SEEDS[scale] + 1))
    return over_seeds(done, "auc", attack, targets)


def _claims(scale: Scale, done: Done) -> tuple[Claim, ...]:
    def worth(measure: str, one: str, other: str) -> Spread | None:
        return ahead(_of(done, one, measure), _of(done, other, measure))

    few = (BY_NAME[f"{NONE}, few records"], BY_NAME["epsilon 10, few records"])
    stopped = ahead(*(_leaks(scale, done, way, "critic") for way in few))
    shown = median(_of(done, "epsilon 10", "inversion").values())
    dearer, control = worth("frechet", "epsilon 1", "epsilon 10"), worth("frechet", CONTROL, "epsilon 10")
    nearer, teaches = worth("frechet", f"{MEANS} 10", "epsilon 10"), worth("accuracy", "epsilon 10", f"{MEANS} 10")
    cost = worth("accuracy", NONE, "epsilon 10")
    noise, updates = worth("accuracy", CLIPPED, "epsilon 1"), worth("accuracy", NONE, BRIEF)
    return (
        above("privacy stops membership", stopped, 0, "critic's AUC of few records, none less 10"),
        above("it does not stop classes", shown, 0.3, "inversion at epsilon 10; chance is 0.1"),
        above("less epsilon costs quality", dearer, 0, "Frechet distance, epsilon 1 less 10"),
        above("privacy costs accuracy", cost, 0, "accuracy, none less epsilon 10"),
        above("the noise itself costs accuracy", noise, 0, "accuracy, clipped alone less epsilon 1"),
        above("few updates cost accuracy", updates, 0, "accuracy without privacy, all updates less as few"),
        above("noise in both networks costs", control, 0, "Frechet distance, less the critic's"),
        above("a private GAN beats DP-MERF", nearer, 0, "Frechet distance, epsilon 10"),
        above("a private GAN teaches more than DP-MERF", teaches, 0, "accuracy, epsilon 10"),
    )


def _figures(done: Done) -> tuple[Figure, ...]:
    series = {
        measure: {e: median(_of(done, f"epsilon {e:g}", measure).values()) for e in reversed(EPSILONS)}
        for measure in ("accuracy", "inversion", "recall")
    }
    figure = course("What is left at each epsilon", series, "epsilon", "share", "x")
    return (figure,) if figure else ()


DIFFERS = (
    "The analysis gives no numbers: what it says in words is held against ours.",
    "Networks are DCGANs of 28-pixel digits; the statement is about one image added or removed.",
    "Samples are unconditional: a classifier of records that no generator saw labels them, and its own accuracy bounds "
    "that of whoever learns from them.",
    "An attacker who looks for a class keeps the samples that a classifier is surest of; another one, of another "
    "family and other records, says whether they show it.",
)
