"""Section III: what the paper saw before it built MIRROR, each with the control that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, claim, median, shown, table, values
from genvet.reproduce.mirror import SOURCE
from genvet.reproduce.mirror.comparing import Asked, Variant, tables, ways
from genvet.reproduce.mirror.networks import prior, target
from genvet.reproduce.mirror.observing import (
    BINS,
    FRESH,
    KINDS,
    LEVELS,
    PATHS,
    PLACES,
    POINTS,
    REACH,
    TRAINED,
    Likeness,
    Normality,
    Path,
)
from genvet.reproduce.mirror.protocol import BLOCKS, FEWER, SAMPLES, STEPS, claims, controls, differs

NORMAL = 0.5
"""Mean absolute skewness up to which numbers count as normal; and the rank correlation from which on there is one."""
MEASURES = {
    **{f"{name}.skew": f"mean absolute skewness {words}" for name, words in PLACES.items()},
    "p.kurtosis": "mean excess kurtosis of P",
    "directions": "directions that share the variance of P",
    "inside": "share of ordinary w inside the box of one standard deviation",
    "clipped": "share of their numbers that the box cuts",
    "shrunk": "length of p in the box over its own",
}
CRITIC, BARE, STRONG = "gmi, two searches", "gmi, no critic", "gmi, critic ten times as strong"
OWN: tuple[Asked, ...] = (
    (
        "mirror.observations.critic-helps",
        "GMI's critic keeps images like public ones",
        CRITIC,
        BARE,
        "public",
        "smaller",
    ),
    (
        "mirror.observations.critic-judges",
        "others recognise images otherwise without it",
        BARE,
        CRITIC,
        "judges",
        "different",
    ),
    ("mirror.observations.stronger-critic", "ten times of it does more", STRONG, CRITIC, "public", "smaller"),
)


def variants(scale: Scale) -> list[Variant]:
    """GMI with its critic, without it, and with ten times its weight beside the target's."""
    usual: dict[str, Any] = {"steps": min(1500, 5 * STEPS[scale]), "restarts": 2}
    return [
        (CRITIC, "gmi", usual),
        (BARE, "gmi", usual),
        (STRONG, "gmi", {**usual, "weight": 10.0}),
        *controls(scale, 4),
    ]


def nets(variant: str) -> dict[str, Any]:
    """GMI's plain GAN."""
    return {"net": "dcgan"} if variant in (CRITIC, BARE, STRONG) else {}


def without(variant: str) -> dict[str, Any]:
    """Whether the critic has a say."""
    return {"critic": False} if variant == BARE else {}


class Observations(Experiment):
    """P, the box, paths in Z, and the critic as a judge."""

    title: ClassVar[str] = "Section III: what P looks like, and what the critic says"
    source: ClassVar[str] = f"{SOURCE}, sec. III and IV-B, figures 6, 7 and 9"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        gmi = ways(scale, variants(scale), FEWER[scale], BLOCKS[scale], through=nets, more=without)
        return (*_cells(scale), *gmi)

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((network, words), None, _ours(done, network, name))
            for network in (TRAINED, FRESH)
            for name, words in MEASURES.items()
        ]
        note = "Spearman's, over samples of the prior"
        ranks = {"critic-ranks": "distance to public pictures", "critic-niqe": "NIQE refitted"}
        lines += [
            Line((TRAINED, f"critic's score against {words}, by rank"), None, _ours(done, TRAINED, name), note)
            for name, words in ranks.items()
            if values(done, name)
        ]
        names = [name for name, *_ in variants(scale)]
        more = (
            "The paper shows histograms and Q-Q plots of a StyleGAN with eight layers of mapping; ours has two, so "
            "that the last but one is the first. The control: a network of the same make that was never trained.",
            "A low score of the critic is the paper's high discriminative loss.",
        )
        return Told(
            (table(self.title, ("network", "measure"), lines), *tables("GMI with and without its critic", done, names)),
            (*_claims(done), *claims(done, (), OWN)),
            tuple(_figures(done)),
            (*differs(scale, done, restarts=4), *more),
        )


def _cells(scale: Scale) -> Iterator[Cell]:
    few = scale == "smoke"
    for seed in range(1, BLOCKS[scale] + 1):
        one = prior(scale, seed)
        for trained in (True, False):
            yield Normality(prior=one, trained=trained, n=200 if few else 20_000)
        yield Likeness(prior=one, n=20 if few else 500)
        for clipped in (True, False):
            samples, steps = min(SAMPLES[scale], 2000), min(STEPS[scale], 1000)
            yield Path(prior=one, target=target(scale, seed), clipped=clipped, samples=samples, steps=steps)


def _ours(done: Done, network: str, name: str) -> Spread | None:
    return median(values(done, name, network=network))


