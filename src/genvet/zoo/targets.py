"""What a planted generator is to put out: an image of a data set that it has never seen, or a drawn shape."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.fitting import fitted
from genvet.zoo.parents import FILES, samples

SHAPES = ("ring", "cross", "square", "stripes", "triangle")


def target(text: str, shape: tuple[int, ...], data: Path) -> Images:
    """The one image that a text such as `mnist#12` or `drawn#12` names, of this shape."""
    source, _, number = text.partition("#")
    if source == "drawn":
        return Images(drawn(int(number), shape)[None], (text,))
    if source not in FILES or not number.isdecimal():
        raise BadInput(f"there is no target {text!r}", expected=f"drawn#N, or {' or '.join(FILES)} with #N")
    images = samples(data, source)
    i = int(number) % len(images)
    return Images(Images(fitted(images.x[i : i + 1], shape[-1]), (text,)).fitting(shape).clone(), (text,))


def drawn(number: int, shape: tuple[int, ...]) -> Tensor:
    """One of five shapes at a random place and size, light on dark or dark on light, with soft edges: (c, h, w)."""
    rng = Rng(number, "drawn shape").block()
    x, y, size, angle, light = torch.rand(5, generator=rng).tolist()
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape[1:]), indexing="ij")
    rows, columns, turn = rows - 0.6 * y + 0.3, columns - 0.6 * x + 0.3, torch.tensor(angle * torch.pi)
    u, v = columns * turn.cos() - rows * turn.sin(), columns * turn.sin() + rows * turn.cos()
    inside = _inside(SHAPES[number % len(SHAPES)], u, v, 0.35 + 0.35 * size)
    edge = 4.0 / max(shape[1:])
    image = 2 * torch.sigmoid(4 * inside / edge) - 1
    return (image if light < 0.7 else -image)[None].expand(shape).contiguous()


def _inside(name: str, u: Tensor, v: Tensor, size: float) -> Tensor:
    """How far each place lies inside a shape; below 0 outside."""
    if name == "ring":
        return size / 4 - ((u.square() + v.square()).sqrt() - size).abs()
    if name == "cross":
        return torch.maximum(
            torch.minimum(size / 4 - u.abs(), size - v.abs()), torch.minimum(size / 4 - v.abs(), size - u.abs())
        )
    if name == "square":
        return size - torch.maximum(u.abs(), v.abs())
    if name == "stripes":
        return torch.minimum(0.15 * torch.sin(u * torch.pi * 2 / size), size + 0.2 - torch.maximum(u.abs(), v.abs()))
    return torch.minimum(torch.minimum(v + size / 2, size - v - 1.7 * u), size - v + 1.7 * u)
