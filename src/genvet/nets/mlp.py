"""MLP generators: linear layers from a latent up to a sample; of our own, or rebuilt from bare weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.modelfile import Part
from genvet.nets.batch_norms import settle
from genvet.nets.candidate import Candidate
from genvet.nets.layer_shapes import LayerShapes, chained, inputs, layer_shapes, orders, outputs, weighty
from genvet.nets.sketch import OPTIONS as OPTIONS
from genvet.nets.sketch import Sketch, image_shape, joined, settled_by, size_in
from genvet.nets.stack import build as stack

LAYERS = 4
"""Of generator and critic, as the stealing paper has them for points of the plane."""


def build(latent: int = 2, width: int = 128, shape: Sequence[int] = (1, 1, 2)) -> Generator:
    """A fresh one of four linear layers with rectifiers, and no last squashing: points lie where they lie."""
    if min(latent, width, *shape) < 1:
        raise BadInput("no such mlp", expected="positive numbers", got=f"{latent=}, {width=}, {shape=}")
    sizes = [latent, *[width] * (LAYERS - 1), math.prod(shape)]
    layers: list[list[Any]] = []
    for i in range(LAYERS):
        layers += [["linear", f"dense{i}", sizes[i : i + 2], 0.0, True], ["relu", "", [], 0.0, True]]
    return stack([*layers[:-1], ["reshape", "", list(shape), 0.0, True]], latent, name="mlp")


def critic(width: int = 128, shape: Sequence[int] = (1, 1, 2)) -> nn.Sequential:
    """Its opponent: samples (n, *shape) -> one logit each, (n, 1)."""
    sizes = [math.prod(shape), *[width] * (LAYERS - 1), 1]
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(LAYERS):
        layers += [nn.Linear(*sizes[i : i + 2]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# Other people's


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """A chain of linear layers and batch norms that widens from a latent to a square image."""
    options = options or {}
    layers = layer_shapes(part)
    if not layers or {g.kind for g in layers} - {"linear", "norm"}:
        return
    for order in orders(layers):
        if not is_generator(order):
            continue
        pixels = outputs(weighty(order)[-1], True)
        shape = _shape(pixels, options)
        if shape is None:
            continue
        sketch = Sketch(tuple(order), shape, **settled_by(options))
        explanation = f"{len(weighty(order))} linear layers up to {pixels} pixels"
        build = partial(_settle, sketch)
        yield Candidate(net="mlp", layout="generic", score=0.9, explanation=explanation, build=build)
        return


def is_generator(order: list[LayerShapes]) -> bool:
    """Whether these linear layers widen from few numbers to many, each fitting the one before."""
    chain = weighty(order)
    return (
        len(chain) > 1
        and order[0].kind == "linear" == order[-1].kind
        and chained(order, transposed=True)
        and joined(order)
        and 2 * inputs(chain[0], True) <= outputs(chain[-1], True)
    )


def _shape(pixels: int, options: Mapping[str, str]) -> tuple[int, int, int] | None:
    size = size_in(options)
    if size is not None:
        whole = size > 0 and pixels % (size * size) == 0
        return (pixels // (size * size), size, size) if whole else None
    shape = image_shape(pixels)
    return (shape[0], shape[1], shape[2]) if shape else None


def _settle(sketch: Sketch, tensors: Mapping[str, Tensor]) -> Generator:
    return settle([(sketch, 0.0)], tensors, "mlp")
