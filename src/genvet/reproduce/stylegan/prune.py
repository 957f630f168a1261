"""Pruning by weight magnitude, as the paper cuts, beside what the same cuts take of a network that learned nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from scipy.stats import spearmanr

from genvet.core.report import Claim, Figure
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.averages import normal_within
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import FEWEST, Experiment, Line, Scale, Spread, Told, median, shown, table, values
from genvet.reproduce.stylegan import SOURCE
from genvet.reproduce.stylegan.networks import Styled, parent
from genvet.studies.cutting import By, Cut
from genvet.studies.prune import Given, Prune, Pruned

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CRITERIA: tuple[By, ...] = (
    "magnitude",
    "effective",
    "normalised",
    "movement",
    "activation",
    "random",
    "channels",
    "random channels",
)
DRAWN = ("magnitude", "movement", "activation", "random", "channels", "random channels")
"""Six curves: as many as one chart names."""
KEPT, CRITIC = 1_218_002 / 3_680_500, 0.3598
"""The paper's: of the weights, at a threshold of 1; the critic's probability at 0.4."""
WORSE = 2.0
"""Times the whole network's Frechet distance up to which a twin is called about as good."""
FOLLOWS = -0.5
"""Rank correlation up to which the critic is said to follow quality."""
ALIKE = 0.02
"""Shares nearer than this are one."""
MEASURES = {"critic": "critic's probability", "frechet": "Frechet distance", "change": "change of the image"}


class PrunedParent(Cell):
    """One trained network and all its pruned twins."""

    parent: Styled
    study: Prune

    @property
    def name(self) -> str:
        return f"{self.parent.name}.prune"

    def needs(self) -> tuple[Step, ...]:
        return (self.parent,)

    def where(self) -> Mapping[str, object]:
        return {"seed": self.parent.seed}

    def techniques(self) -> tuple[type[Technique], ...]:
        return Prune, type(self.parent.recipe)

    def __call__(self, place: Place) -> Numbers:
        given = Given(critic=self.parent.critic(place), reference=self.parent.images(place))
        return numbers(self.study(self.parent.generator(place), given, Rng(self.parent.seed).fork("prune")))


def numbers(found: Pruned) -> Numbers:
    """All that the table needs of one network."""
    told: dict[str, float | None] = {"sigma": found.sigma, "correlation": found.correlation}
    real = found.yard.real
    told |= {f"{name}@whole": value for name, value in _look(found.dense).items()}
    told |= {"critic@real": real.value if real else None, "frechet@real": found.yard.floor["frechet"].value}
    for t, share in found.below.items():
        told |= {f"gone@t{t:g}": share, f"untrained@t{t:g}": found.below_untrained.get(t)}
    for cut in found.by_threshold:
        told |= {f"{name}/{cut.by}@t{cut.threshold:g}": value for name, value in _look(cut.look).items()}
    for by in CRITERIA:
        told[f"bearable/{by}"] = found.bearable(by) if by in found.criteria() else None
    for cut, share in _placed(found):
        told |= {f"{name}/{cut.by}@{share:g}": value for name, value in _look(cut.look).items()}
    told["critic-ranks"] = _ranks(found)
    return told


def _look(look: Any) -> dict[str, float | None]:
    known = {"critic": look.probability, "frechet": look.quality.get("frechet"), "change": look.drift}
    return {name: estimate.value if estimate else None for name, estimate in known.items()}


def _placed(found: Pruned) -> Iterator[tuple[Cut, float]]:
    """Each twin with the share of the table that it comes nearest to."""
    for cut in found.by_share:
        yield cut, min(SHARES, key=lambda share: abs(share - cut.sparsity))


def _ranks(found: Pruned) -> float | None:
    """Spearman's rank correlation of the critic's probability with the Frechet distance, over all twins."""
    looks = [c.look for c in (*found.by_threshold, *found.by_share) if c.look.probability and c.look.quality]
    pairs = [(look.probability.value, look.quality["frechet"].value) for look in looks if look.probability]
    if len({p for p, _ in pairs}) < 3:
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


