"""Pruning at a glance: curves over threshold and sparsity, the same latents after each cut, and the tables behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from genvet.core.report import Figure, Scalar, Table
from genvet.core.technique import Picture
from genvet.maths.averages import normal_within
from genvet.studies.cutting import Cut
from genvet.studies.measuring import Look

if TYPE_CHECKING:
    from genvet.studies.prune import Pruned

Series = dict[str, list[list[float]]]
SINGLE = ("magnitude", "effective", "normalised", "movement", "activation", "random")
WHOLE = ("magnitude", "random", "channels", "random channels")


def all_of(found: Pruned) -> Iterator[Figure | Picture]:
    """The pictures first: what the numbers are about."""
    paper = [c for c in found.by_threshold if c.by == "magnitude"]
    seen = found.dense.images.ndim == 4  # sounds make no sheet
    if paper and seen:
        rows = [("whole", found.dense), *((f"t {c.threshold:g}: {c.sparsity:.0%} gone", c.look) for c in paper)]
        yield _sheet("The same latents, raw weights below a threshold t gone", rows, found.shown)
    if found.sheet and seen:
        rows = [("whole", found.dense), *((c.by, c.look) for c in found.sheet)]
        gone = max(c.sparsity for c in found.sheet)
        yield _sheet(f"The same latents, {gone:.0%} of the weights gone by each measure", rows, found.shown)
    if len(found.below) > 1:
        yield _below(found)
    if paper and paper[0].look.probability is not None:
        yield _by_threshold(found)
    yield from _by_sparsity(found)


def _sheet(title: str, rows: Sequence[tuple[str, Look]], columns: int) -> Picture:
    """A row a network, each under its name."""
    x = torch.cat([look.images[:columns] for _, look in rows])
    captions = [name if i == 0 else "" for name, look in rows for i in range(len(look.images[:columns]))]
    return Picture(title=title, x=x, captions=tuple(captions), columns=columns)


def _below(found: Pruned) -> Figure:
    t = list(found.below)
    series: Series = {"this network": [t, list(found.below.values())]}
    if found.below_untrained:
        series["never trained"] = [list(found.below_untrained), list(found.below_untrained.values())]
    series["standard normal"] = [t, [normal_within(x) for x in t]]
    caption = "Where the curves agree, a threshold takes what it would take of weights that learned nothing."
    data = {"series": series, "x": "threshold of the raw weight", "y": "share of the weights gone"}
    return Figure(kind="curve", title="What a threshold takes", caption=caption, data=data)


def _by_threshold(found: Pruned) -> Figure:
    series = _series(found.by_threshold, ("magnitude", "random"), _probability, lambda c: c.threshold or 0.0)
    real = found.yard.real
    caption = "Random masks take as many weights. The critic never saw such images, and is no measure of quality."
    if real is not None:
        caption += f" Real samples: {real.value:.3g}."
    data = {"series": series, "x": "threshold of the raw weight", "y": "mean probability of being real"}
    return Figure(kind="curve", title="The critic's probability, as the paper plots it", caption=caption, data=data)


def _by_sparsity(found: Pruned) -> Iterator[Figure]:
    best = _frechet if found.dense.quality else _drift
    word = f"Frechet distance in {found.yard.space}" if found.dense.quality else "change of the image"
    floor = found.yard.floor.get("frechet")
    caption = f"The whole network: {best(found.dense):.3g}." if found.dense.quality else "1 is another latent's image."
    if floor is not None:
        caption += f" Real samples against other real ones: {floor.value:.3g}."
    for title, names in (("By what tells a weight's worth", SINGLE), ("Single weights or whole channels", WHOLE)):
        series = _series(found.by_share, names, best, lambda c: c.sparsity)
        if len(series) > 1:
            log = "y" if found.dense.quality else ""
            data = {"series": series, "x": "share of the weights gone", "y": word, "log": log}
            yield Figure(kind="curve", title=title, caption=caption, data=data)
    if found.dense.probability is not None:
        series = _series(found.by_share, SINGLE, _probability, lambda c: c.sparsity)
        data = {"series": series, "x": "share of the weights gone", "y": "mean probability of being real"}
        if series:
            yield Figure(kind="curve", title="The critic's probability over the share that is gone", data=data)


def _series(cuts: Iterable[Cut], names: Sequence[str], y: Callable[[Look], float], x: Callable[[Cut], float]) -> Series:
    made: Series = {}
    for name in names:
        points = sorted((x(c), y(c.look)) for c in cuts if c.by == name)
        if points:
            made[name] = [[p[0] for p in points], [p[1] for p in points]]
    return made


def _probability(look: Look) -> float:
    return look.probability.value if look.probability else float("nan")


def _frechet(look: Look) -> float:
    return look.quality["frechet"].value


def _drift(look: Look) -> float:
    return look.drift.value


# Tables


def tables_of(found: Pruned) -> Iterator[Table]:
    """Thresholds as the paper, sparsities by each measure, what is borne, sizes and times, what could not be done."""
    yield _anchors(found)
    if found.by_threshold:
        first = ("threshold", "cut", "kept", "share gone", "never trained", "standard normal")
        rows = [_row(_threshold(found, c), c.look) for c in found.by_threshold]
        yield Table(
            title="By threshold of the raw weight, as the paper", columns=_columns(found, first), rows=tuple(rows)
        )
    if found.by_share:
        rows = [_row((c.by, round(c.sparsity, 4), c.kept), c.look) for c in found.by_share]
        columns = _columns(found, ("by", "share gone", "kept"))
        yield Table(title="By share of the weights", columns=columns, rows=tuple(rows))
        yield _bearable(found)
    yield _upkeep(found)
    if found.missing:
        yield Table(title="Not applicable", columns=("what", "why"), rows=tuple(found.missing.items()))


def _threshold(found: Pruned, cut: Cut) -> tuple[Scalar, ...]:
    t = cut.threshold or 0.0
    fresh = found.below_untrained.get(t)
    name = "below it" if cut.by == "magnitude" else "random, as many"
    return t, name, cut.kept, round(cut.sparsity, 4), fresh and round(fresh, 4), round(normal_within(t), 4)


def _anchors(found: Pruned) -> Table:
    """What the numbers of twins are to be read beside."""
    quality = {name: e.value for name, e in found.yard.floor.items()}
    real = found.yard.real
    rows: list[tuple[Scalar, ...]] = [_row(("the whole network",), found.dense)]
    if real is not None or quality:
        critic = (real.value, real.low, real.high) if real else ()
        blank: tuple[Scalar, ...] = (None,) * 3
        floor = [v for e in found.yard.floor.values() for v in (e.value, e.low, e.high)]
        rows.append(("real samples, against others", *blank, *critic, *map(_short, floor)))
    return Table(title="What to read them beside", columns=_columns(found, ("images",)), rows=tuple(rows))


BORNE = {
    "quality": "twice the Frechet distance",
    "change": "half-way to other images",
    "critic": "half the critic's probability",
}


def _bearable(found: Pruned) -> Table:
    rules = found.rules()
    rows: list[tuple[Scalar, ...]] = [
        (by, *(round(found.bearable(by, rule), 4) for rule in rules)) for by in found.criteria()
    ]
    columns = ("by", *(BORNE[rule] for rule in rules))
    return Table(title="The largest share that can go before", columns=columns, rows=tuple(rows))


def _columns(found: Pruned, first: Sequence[str]) -> tuple[str, ...]:
    names = ["change"] + ["critic"] * (found.dense.probability is not None) + list(found.dense.quality)
    return (*first, *(column for name in names for column in (name, "low", "high")))


def _row(first: tuple[Scalar, ...], look: Look) -> tuple[Scalar, ...]:
    known = [look.drift, *([look.probability] if look.probability else []), *look.quality.values()]
    return (*first, *(_short(v) for e in known for v in e))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _upkeep(found: Pruned) -> Table:
    """Bytes and milliseconds: zeros in a tensor make it neither smaller nor faster."""
    batches = sorted({batch for times in found.times.values() for batch in times})
    columns = ["network", "bytes", "bytes, deflated"]
    for batch in batches:
        columns += [f"ms an image, batch {batch}", "quarter below", "quarter above"]
    rows: list[tuple[Scalar, ...]] = []
    for name, size in found.sizes.items():
        times = [_short(v) for batch in batches for v in found.times[name][batch]]
        rows.append((name, size.stored, size.packed, *times))
    return Table(title="What is gained", columns=tuple(columns), rows=tuple(rows))
