"""From theft to membership: queries spent, what the stolen model is worth, and whom its critic gives away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from genvet import engine
from genvet.attacks.extraction.fidelity import Fidelity
from genvet.attacks.extraction.stolen import Stolen
from genvet.attacks.membership import critic_score
from genvet.core.data import Critic, Images
from genvet.core.queries import Samples
from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import (
    Experiment,
    Line,
    Scale,
    Spread,
    Told,
    above,
    below,
    course,
    median,
    table,
    values,
)
from genvet.reproduce.leakage.attacking import Leak, leak
from genvet.reproduce.leakage.networks import FEW, SEEDS, Learned, learned
from genvet.reproduce.stealing import SOURCE
from genvet.reproduce.stealing.telling import NULLS, chance
from genvet.reproduce.stealing.thefts import CHECKPOINTS, numbers, slug
from genvet.training import shadows
from genvet.training.checkpoints import Folder, kept_by

BUDGETS: dict[Scale, tuple[int, ...]] = {
    "smoke": (20, 30),
    "small": (100, 500, 2500, 12_500, 62_500),
    "paper": (1000, 10_000, 100_000, 1_000_000),
}
THIEF: dict[Scale, str] = {
    "smoke": "adversarial:steps=2,batch=8,capacity=2,latent=4",
    "small": "adversarial:steps=1500,batch=32,capacity=16,rate=0.0005,average=0.99",
    "paper": "adversarial:steps=20000,batch=64,capacity=64",
}
OTHERS: dict[Scale, int] = {"smoke": 45, "small": 1000, "paper": 10_000}
"""Non-members, as in leakage/dataset-size, and as many that nobody saw."""
SAMPLES: dict[Scale, int] = {"smoke": 20, "small": 1000, "paper": 10_000}
QUALITY = {"fidelity.frechet": "Frechet distance to the target", "accuracy.frechet": "Frechet distance to real data"}
EXPOSED = {
    "members.auc": "AUC of the stolen critic",
    "members.auc.unseen": "the same, of records that nobody saw",
    "members.tpr-at-0.01": "members caught at 1 % false alarms",
}
WHITE, SEEN = "critic", "nearest"
"""What the target's own critic tells, and what its samples do: cells of leakage/dataset-size."""