class Pruning(Experiment):
    """Thresholds of the raw weight from 0 to 1, and shares of the weights by eight measures."""

    title: ClassVar[str] = "Pruning a StyleGAN by the magnitude of its weights"
    source: ClassVar[str] = f"{SOURCE}, sec. V-B and VI-B, figures 13 and 14"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        seeds = 1 if scale == "smoke" else 3
        return tuple(PrunedParent(parent=parent(scale, seed), study=study(scale)) for seed in range(1, seeds + 1))

    def told(self, scale: Scale, done: Done) -> Told:
        thresholds = _thresholds(scale)
        tables = (
            table(self.title, ("what", "at"), [*_headlines(done), *_by_threshold(done, thresholds)]),
            table("The largest share that can go before twice the Frechet distance", ("by",), _borne(done)),
        )
        differs = (
            "A StyleGAN2 of Fashion-MNIST at 32 pixels; the paper's is a StyleGAN of CelebA at 128."
            if scale != "paper"
            else "The steps of the paper's training are not known: 300,000 here.",
            "The paper judges by its critic and by eye. The Frechet distance is of a random feature space of our own "
            "(random-conv-1): compare it with the whole network's and with real samples' alone.",
            "Which layers the paper pruned is not said: here all weights of mapping, styles and convolutions are.",
            "Controls that the paper lacks: a network that was never trained, and random masks that take as many.",
        )
        return Told(tables, tuple(_claims(done)), tuple(_figures(done, thresholds)), differs)


def study(scale: Scale) -> Prune:
    """What is measured, at each scale."""
    if scale == "smoke":
        few: tuple[By, ...] = ("magnitude", "random", "channels")
        return Prune(thresholds=(0.4, 0.5, 0.7, 1.0), sparsities=(0.5,), criteria=few, latents=8, samples=24, repeats=0)
    samples = 1000 if scale == "small" else 5000
    return Prune(thresholds=THRESHOLDS, sparsities=SHARES, criteria=CRITERIA, samples=samples, repeats=0)


def _thresholds(scale: Scale) -> tuple[float, ...]:
    return study(scale).thresholds


def _ours(done: Done, name: str) -> Spread | None:
    return median(values(done, name))


def _headlines(done: Done) -> Iterator[Line]:
    """The paper's own numbers, each with its control below."""
    gone, fresh = _ours(done, "gone@t1"), _ours(done, "untrained@t1")
    yield Line(("share of the weights gone", "threshold 1"), round(1 - KEPT, 4), gone, "1,218,002 of 3,680,500 stay")
    yield Line(("the same of an untrained network", "threshold 1"), None, fresh, f"normal: {normal_within(1.0):.4f}")
    yield Line(("standard deviation of the raw weights", "trained"), None, _ours(done, "sigma"), "untrained: 1")
    yield Line(("correlation with the weights before training", "trained"), None, _ours(done, "correlation"))
    yield Line(("critic's probability", "threshold 0.4"), CRITIC, _ours(done, "critic/magnitude@t0.4"))
    for place, words in (("whole", "whole network"), ("real", "real samples")):
        yield Line(("critic's probability", words), None, _ours(done, f"critic@{place}"))
        yield Line(("Frechet distance", words), None, _ours(done, f"frechet@{place}"))
    yield Line(("critic against quality, by rank", "all twins"), None, _ours(done, "critic-ranks"), "-1: of one mind")


def _by_threshold(done: Done, thresholds: Iterable[float]) -> Iterator[Line]:
    for t in thresholds:
        at = f"threshold {t:g}"
        if t != 1.0:
            yield Line(("share of the weights gone", at), None, _ours(done, f"gone@t{t:g}"))
        for name, words in MEASURES.items():
            if (name, t) != ("critic", 0.4):
                yield Line((words, at), None, _ours(done, f"{name}/magnitude@t{t:g}"))
            yield Line((f"{words}, random masks", at), None, _ours(done, f"{name}/random@t{t:g}"))


def _borne(done: Done) -> Iterator[Line]:
    for by in CRITERIA:
        yield Line((by,), None, _ours(done, f"bearable/{by}"))


def _figures(done: Done, thresholds: Iterable[float]) -> Iterator[Figure]:
    """What a threshold takes, and what is left of the quality."""
    t = list(thresholds)
    shares = {
        "trained": [_value(done, f"gone@t{x:g}") for x in t],
        "never trained": [_value(done, f"untrained@t{x:g}") for x in t],
        "standard normal": [normal_within(x) for x in t],
    }
    yield _curve(
        "What a threshold takes", "threshold", "share of the weights gone", {k: [t, v] for k, v in shares.items()}
    )
    pairs = {by: [_value(done, f"critic/{by}@t{x:g}") for x in t] for by in ("magnitude", "random")}
    yield _curve("The critic's probability", "threshold", "probability", {k: [t, v] for k, v in pairs.items()})
    series = {}
    for by in DRAWN:
        known = [(s, v) for s in SHARES if (v := _value(done, f"frechet/{by}@{s:g}")) is not None]
        if known:
            series[by] = [[s for s, _ in known], [v for _, v in known]]
    if series:
        yield _curve(
            "Quality over the share that is gone", "share of the weights gone", "Frechet distance", series, "y"
        )