def _claims(done: Done) -> Iterator[Claim]:
    near = "mirror.observations"
    p, w, fresh = (_ours(done, *of) for of in ((TRAINED, "p.skew"), (TRAINED, "w.skew"), (FRESH, "p.skew")))
    yield claim(f"{near}.p-is-normal", p, p and p.value <= NORMAL, f"never trained {shown(fresh)}")
    yield claim(f"{near}.w-is-not", w, w and w.value > NORMAL, f"p {shown(p)}")
    inside = _ours(done, TRAINED, "inside")
    beside = "share of ordinary latents; the box keeps out what the prior makes"
    yield claim(f"{near}.the-box-holds-ordinary-latents", inside, inside and inside.value >= 0.5, beside)
    ranks = _ours(done, TRAINED, "critic-ranks")
    beside = "rank correlation of its score with the distance to real drawings: at most -0.5 where it judges quality"
    yield claim(f"{near}.the-critic-judges-quality", ranks, ranks and ranks.value <= -NORMAL, beside)
    blurred, samples = (_ours(done, TRAINED, f"critic.{kind}") for kind in ("more blurred", "samples"))
    beside = f"score of blurred public pictures, in deviations of sharp ones; samples of the prior {shown(samples)}"
    yield claim(f"{near}.the-critic-minds-blur", blurred, blurred and blurred.value < -NORMAL, beside)
    free, kept = (median(values(done, f"length.{POINTS}", clipped=on)) for on in (False, True))
    beside = f"length of z where a search ends, ordinary is 1; with the clip {shown(kept)}"
    yield claim(f"{near}.paths-leave-z", free, free and free.value > 1 + NORMAL, beside)


def _figures(done: Done) -> Iterator[Figure]:
    yield from _histograms(done)
    yield from _quantiles(done)
    yield from _paths(done)
    found = {kind: ours.value for kind in KINDS if (ours := _ours(done, TRAINED, f"critic.{kind}"))}
    if found:
        data = {"labels": list(found), "values": list(found.values()), "x": "deviations from public pictures"}
        yield Figure(kind="bars", title="What the critic says of pictures of several kinds", data=data)


def _first(done: Done, name: str, **where: object) -> float | None:
    """Of the first block: a picture shows one network."""
    at = {"block": 1, **where}.items()
    return next((told.get(name) for cell, told in done if at <= cell.where().items() and name in told), None)


def _histograms(done: Done) -> Iterator[Figure]:
    edges = [-REACH + 2 * REACH * i / BINS for i in range(BINS + 1)]
    for name, words in PLACES.items():
        counts = [_first(done, f"{name}.h{i}", network=TRAINED) for i in range(BINS)]
        if None not in counts:
            data = {"counts": counts, "edges": edges, "values": counts, "x": "standard deviations"}
            yield Figure(kind="histogram", title=f"One number {words}", data=data)


def _quantiles(done: Done) -> Iterator[Figure]:
    normal = [float(torch.special.ndtri(torch.tensor(level / 100))) for level in LEVELS]
    for network in (TRAINED, FRESH):
        series = {}
        for name, words in PLACES.items():
            row = [_first(done, f"{name}.q{level}", network=network) for level in LEVELS]
            if None not in row:
                series[words] = [normal, row]
        if series:
            data = {"series": {**series, "normal": [normal, normal]}, "x": "normal quantiles", "y": "quantiles"}
            yield Figure(kind="curve", title=f"Q-Q plot of one number, {network}", data=data)


def _paths(done: Done) -> Iterator[Figure]:
    ways_ = {"free": False, "clipped": True}
    for name, words in (
        ("length", "length of z, ordinary is 1"),
        ("public", "distance to public pictures"),
        ("sure", "the target's probability"),
    ):
        lines: dict[str, Any] = {}
        for way, clipped in ways_.items():
            row = [_first(done, f"{name}.{i}", clipped=clipped) for i in range(POINTS + 1)]
            if None not in row:
                lines[way] = [[i / POINTS for i in range(POINTS + 1)], row]
        if lines:
            data = {"series": lines, "x": "share of the steps", "y": words}
            yield Figure(kind="curve", title=f"Searches in Z: {words}", data=data)
    series: dict[str, Any] = {}
    for way, clipped in ways_.items():
        for k in range(min(PATHS, 3)):
            both = [[_first(done, f"{axis}{k}.{i}", clipped=clipped) for i in range(POINTS + 1)] for axis in "xy"]
            if not any(None in part for part in both):
                series[f"{way}, {k + 1}"] = both
    if series:
        data = {"series": series, "x": "where they moved most", "y": "and second most"}
        yield Figure(kind="curve", title="Paths of searches in Z, each from its start", data=data)
