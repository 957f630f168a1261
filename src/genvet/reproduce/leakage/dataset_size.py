"""The size of the training set: the fewer records, the more of each."""

from __future__ import annotations

from typing import ClassVar

from genvet.reproduce.cells import Cell, Done
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, above, course, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, ahead, leak, over_seeds, spread
from genvet.reproduce.leakage.networks import DATA, SEEDS, Data, Learned, learned

SIZES: dict[Scale, tuple[int, ...]] = {
    "smoke": (6, 8),
    "small": (64, 128, 256, 512, 2048),
    "paper": (64, 256, 1024, 4096, 16_384),
}
OTHERS: dict[Scale, int] = {"smoke": 10, "small": 1000, "paper": 10_000}
VARIANTS = {
    "critic": (("auc", "AUC"), ("tpr-at-0.01", "TPR at 1 % FPR")),
    "nearest": (("auc", "AUC"), ("tpr-at-0.01", "TPR at 1 % FPR")),
    "copying": (("replication", "share of samples that are copies"), ("nearer", "share nearer to the training set")),
}


def targets(scale: Scale, size: int, data: Data) -> list[Learned]:
    """Of all seeds, with as many steps whatever their size."""
    return [learned(scale, size, seed, data) for seed in range(1, SEEDS[scale] + 1)]


class DatasetSize(Experiment):
    """Membership and copies over the number of records."""

    title: ClassVar[str] = "Membership and copies over the size of the training set"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.2 (training data size); Feng et al. 2021 (replication)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(
            leak(scale, variant, targets(scale, size, data)[seed], OTHERS[scale])
            for seed in range(SEEDS[scale])
            for data in DATA
            for size in SIZES[scale]
            for variant in VARIANTS
        )

    def told(self, scale: Scale, done: Done) -> Told:
        lines, series = [], {}
        for data in DATA:
            for variant, measures in VARIANTS.items():
                for measure, words in measures:
                    found = [spread(over_seeds(done, measure, variant, targets(scale, n, data))) for n in SIZES[scale]]
                    lines += [
                        Line((data, str(n), variant, words), None, one)
                        for n, one in zip(SIZES[scale], found, strict=True)
                    ]
                    if measure == "auc":
                        series[f"{variant}, {data}"] = dict(zip(SIZES[scale], found, strict=True))
        figure = course("AUC over records", series, "records", "AUC", "x")
        least, most = SIZES[scale][0], SIZES[scale][-1]

        def falls(measure: str, variant: str) -> Spread | None:
            few, many = (
                over_seeds(done, measure, variant, [t for data in DATA for t in targets(scale, size, data)])
                for size in (least, most)
            )
            return ahead(few, many)

        critic, near, copies = falls("auc", "critic"), falls("auc", "nearest"), falls("replication", "copying")
        said = f"{least} records against {most}"
        claims = (
            above("fewer records show more to the critic", critic, 0, f"AUC, {said}"),
            above("fewer records show more in samples", near, 0, f"AUC, {said}"),
            above("fewer records are copied more", copies, 0, f"replication, {said}"),
        )
        where = ("data", "members", "attack", "measure")
        return Told((table(self.title, where, lines),), claims, (figure,) if figure else (), DIFFERS)
