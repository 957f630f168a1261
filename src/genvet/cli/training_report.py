"""What a training leaves to read: its losses, samples, and quality beside the floors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from genvet.core.printable import printable

if TYPE_CHECKING:
    from genvet.core.report import Figure, Finding, Measure
    from genvet.core.technique import Recipe, Trained

MOST_POINTS = 2000
"""Of each loss in the report."""


def write(
    recipe: Recipe, trained: Trained, quality: Finding | None, model: Path, rate: int, seed: int, seconds: float
) -> Path:
    """report.json and report.html beside the model that came out; gives the page. `seconds` are those of this run."""
    from genvet.cli.outcome import keep, told
    from genvet.core.report import Finding
    from genvet.core.severity import Severity
    from genvet.files.load import load

    steps = max((len(values) for values in trained.losses.values()), default=0)
    losses = ", ".join(f"{name} {value:.4g}" for name, value in trained.record["loss"].items())
    finding = Finding(
        technique=recipe.name(),
        version=recipe.version,
        access="data",
        config=recipe.model_dump(mode="json"),
        severity=Severity.INFO,
        reason="only inspections are judged",
        summary=f"Trained for {steps:,} steps; mean losses at the end: {losses}.",
        measures=measures(trained),
        figures=figures(trained, model.parent, rate, seed),
        seed=seed,
        seconds=seconds,
    )
    said = told(load(model), [finding, *([quality] if quality else [])], "This is a training, not a scan.")
    return keep(said, model.parent)


def measures(trained: Trained) -> tuple[Measure, ...]:
    """Losses at the end; for a classifier, its accuracy."""
    from genvet.core.report import Measure

    about = trained.record
    made = [
        Measure(name=f"loss.{name}", value=v, note="mean of the last 100 steps") for name, v in about["loss"].items()
    ]
    if "accuracy" in about:
        made.append(
            Measure(name="accuracy", value=about["accuracy"], n=about["measured_on"], note="on held-out images")
        )
    return tuple(made)


def figures(trained: Trained, folder: Path, rate: int, seed: int) -> tuple[Figure, ...]:
    """How the losses went, thinned to what a chart can show, and samples of the averaged weights."""
    from genvet.core.report import Figure
    from genvet.core.rng import Rng
    from genvet.core.technique import Picture, TrainedGenerator
    from genvet.engine.shelf import Shelf

    series = {}
    for name, values in trained.losses.items():
        shown = range(0, len(values), 1 + len(values) // MOST_POINTS)
        series[name] = [[i + 1 for i in shown], [values[i].item() for i in shown]]
    curve = Figure(kind="curve", title="Losses", data={"series": series, "x": "step", "y": "loss"})
    if not isinstance(trained, TrainedGenerator):
        return (curve,)
    generator = trained.generator
    x = generator.sample(64 if len(generator.shape) == 3 else 4, Rng(seed).fork("report"))
    return curve, Shelf(folder, rate).figure(Picture("Samples", x))


def in_words(quality: Finding, reference: Path | None) -> str:
    """What the model's file says of its quality: the space, n, each statistic with its interval."""
    told = {m.name: [m.value, m.low, m.high] for m in quality.measures}
    of = {"reference": printable(reference.name, 100)} if reference else {}
    return json.dumps({"space": quality.measures[0].note, "n": quality.queries, **of, **told})
