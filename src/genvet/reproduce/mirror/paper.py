"""The paper's own numbers, where ours are of another quantity: never in one row with ours."""

from __future__ import annotations

from collections.abc import Mapping

from genvet.core.report import Scalar, Table

MODELS = ("VGG16", "VGG16BN", "ResNet50", "InceptionV1", "InceptionV1 of CASIA", "SphereFace")
Pair = tuple[float, float] | None
"""On the target and on another network; None where there is none."""
TABLE_2: Mapping[str, tuple[Pair, ...]] = {
    "DeepInversion, noise": (None, (102.67, 132.41), (161.15, 201.16), (127.76, 174.21), (172.06, 11.51), None),
    "DeepInversion, cartoon": (None, (93.05, 131.64), (149.10, 185.35), (129.40, 171.26), (172.27, 11.41), None),
    "DeepInversion, average": (None, (85.26, 117.01), (150.91, 192.95), (130.10, 172.69), (172.50, 11.47), None),
    "GMI": ((110.20, 103.41), (98.87, 104.49), (155.25, 198.51), (143.47, 188.23), (153.34, 12.09), (12.20, 187.73)),
    "PGGAN": ((139.57, 82.35), (85.71, 96.41), (164.10, 150.22), (130.64, 170.47), (181.18, 10.13), (9.06, 159.83)),
    "MIRROR": ((97.73, 55.41), (72.06, 80.65), (149.96, 147.97), (119.82, 163.84), (154.41, 9.81), (8.96, 156.19)),
}
TABLE_3: Mapping[str, tuple[float | None, ...]] = {
    "DeepInversion, noise": (None, 25.67, 16.84, 18.88, 18.87, None),
    "DeepInversion, cartoon": (None, 6.28, 6.38, 5.22, 5.06, None),
    "DeepInversion, average": (None, 6.49, 5.68, 5.21, 5.06, None),
    "GMI": (6.82, 6.78, 6.94, 6.57, 6.76, 6.59),
    "PGGAN": (5.32, 5.17, 4.95, 5.00, 4.74, 5.43),
    "MIRROR": (3.56, 3.59, 3.46, 3.58, 3.56, 3.70),
    "real pictures": (4.95, 4.95, 3.09, 3.09, 4.14, 4.14),
}
TABLE_4: Mapping[str, tuple[Pair, ...]] = {
    "AMI": (
        *((103.10, 124.15), (125.82, 104.73), (197.11, 234.40)),
        *((234.95, 202.51), (188.05, 10.89), (11.37, 198.98)),
    ),
    "MIRROR": ((90.83, 69.05), (62.19, 85.17), (150.25, 172.03), (130.77, 167.86), (139.39, 10.12), (10.09, 173.34)),
}
TABLE_5: Mapping[str, tuple[float | None, ...]] = {
    "AMI": (5.10, 4.83, 4.92, 4.84, 4.83, 4.75),
    "MIRROR": (3.78, 3.62, 3.80, 3.72, 3.73, 3.81),
}
TABLE_6: Mapping[str, tuple[Pair, ...]] = {
    "best public": (
        *((105.37, 81.27), (83.34, 106.37), (160.71, 178.24)),
        *((159.44, 171.90), (153.64, 14.92), (27.33, 174.19)),
    ),
    "best sample": (
        *((96.27, 77.08), (77.16, 100.05), (170.59, 200.83)),
        *((173.82, 183.34), (153.49, 18.89), (26.85, 174.58)),
    ),
    "MIRROR, black box": TABLE_4["MIRROR"],
    "MIRROR": TABLE_2["MIRROR"],
}
TABLE_7: Mapping[str, tuple[float, float | None, float | None]] = {
    "z": (3.77, 54.8, 1.0),
    "z and clip": (3.87, 54.8, 2.8),
    "w": (3.80, 73.3, 5.3),
    "w and clip": (3.46, None, None),
    "z+": (3.65, 55.5, 1.3),
    "z+ and clip": (3.75, 66.0, 9.6),
    "w+": (3.99, 86.0, 6.7),
    "w+ and clip": (3.57, 78.4, 7.9),
    "StyleGAN of FFHQ": (4.41, 42.0, 5.7),
    "StyleGAN2 of FFHQ": (4.78, 54.4, 0.7),
}
"""NIQE; and how many in a hundred people prefer 'w and clip', with its error."""
ORDERINGS = (
    "What can be compared with the paper is which way is ahead, by what other networks say; no distance or NIQE of it "
    "is in our units. Its own tables have exceptions. On the target, nearer than MIRROR with weights are GMI on "
    "InceptionV1 of CASIA, DeepInversion from a cartoon on ResNet50, the best sample on two networks, the best public "
    "image on one, and MIRROR by queries on three of six. In NIQE, DeepInversion from a cartoon or the average beats "
    "GMI wherever it applies."
)


def distances(title: str, of: Mapping[str, tuple[Pair, ...]]) -> Table:
    """A row for each way: on the target, and on another network."""
    rows: list[tuple[Scalar, ...]] = []
    for name, pairs in of.items():
        rows += [(name, on, *(pair and pair[side] for pair in pairs)) for side, on in enumerate(("target", "other"))]
    return Table(title=title, columns=("images", "logits of the", *MODELS), rows=tuple(rows))


def table_2() -> Table:
    """With the weights."""
    return distances("The paper's table II: distances of logits to the mean of the label's", TABLE_2)


def table_4() -> Table:
    """By queries."""
    return distances("The paper's table IV: distances of logits, by queries alone", TABLE_4)


def table_6() -> Table:
    """Beside what needs no search."""
    return distances("The paper's table VI: distances of logits, neglected baselines", TABLE_6)


def table_3() -> Table:
    """NIQE as published, with the weights."""
    rows = tuple((name, *values) for name, values in TABLE_3.items())
    title = "The paper's table III: NIQE, whose scores of MIRROR are better than those of real pictures"
    return Table(title=title, columns=("images", *MODELS), rows=rows)


def table_5() -> Table:
    """NIQE as published, by queries."""
    rows = tuple((name, *values) for name, values in TABLE_5.items())
    return Table(title="The paper's table V: NIQE, by queries alone", columns=("images", *MODELS), rows=rows)


def table_7() -> Table:
    """The paper's ablation."""
    columns = ("search", "NIQE", "prefer w and clip, in 100", "error")
    rows = tuple((name, *values) for name, values in TABLE_7.items())
    return Table(title="The paper's table VII: NIQE, and whom people prefer", columns=columns, rows=rows)
