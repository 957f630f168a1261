"""What speaks for an inverted picture showing its class: who recognises it, and how near it is to the real ones.

The target's own accuracy is no evidence: attacks raise it by design. What counts is what others say, among them one
that shares no features with the target, and distances in units of how near real pictures are to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.report import Measure, Scalar, Table
from genvet.maths.class_distances import ClassDistances, class_distances, leave_one_out, scaled_mean
from genvet.maths.ranks import Ranks
from genvet.nets.references import Reference
from genvet.nets.spaces import Space

TOP = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Of pictures (n, ...) with labels (n,): their ranks, and their distances in each space."""

    label: Tensor
    target: Ranks
    references: dict[str, Ranks]
    distances: dict[str, ClassDistances]

    def measures(self, prefix: str = "") -> tuple[Measure, ...]:
        """Means over labels with their intervals; top 5 only where there are more than ten classes."""
        made = list(_accuracy(f"{prefix}target", self.target, "the attacked classifier itself: raised by design"))
        for i, (name, ranks) in enumerate(self.references.items()):
            made += _accuracy(f"{prefix}reference-{i}", ranks, name)
        for i, (name, distance) in enumerate(self.distances.items()):
            for kind in ("centroid", "nearest"):
                scaled, unit = getattr(distance, kind), getattr(distance, f"{kind}_unit")
                value, low, high = scaled_mean(scaled, unit, self.label)
                note = f"to the {'mean' if kind == 'centroid' else 'nearest'} of the class's real pictures in {name}"
                n, of = self.target.labels, f"{prefix}{kind}-{i}"
                unit_of = "distance of real ones"
                made.append(Measure(name=of, value=value, unit=unit_of, low=low, high=high, n=n, note=note))
        return tuple(made)

    def table(self, classes: tuple[str, ...]) -> Table:
        """A row for each picture: its ranks and its distances."""
        columns = ["class", "rank on the target", *(f"rank on {name}" for name in self.references)]
        columns += [f"{kind} in {name}" for name in self.distances for kind in ("centroid", "nearest")]
        ranks = [self.target.rank, *(r.rank for r in self.references.values())]
        apart = [getattr(d, kind) for d in self.distances.values() for kind in ("centroid", "nearest")]
        rows: list[tuple[Scalar, ...]] = []
        for i, label in enumerate(self.label.tolist()):
            numbers: list[Scalar] = [int(r[i]) for r in ranks]
            rows.append((classes[label], *numbers, *(float(d[i]) for d in apart)))
        return Table(title="Evidence for each picture", columns=tuple(columns), rows=tuple(rows))


def evidence(
    x: Tensor,
    labels: Tensor,
    real: Labelled,
    target: Reference,
    references: Iterable[Reference] = (),
    spaces: Iterable[Space] = (),
) -> Evidence:
    """Of pictures (n, c, h, w) in [-1, 1], each made for a label, beside real test pictures of the same classes.

    `real` are private pictures that neither the target nor a reference was trained on; labels are numbers into its
    classes. Raises BadInput where sizes, classes or labels do not fit.
    """
    real.fitting(tuple(x.shape[1:]))
    apart = {s.name: class_distances(s(x), labels, s(real.x), real.labels) for s in spaces}
    return _shown(x, labels, real, target, references, apart)


def evidence_of_real(
    real: Labelled, target: Reference, references: Iterable[Reference] = (), spaces: Iterable[Space] = ()
) -> Evidence:
    """The same of the real test pictures themselves, each beside the others of its class: what can be reached."""
    apart = {s.name: leave_one_out(s(real.x), real.labels) for s in spaces}
    return _shown(real.x, real.labels, real, target, references, apart)


def _shown(
    x: Tensor,
    labels: Tensor,
    real: Labelled,
    target: Reference,
    references: Iterable[Reference],
    distances: dict[str, ClassDistances],
) -> Evidence:
    """Asks those who recognise."""
    references = list(references)
    for one in (target, *references):
        if one.classes != len(real.classes):
            expected = f"the {len(real.classes)} classes of the real pictures"
            raise BadInput(f"{one.name} does not fit", expected=expected, got=str(one.classes))
    ranks = {r.name: r.ranks(x, labels) for r in references}
    return Evidence(label=labels.cpu(), target=target.ranks(x, labels), references=ranks, distances=distances)


def _accuracy(name: str, ranks: Ranks, note: str) -> tuple[Measure, ...]:
    """Top 1, the median rank, and top 5 where that says anything."""
    tops = [ranks.measure(f"{name}.top-1", 1, note)]
    if int(ranks.among.max()) > 2 * TOP:
        tops.append(ranks.measure(f"{name}.top-{TOP}", TOP, note))
    chance = (int(ranks.among.max()) + 1) / 2
    value, low, high = ranks.median()
    note, n = f"median; {note}", ranks.labels
    tops.append(Measure(name=f"{name}.rank", value=value, low=low, high=high, chance=chance, n=n, note=note))
    return tuple(tops)