def _curve(title: str, x: str, y: str, series: Mapping[str, Any], log: str = "") -> Figure:
    return Figure(kind="curve", title=title, data={"series": dict(series), "x": x, "y": y, "log": log})


def _value(done: Done, name: str) -> float | None:
    found = _ours(done, name)
    return found.value if found else None


# Claims


def _claims(done: Done) -> Iterator[Claim]:
    """What the paper says, with the control as evidence."""
    gone, fresh = _ours(done, "gone@t1"), _ours(done, "untrained@t1")
    control = f"a network that was never trained {shown(fresh)}"
    true = gone and abs(gone.value - (1 - KEPT)) <= ALIKE
    yield _claim(
        "a-threshold-of-1-takes-two-thirds", gone, "holds" if true else "not", f"paper {1 - KEPT:.4f}; {control}"
    )
    learned = gone and fresh and abs(gone.value - fresh.value) > ALIKE
    beside = f"{control}: as many within {ALIKE:g} is what the threshold takes, whatever was learned"
    yield _claim("what-it-takes-was-learned-to-be-superfluous", gone, "holds" if learned else "not", beside)
    best = max(((v, by) for by in CRITERIA if (v := _value(done, f"bearable/{by}")) is not None), default=(0.0, "none"))
    at_one, chance = _ratio(done, "magnitude@t1"), _ratio(done, "random@t1")
    good: Status = "holds" if at_one and at_one.value <= WORSE else "part" if best[0] >= 1 - KEPT - 0.05 else "not"
    beside = f"times the whole network's Frechet distance, at most {WORSE:g}; random masks {shown(chance)}; "
    yield _claim("two-thirds-can-go", at_one, good, f"{beside}{best[0]:.0%} can go by {best[1]}", WORSE)
    some, chance = _ratio(done, "magnitude@t0.4"), _ratio(done, "random@t0.4")
    beside = f"times the whole network's Frechet distance, at most {WORSE:g}; random masks {shown(chance)}"
    yield _claim("quality-is-kept-at-0.4", some, "holds" if some and some.value <= WORSE else "not", beside, WORSE)
    low, high = _ratio(done, "magnitude@t0.5"), _ratio(done, "magnitude@t0.7")
    kept, lost = low and low.value <= WORSE, high and high.value > WORSE
    breaks: Status = "holds" if kept and lost else "part" if kept else "not"
    beside = (
        f"at 0.5, at 0.7 {shown(high)}; the break lies between where the first is at most {WORSE:g}, the second more"
    )
    yield _claim("it-breaks-above-0.5", low, breaks, f"{beside}; 0.5 takes {normal_within(0.5):.0%}", WORSE)
    ranks = _ours(done, "critic-ranks")
    follows = ranks and ranks.value <= FOLLOWS
    beside = f"rank correlation with the Frechet distance over all twins, at most {FOLLOWS:g} where it follows"
    yield _claim("the-critic-follows-quality", ranks, "holds" if follows else "not", beside, FOLLOWS)


Status = Literal["holds", "part", "not"]


def _claim(name: str, ours: Spread | None, status: Status, beside: str, limit: float | None = None) -> Claim:
    """Undecided with fewer networks than a claim is decided on, and where they lie on both sides of its limit."""
    sure = ours is not None and ours.n >= FEWEST and (limit is None or not ours.low <= limit < ours.high)
    evidence = f"ours {shown(ours)}; {beside}"
    return Claim(id=f"stylegan.prune.{name}", status=status if sure else "undecided", evidence=evidence)


def _ratio(done: Done, place: str) -> Spread | None:
    """The Frechet distance of these twins, each in those of its own whole network."""
    pairs = [(numbers.get(f"frechet/{place}"), numbers.get("frechet@whole")) for _, numbers in done]
    return median(twin / whole if twin is not None and whole else None for twin, whole in pairs)