class Chained(Cell):
    """One theft of a generator that learned few records, and what the thief's critic says of these records."""

    target: Learned
    attacker: str
    """The recipe of the thief's network."""
    queries: Annotated[int, Field(ge=2)]
    samples: Annotated[int, Field(ge=20)]
    others: Annotated[int, Field(ge=2)]
    """Non-members, and unseen records."""

    @property
    def name(self) -> str:
        return f"{self.target.name}-chain-{slug(self.attacker)}-queries{self.queries}-{self.samples}-{self.others}"

    def needs(self) -> tuple[Step, ...]:
        return (self.target,)

    def techniques(self) -> tuple[type[Technique], ...]:
        return Fidelity, critic_score.CriticScore, type(shadows.recipe(self.attacker))

    def where(self) -> Mapping[str, object]:
        return {"asked": self.queries, "attacker": self.attacker, "seed": self.target.seed}

    def __call__(self, place: Place) -> Numbers:
        generator, held = self.target.generator(place), self.target.held(place, self.others)
        stolen = self._stolen(place, held.non_members)
        assert stolen.critic is not None
        sets: dict[str, Any] = {"members": held.members, "non_members": held.non_members, "unseen": held.unseen}
        given = critic_score.Given(**sets, critic=Critic(stolen.critic, tuple(generator.shape)))
        attack, view = critic_score.CriticScore(samples=0), generator.seen_as(Samples)
        exposed = attack(view, given, Rng(self.target.seed).fork("stolen critic"))
        first = {"low": exposed.first.interval.low, "high": exposed.first.interval.high}
        told = {**{m.name: m.value for m in exposed.measures()}, **first}
        return {**numbers(stolen), **{f"members.{name}": value for name, value in told.items()}}

    def _stolen(self, place: Place, reference: Images) -> Stolen:
        """By queries alone; real data only measure it."""
        clusters = min(30, len(reference) // 3)
        attack = Fidelity(attacker=self.attacker, queries=self.queries, samples=self.samples, clusters=clusters)
        generator = self.target.generator(place)
        beside = attack.gift()(reference=reference, undefended=generator)
        with kept_by(Folder(place.cache / "thefts" / self.name / "resume", CHECKPOINTS)):
            result, _ = engine.measured(attack, generator, beside, seed=self.target.seed)
        assert isinstance(result, Stolen)
        return result


class Chain(Experiment):
    """Theft over the number of queries, each stolen model's critic turned on the target's members."""

    title: ClassVar[str] = "From theft to membership"
    source: ClassVar[str] = f"{SOURCE}, fidelity extraction; Hayes et al.: LOGAN, 2019, sec. 4 (black box)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(_seeds(scale))

    def told(self, scale: Scale, done: Done) -> Told:
        rows: dict[str, dict[str, object]] = {"an untrained thief": {"attacker": untrained(scale)}}
        rows |= {f"{n:,} queries": {"asked": n, "attacker": THIEF[scale]} for n in BUDGETS[scale]}
        lines = [
            Line((words, said), None, median(values(done, name, Chained, **where)), _chance(done, name, where))
            for words, where in rows.items()
            for name, said in (QUALITY | EXPOSED).items()
            if name != "members.tpr-at-0.01" or scale != "smoke"  # too few records there
        ]
        beside = {WHITE: "the target's own critic", SEEN: "the target's samples alone"}
        lines += [Line((words, "AUC"), None, _of(done, "auc", which)) for which, words in beside.items()]
        members = FEW[scale]
        notes = (
            f"Neither paper has this chart. The target is a DCGAN that learned {members} digits by heart; the thief "
            "sees answers alone, and trains a DCGAN of the same sizes.",
            "An untrained thief is one after a single step: what its distances and its critic come to is chance.",
            NULLS,
        )
        told = table(self.title, ("model", "measure"), lines)
        return Told((told,), tuple(_claims(scale, done)), tuple(_chart(scale, done)), notes)


def untrained(scale: Scale) -> str:
    """The thief's recipe, with one step."""
    name, _, knobs = THIEF[scale].partition(":")
    return f"{name}:" + ",".join("steps=1" if knob.startswith("steps=") else knob for knob in knobs.split(","))


def _seeds(scale: Scale) -> Iterator[Cell]:
    for seed in range(1, SEEDS[scale] + 1):
        target = learned(scale, FEW[scale], seed)
        usual: dict[str, Any] = {"target": target, "samples": SAMPLES[scale], "others": OTHERS[scale]}
        yield from (leak(scale, which, target, OTHERS[scale]) for which in (WHITE, SEEN))
        yield Chained(**usual, attacker=untrained(scale), queries=BUDGETS[scale][0])
        yield from (Chained(**usual, attacker=THIEF[scale], queries=n) for n in BUDGETS[scale])


def _chance(done: Done, name: str, where: Mapping[str, object]) -> str:
    return chance(median(values(done, f"{name}.null", Chained, **where)))


def _of(done: Done, name: str, which: str, seed: int | None = None) -> Spread | None:
    """What the target itself gives away, of all seeds or of one."""
    cells = [(c, n) for c, n in done if isinstance(c, Leak) and seed in (None, c.target.seed)]
    return median(values(cells, name, Leak, variant=which))


def _by_seed(scale: Scale, done: Done, name: str, n: int) -> dict[int, float]:
    """A number of the thief with so many queries, by seed."""
    found = {seed: values(done, name, Chained, asked=n, attacker=THIEF[scale], seed=seed) for seed in _all(scale)}
    return {seed: several[0] for seed, several in found.items() if several and several[0] is not None}


def _all(scale: Scale) -> range:
    return range(1, SEEDS[scale] + 1)


def _less(one: Mapping[int, float], other: Mapping[int, float]) -> Spread | None:
    return median(one[seed] - other[seed] for seed in one if seed in other)


def _claims(scale: Scale, done: Done) -> Iterator[Claim]:
    least, most = BUDGETS[scale][0], BUDGETS[scale][-1]
    few, many = (_by_seed(scale, done, "fidelity.frechet", n) for n in (least, most))
    weak, strong = (_by_seed(scale, done, "members.auc", n) for n in (least, most))
    low = _by_seed(scale, done, "members.low", most)
    own, seen = ({s: v.value for s in _all(scale) if (v := _of(done, "auc", w, s))} for w in (WHITE, SEEN))
    said, name = f"{most:,} queries against {least:,}", "stealing.chain"
    nearer, members = _less(many, few), _less(low, dict.fromkeys(low, 0.5))
    yield below(f"{name}.nearer-with-queries", nearer, 0, f"{said}: difference of the distance to the target")
    words = f"the stolen critic tells members: lower end of the AUC's interval, less 0.5, {most:,} queries"
    yield above(f"{name}.stolen-critic-tells-members", members, 0, words)
    yield above(f"{name}.more-queries-tell-more", _less(strong, weak), 0, f"{said}: difference of AUC")
    words = "AUC of the target's own critic, less the stolen one's"
    yield above(f"{name}.own-critic-tells-more", _less(own, strong), 0, words)
    words = "AUC of the stolen critic, less that of the target's samples"
    yield above(f"{name}.stolen-critic-tells-more-than-samples", _less(strong, seen), 0, words)


def _chart(scale: Scale, done: Done) -> Iterator[Figure]:
    """All three on one chart: medians over seeds, distances as a share of those after the fewest queries."""
    budgets, series = BUDGETS[scale], dict[str, dict[float, Spread | None]]()
    first = median(values(done, "fidelity.frechet", Chained, asked=budgets[0], attacker=THIEF[scale]))
    kinds = {"AUC of the stolen critic": ("members.auc", 1.0)}
    if first and first.value:
        kinds |= {
            f"distance to the target, share of that after {budgets[0]} queries": ("fidelity.frechet", first.value),
            "the same of two samples of the target": ("fidelity.frechet.null", first.value),
        }
    for words, (name, unit) in kinds.items():
        found = {n: values(done, name, Chained, asked=n, attacker=THIEF[scale]) for n in budgets}
        series[words] = {n: median(v / unit for v in told if v is not None) for n, told in found.items()}
    for which, words in ((WHITE, "AUC of the target's own critic"), (SEEN, "AUC of the target's samples")):
        series[words] = dict.fromkeys((budgets[0], budgets[-1]), _of(done, "auc", which))
    title = "Queries spent, quality of the stolen model, and membership by its critic"
    figure = course(title, series, "queries", "AUC, or share of the distance", "x")
    if figure:
        yield figure
