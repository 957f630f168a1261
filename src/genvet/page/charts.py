"""Draws a Figure's numbers as an SVG that follows the reader's light or dark scheme."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from genvet.core.printable import printable
from genvet.core.report import Figure

# Drawn in colours that nothing else uses, and handed to the page's scheme as CSS variables.
INK, FAINT = "#010203", "#040506"
SERIES = ("#2f6fb0", "#c8662b", "#3d8b5f", "#8a5cad", "#b3892e", "#6f7d8c")
SCHEME = (
    "<style>:root{--ink:#3b4350;--faint:#d5dae1}"
    "@media (prefers-color-scheme:dark){:root{--ink:#c3cad4;--faint:#3a424e}}</style>"
)
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a series may be named after something in the scanned file
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "svg.fonttype": "path",
    "svg.hashsalt": "genvet",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}
SHAPES = "osD^vP"
"""Of the points of a scatter: with the colours, twice as many series as there are of these can be told apart."""
MOST_POINTS = 20_000
MOST_SERIES = 200
MOST_ROWS = 200


def svg(figure: Figure) -> bytes:
    """The chart as SVG; raises ValueError where its data are not what its kind needs."""
    draw = _KINDS.get(figure.kind)
    if draw is None:
        raise ValueError(f"a {figure.kind} is no chart")
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # a name in a script that the font lacks
        canvas = Canvas(figsize=(6.4, _height(figure)), layout="constrained")
        axes = canvas.add_subplot()
        try:
            draw(axes, figure.data)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"its data do not make a {figure.kind}") from error
        drawn = io.StringIO()
        canvas.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(drawn.getvalue()).encode()


def _height(figure: Figure) -> float:
    """In inches: more where a heat map names many rows."""
    rows = figure.data.get("rows") if figure.kind == "heat" else None
    return max(3.2, 1.4 + 0.15 * min(len(rows), MOST_ROWS)) if isinstance(rows, list | tuple) else 3.2


def _themed(text: str) -> str:
    head, start, body = text.partition("<defs>")
    return head + SCHEME + start + body.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")


def _label(text: object) -> str:
    return printable(text, 60)


def _numbers(values: Sequence[Any]) -> list[float]:
    if len(values) > MOST_POINTS:
        raise ValueError("too many points for one chart")
    return [math.nan if v is None else float(v) for v in values]


def _axes(axes: Axes, data: dict[str, Any]) -> None:
    axes.set_xlabel(_label(data.get("x", "")))
    axes.set_ylabel(_label(data.get("y", "")))
    log = data.get("log") or ""
    log = "y" if log is True else str(log)
    for letter, axis, scale in (("x", axes.xaxis, axes.set_xscale), ("y", axes.yaxis, axes.set_yscale)):
        if letter in log:
            scale("log")
            low, high = axis.get_view_interval()
            narrow = 0 < low and high < 50 * low  # such a stretch may hold no power of ten at all
            axis.set_minor_formatter(FuncFormatter(_between) if narrow else NullFormatter())
            if 0 < low and high < 5 * low:  # and such a one hardly any of 2, 3 and 5 times such a power
                axis.set_major_locator(MaxNLocator(5))
                axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(_tick))


def _between(value: float, _place: int | None = None) -> str:
    """Labels for 2, 3 and 5 times a power of ten."""
    return _tick(value) if f"{value:e}"[0] in "235" else ""


def _tick(value: float, _place: int | None = None) -> str:
    """Plain numbers: matplotlib's own labels for logarithms and large values need its math mode."""
    for letter, scale in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= scale:
            return f"{value / (1e3 if letter == 'k' else scale):g}{letter}"
    return f"{value:.6g}"


def _series(axes: Axes, data: dict[str, Any], mark: Callable[..., Any], looks: Sequence[dict[str, Any]]) -> None:
    """As many series as there are looks get one each and a name; more are drawn as a bundle of one faint look."""
    series = list(data["series"].items())[:MOST_SERIES]
    bundle = len(series) > len(looks)
    for i, (name, (x, y)) in enumerate(series):
        look = {**looks[0], "alpha": 0.35} if bundle else looks[i]
        mark(_numbers(x), _numbers(y), label=_label(name), **look)
    _axes(axes, data)
    if len(series) > 1 and not bundle:
        many = len(series) > len(SERIES)  # beside the chart, where they would hide what it shows
        axes.legend(labelcolor=INK, **({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {"loc": "best"}))


def _curve(axes: Axes, data: dict[str, Any]) -> None:
    """Lines; `bands` has the low and the high end around those that are given one."""
    _series(axes, data, axes.plot, [{"color": colour} for colour in SERIES])
    if len(data["series"]) > len(SERIES):
        return
    for colour, name in zip(SERIES, data["series"], strict=False):
        if name in data.get("bands", {}):
            x, low, high = map(_numbers, data["bands"][name])
            axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)


def _scatter(axes: Axes, data: dict[str, Any]) -> None:
    few = sum(len(x) for x, _ in data["series"].values()) <= 200
    k = len(SERIES)
    looks = [{"color": SERIES[i % k], "marker": SHAPES[(i + i // k) % len(SHAPES)]} for i in range(2 * k)]

    def dots(x: list[float], y: list[float], **look: Any) -> None:
        axes.scatter(x, y, s=26 if few else 10, linewidths=0, **look)

    _series(axes, data, dots, looks)


def _bars(axes: Axes, data: dict[str, Any]) -> None:
    labels = [_label(label) for label in data["labels"]][:40]
    values = _numbers(data["values"])[: len(labels)]
    places = range(len(values))
    axes.barh(places, values, color=SERIES[0], height=0.62)
    axes.set_yticks(places, labels[: len(values)])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(_label(data.get("y", data.get("x", ""))))
    if data.get("log"):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))


def _histogram(axes: Axes, data: dict[str, Any]) -> None:
    axes.stairs(_numbers(data["counts"]), _numbers(data["edges"]), fill=True, color=SERIES[0], alpha=0.75)
    for i, (name, value) in enumerate(list(data.get("marks", {}).items())[:5]):
        axes.axvline(float(value), color=SERIES[i + 1], linestyle="--", label=_label(name))
    _axes(axes, data)
    if data.get("marks"):
        axes.legend(loc="best", labelcolor=INK)


def _heat(axes: Axes, data: dict[str, Any]) -> None:
    """Numbers on both axes, or the names that `rows` and `columns` give; `centred` ones are white at 0."""
    rows = [_numbers(row) for row in data["values"]]
    most = max((abs(v) for row in rows for v in row if math.isfinite(v)), default=1.0) or 1.0
    look: dict[str, Any] = (
        {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if data.get("centred") else {"cmap": "viridis"}
    )
    drawn = axes.imshow(rows, aspect="auto", interpolation="nearest", **look)
    axes.grid(visible=False)
    axes.figure.colorbar(drawn, ax=axes)
    _axes(axes, {**data, "log": ""})
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    names = [_label(name) for name in data.get("rows", ())][:MOST_ROWS]
    if names:
        axes.set_yticks(range(len(names)), names)
    columns = [_label(name) for name in data.get("columns", ())][:MOST_ROWS]
    if columns:
        slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(columns) > 6 else {}
        axes.set_xticks(range(len(columns)), columns, **slanted)


_KINDS = {"curve": _curve, "scatter": _scatter, "bars": _bars, "histogram": _histogram, "heat": _heat}
