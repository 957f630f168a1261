"""What makes training data show, one thing at a time; and whether membership and reconstruction go together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from genvet.core.report import Claim, Figure
from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, above, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, ahead, leak, over_seeds, spread
from genvet.reproduce.leakage.networks import SEEDS, SETTINGS, SOME, Learned, learned

OTHERS: dict[Scale, int] = {"smoke": 10, "small": 1000, "paper": 10_000}
VARIANTS = {
    "critic": ("auc", "AUC of the critic"),
    "nearest": ("auc", "AUC of the nearest sample"),
    "ranked": ("pixels.auc", "reconstruction, ranked by the critic"),
}
Levels = dict[str, tuple[tuple[str, dict[str, Any]], ...]]


def levels(scale: Scale) -> Levels:
    """Of each factor, the levels from what should show least to what should show most; {} is the base."""
    usual = SETTINGS[scale]
    steps, width = usual["steps"], usual["capacity"]
    return {
        "diversity": (("ten classes", {}), ("three classes", {"classes": 3}), ("one class", {"classes": 1})),
        "width": (
            (f"{width // 2}", {"capacity": width // 2}),
            (f"{width}", {}),
            (f"{2 * width}", {"capacity": 2 * width}),
        ),
        "steps": ((f"{steps // 2}", {"steps": steps // 2}), (f"{steps}", {}), (f"{2 * steps}", {"steps": 2 * steps})),
        "weight decay": (("0.01", {"decay": 0.01}), ("0.001", {"decay": 0.001}), ("none", {})),
        "dropout": (("0.6", {"dropout": 0.6}), ("0.3", {}), ("none", {"dropout": 0.0})),
    }


def targets(scale: Scale, knobs: dict[str, Any]) -> list[Learned]:
    """Of all seeds."""
    return [learned(scale, SOME[scale], seed, **knobs) for seed in range(1, SEEDS[scale] + 1)]


class Factors(Experiment):
    """Diversity, width, steps, weight decay and dropout, each with all else as it is."""

    title: ClassVar[str] = "What makes training data show"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.2 (factors), 2.4.4 (membership as a measure of inversion)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(self._cells(scale))

    def _cells(self, scale: Scale) -> Iterator[Cell]:
        seen: set[str] = set()
        for seed in range(SEEDS[scale]):
            for factor in levels(scale).values():
                for _, knobs in factor:
                    target = targets(scale, knobs)[seed]
                    if target.name not in seen:
                        yield from (leak(scale, variant, target, OTHERS[scale]) for variant in VARIANTS)
                    seen.add(target.name)

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((factor, level, words), None, spread(over_seeds(done, measure, variant, targets(scale, knobs))))
            for factor, several in levels(scale).items()
            for level, knobs in several
            for variant, (measure, words) in VARIANTS.items()
        ]
        points = self._points(scale, done)
        series = {"generators": [[x for x, _ in points], [y for _, y in points]]}
        labels = {"x": "AUC of the critic", "y": "AUC of reconstruction"}
        figure = Figure(kind="scatter", title="Membership and reconstruction", data={"series": series, **labels})
        claims = (*self._claims(scale, done), self._together(points))
        shown = (figure,) if points else ()
        return Told((table(self.title, ("factor", "level", "measure"), lines),), claims, shown, DIFFERS)

    def _claims(self, scale: Scale, done: Done) -> Iterator[Claim]:
        words = {
            "diversity": "less diverse data show more",
            "width": "wider networks show more",
            "steps": "longer training shows more",
            "weight decay": "weight decay hides a little",
            "dropout": "dropout hides a little",
        }
        for factor, several in levels(scale).items():
            least, most = (over_seeds(done, "auc", "critic", targets(scale, several[i][1])) for i in (0, -1))
            more = ahead(most, least)
            said = f"AUC of the critic, {several[-1][0]} against {several[0][0]}"
            yield above(words[factor], more, 0, said)

    def _points(self, scale: Scale, done: Done) -> list[tuple[float, float]]:
        """Membership and reconstruction of every generator."""
        points = []
        named = {t.name: t for several in levels(scale).values() for _, knobs in several for t in targets(scale, knobs)}
        for target in named.values():
            one, other = (over_seeds(done, VARIANTS[v][0], v, [target]) for v in ("critic", "ranked"))
            points += [(one[key], other[key]) for key in one if key in other]
        return points

    def _together(self, points: list[tuple[float, float]]) -> Claim:
        found = rank_correlation(points)
        said = "Spearman's, over all generators of the table"
        return above("membership goes with reconstruction", found, 0, said, fewest=10)


def rank_correlation(points: list[tuple[float, float]]) -> Spread | None:
    """Spearman's, with its 95 % interval by Fisher's transformation; None for fewer than four points.

    >>> rank_correlation([(1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (4.0, 4.0)]).value
    0.8
    """
    from scipy.stats import rankdata  # here, so that --help need not wait for it

    if len(points) < 4:
        return None
    x, y = (rankdata([p[i] for p in points]) for i in (0, 1))
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    value = round(float((x * y).sum()) / size, 12) if size else 0.0
    middle, error = math.atanh(max(-0.999999, min(0.999999, value))), 1.06 / math.sqrt(len(points) - 3)
    return Spread(value, math.tanh(middle - 1.96 * error), math.tanh(middle + 1.96 * error), len(points))
