"""What a training leaves to read: its losses, samples, and quality beside the floors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from genvet.core.printable import printable

if TYPE_CHECKING:
    from genvet.core.report import Figure, Finding, Measure
    from genvet.core.technique import Recipe, Trained

MOST_POINTS = 1000
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
    losses = ", ".join(f"{name} {value:.4g}" for name, value in _losses(trained).items())
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
    note = "mean of the last 100 steps"
    made = [Measure(name=f"loss.{name}", value=v, note=note) for name, v in _losses(trained).items()]
    if "accuracy" in about:
        bounds = {"low": about["accuracy_low"], "high": about["accuracy_high"], "chance": about["chance"]}
        note = "on held-out images; exact 95 % interval; chance is the commonest class alone"
        made.append(Measure(name="accuracy", value=about["accuracy"], n=about["measured_on"], note=note, **bounds))
    if about.get("utility") is not None:
        note = "accuracy that was asked for: " + ("reached" if about["reached"] else "not reached")
        made.append(Measure(name="utility", value=about["utility"], note=note))
    if "robust_accuracy" in about:
        note, n = "accuracy on held-out images moved against it", about["measured_on"]
        made.append(Measure(name="robust-accuracy", value=about["robust_accuracy"], n=n, note=note))
    if "privacy" in about:
        made.append(of_privacy(about["privacy"]))
    return tuple(made)


def of_privacy(promised: Mapping[str, Any]) -> Measure:
    """An epsilon with what it means nothing without."""
    from genvet.core.report import Measure

    of, by = f"at delta {promised['delta']:g}, {promised['adjacency']}", promised["accountant"]
    return Measure(name="epsilon", value=promised["epsilon"], note=f"{of}; by {by}; {promised['holds']}")


def of_accuracy(about: Mapping[str, Any]) -> str:
    """A classifier's accuracy in one line."""
    between = f"{about['accuracy_low']:.4f} to {about['accuracy_high']:.4f}, chance {about['chance']:.4f}"
    short = "" if about.get("reached", True) else f"; {about['utility']} was asked for"
    return f"accuracy {about['accuracy']:.4f} ({between}) on {about['measured_on']} that it never saw{short}"


def figures(trained: Trained, folder: Path, rate: int, seed: int) -> tuple[Figure, ...]:
    """How losses, scores and distances went, thinned to what a chart can show, and samples of the averaged weights."""
    from genvet.core.report import Figure
    from genvet.core.rng import Rng
    from genvet.core.technique import Picture, TrainedGenerator
    from genvet.engine.shelf import Shelf
    from genvet.training.loop import BUDGET
    from genvet.training.styles import APART, FAKE, REAL

    beside = (REAL, FAKE, APART)
    losses = {name: _thinned(values.tolist()) for name, values in trained.losses.items() if name not in beside}
    budget = losses.pop(BUDGET, None) and _thinned(trained.losses[BUDGET].tolist(), max)
    made = [Figure(kind="curve", title="Losses", data={"series": losses, "x": "step", "y": "loss"})]
    if budget:
        data = {"series": {"spent": budget}, "x": "step", "y": "epsilon, at most"}
        made.append(Figure(kind="curve", title="The budget", data=data))
    scores = {name: _thinned(trained.losses[name].tolist()) for name in (REAL, FAKE) if name in trained.losses}
    if scores:
        data = {"series": scores, "x": "step", "y": "mean score"}
        made.append(Figure(kind="curve", title="What the critic thinks of real and generated images", data=data))
    judged = trained.record.get("judged", [])
    if judged:
        names = [name for name in judged[0] if name != "step"]
        distances = {name: [[j["step"] for j in judged], [j[name] for j in judged]] for name in names}
        data = {"series": distances, "x": "step", "y": "distance", "log": "y"}
        made.append(Figure(kind="curve", title="Distance to the data at each checkpoint", data=data))
    if not isinstance(trained, TrainedGenerator):
        return tuple(made)
    generator = trained.generator
    x = generator.sample(64 if len(generator.shape) == 3 else 4, Rng(seed).fork("report"))
    return *made, Shelf(folder, rate).figure(Picture("Samples", x))


def _losses(trained: Trained) -> dict[str, float]:
    """Those of the record, without the budget that is spent: it is told with what it means."""
    from genvet.training.loop import BUDGET

    return {name: value for name, value in trained.record["loss"].items() if name != BUDGET}


def _thinned(values: Sequence[float], of: Callable[[Sequence[float]], float] = fmean) -> list[list[float]]:
    """Steps and values, no more than a chart can show: each the mean of the steps up to it, or another one value."""
    stride = 1 + len(values) // MOST_POINTS
    parts = [values[i : i + stride] for i in range(0, len(values), stride)]
    return [[min((i + 1) * stride, len(values)) for i in range(len(parts))], [of(p) for p in parts]]


def in_words(quality: Finding, reference: Path | None) -> str:
    """What the model's file says of its quality: the space, n, each statistic with its interval."""
    told = {m.name: [m.value, m.low, m.high] for m in quality.measures}
    of = {"reference": printable(reference.name, 100)} if reference else {}
    return json.dumps({"space": quality.measures[0].note, "n": quality.queries, **of, **told})
