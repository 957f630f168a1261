"""Where a generator can be edited: z, w, w+ (a w for each layer) or s (every channel of every layer's style).

A point of each space is a flat vector, and points come as (n, dim), so that an edit is one line in any of them:

    here = space(generator, "s", layers="b8.conv0")
    at = here.points(z)                              # (n, here.dim)
    x = here.images(at + 3 * here.axis(12))          # channel 12 of that layer, and nothing else, moved by 3

`layers` narrows what an axis moves: in w+ to the w of these layers ("2-5"), in s to the channels of these layers.
The other numbers of a point stay what they are. Moving w+ at all layers is moving w.

Images of s come by hooks on the layers' affine maps, which are taken off again before the call returns: no two calls at
once on one generator from several threads.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.printable import printable
from genvet.nets.style_mapping import Linear

Name = Literal["z", "w", "w+", "s"]
NAMES: tuple[Name, ...] = ("z", "w", "w+", "s")


def space(generator: Generator, name: str, layers: str = "") -> Space:
    """The space of this name; raises Unsupported or BadInput where the generator has none, or no such layers.

    `layers` is a list with commas: numbers and ranges of w in w+ ("0,2-5"), names in s ("b4.conv1,b8.conv0"); all of
    them where it is empty.
    """
    if name not in NAMES:
        raise BadInput(f"there is no space {name!r}", expected=", ".join(NAMES))
    if name in ("z", "w") and layers:
        raise BadInput(f"{name} has no layers", hint="w+ and s do")
    if name == "z":
        return Z(generator)
    style = styled(generator)
    if name == "w":
        return W(style)
    return WPlus(style, layers) if name == "w+" else S(style, layers)


def styled(generator: Generator) -> StyleGenerator:
    """The generator, where it has a w; raises Unsupported otherwise, or where no image comes out twice."""
    if not isinstance(generator, StyleGenerator):
        hint = "its z can be edited" if len(generator.shape) == 3 else ""
        raise Unsupported("this is no style generator: it has neither w nor styles", hint=hint)
    if getattr(generator.module.synthesis, "noise", "") == "random":
        hint = f"--net {generator.name}:noise=const takes the noise that is stored with the weights"
        raise Unsupported("with new noise for every image, no two images can be compared", hint=hint)
    return generator


class Space(ABC):
    """Points (n, dim), the images that they are, and axes to move them along."""

    name: Name
    generator: Generator
    dim: int
    """Numbers in a point."""
    axes: int
    """Directions that have a number: 0 to axes - 1."""

    @abstractmethod
    def points(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The points (n, dim) of latents (n, z_dim)."""

    @abstractmethod
    def images(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """What they look like, (n, c, h, w); the labels are those that the points were made with."""

    @abstractmethod
    def _moved(self, axis: int) -> Sequence[int]:
        """Which numbers of a point an axis moves, all by the same."""

    @abstractmethod
    def called(self, axis: int) -> str:
        """An axis in words, such as z[3], w[3], w2-5[3] or b8.conv0[3]."""

    def axis(self, number: int) -> Tensor:
        """The direction (dim,) of this number; raises BadInput where there is none."""
        direction = torch.zeros(self.dim, device=self.generator.device)
        direction[list(self._moved(self._known(number)))] = 1.0
        return direction

    def directions(self, weights: Tensor) -> Tensor:
        """Several axes at once: (n, axes) -> (n, dim). A direction of w so becomes one of w+, in the chosen layers."""
        moves = torch.tensor([self._moved(axis) for axis in range(self.axes)], device=weights.device)
        directions = weights.new_zeros(len(weights), self.dim)
        directions[:, moves.flatten()] = weights.repeat_interleave(moves.shape[1], dim=1)
        return directions

    def weights(self, directions: Tensor) -> Tensor:
        """What the axes have of directions (n, dim), summed over all that an axis moves: (n, axes)."""
        moves = torch.tensor([self._moved(axis) for axis in range(self.axes)], device=directions.device)
        return directions[:, moves].sum(2)

    def _known(self, number: int) -> int:
        if 0 <= number < self.axes:
            return number
        where = f"{self.name}, whose dimensions are 0 to {self.axes - 1}"
        raise BadInput(f"there is no dimension {number} of {where}", got=str(number))

    @torch.inference_mode()
    def drawn(self, z: Tensor, labels: Tensor | None = None, batch: int = 256) -> Tensor:
        """The points of latents on the CPU, some at a time, back on the CPU: (n, dim)."""
        parts = zip(z.split(batch), _split(labels, batch, len(z)), strict=True)
        return torch.cat([self.points(some.to(self.generator.device), told).float().cpu() for some, told in parts])

    @torch.inference_mode()
    def rendered(self, points: Tensor, labels: Tensor | None = None, batch: int = 32) -> Tensor:
        """The images of points on the CPU, some at a time, back on the CPU: (n, c, h, w)."""
        parts = zip(points.split(batch), _split(labels, batch, len(points)), strict=True)
        return torch.cat([self.images(some.to(self.generator.device), told).float().cpu() for some, told in parts])


def _split(labels: Tensor | None, batch: int, n: int) -> Sequence[Tensor | None]:
    return labels.split(batch) if labels is not None else [None] * -(-n // batch)


class Z(Space):
    """The latent itself, of any generator of images. A style generator normalises it: c z is the same input as z."""

    name: Name = "z"

    def __init__(self, generator: Generator) -> None:
        if len(generator.shape) != 3:
            raise Unsupported("this generator makes no images", hint="sounds have no such factors")
        self.generator = generator
        self.dim = self.axes = generator.latent.dim

    def points(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z

    def images(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator(points, labels)

    def _moved(self, axis: int) -> Sequence[int]:
        return (axis,)

    def called(self, axis: int) -> str:
        return f"z[{axis}]"


class W(Space):
    """What the mapping makes of z: one vector, which every layer reads."""

    name: Name = "w"

    def __init__(self, generator: StyleGenerator) -> None:
        self.generator: StyleGenerator = generator
        self.dim = self.axes = generator.w_dim

    def points(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator.mapping(z, labels)

    def images(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator.synthesis(self.generator.broadcast(points))

    def _moved(self, axis: int) -> Sequence[int]:
        return (axis,)

    def called(self, axis: int) -> str:
        return f"w[{axis}]"


class WPlus(Space):
    """A w for each layer, one after the other; an axis moves the same number of w in all chosen layers."""

    name: Name = "w+"

    def __init__(self, generator: StyleGenerator, layers: str = "") -> None:
        self.generator: StyleGenerator = generator
        self.dim, self.axes = generator.num_ws * generator.w_dim, generator.w_dim
        self.layers = numbers(layers, generator.num_ws, "layer") if layers else tuple(range(generator.num_ws))
        self._chosen = layers.replace(" ", "")

    def points(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator.broadcast(self.generator.mapping(z, labels)).flatten(1)

    def images(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator.synthesis(points.view(len(points), self.generator.num_ws, -1))

    def _moved(self, axis: int) -> Sequence[int]:
        return [layer * self.axes + axis for layer in self.layers]

    def called(self, axis: int) -> str:
        return f"w{self._chosen or '+'}[{axis}]"


@dataclass(frozen=True, eq=False)
class StyleLayer:
    """One affine map from w to a layer's style, and which numbers of a point of s are its own."""

    name: str
    """Of the layer, such as b8.conv0."""
    affine: Linear
    start: int
    reads: int
    """Which w it reads."""

    @property
    def width(self) -> int:
        return len(self.affine.bias)

    @property
    def stop(self) -> int:
        return self.start + self.width


class S(Space):
    """The style space: what the layers' affine maps make of w, in the order in which the layers run.

    StyleGAN 2 and 3 have a channel for each feature map that a layer reads; StyleGAN 1 has one for each that it gives,
    and then one more for each: the scale (over 1), and the shift.
    """

    name: Name = "s"

    def __init__(self, generator: StyleGenerator, layers: str = "") -> None:
        self.generator: StyleGenerator = generator
        self.all = style_layers(generator)
        self.dim = self.all[-1].stop
        self.layers = _chosen(self.all, layers) if layers else self.all
        self.axes = sum(layer.width for layer in self.layers)
        self._starts = (0, *accumulate(layer.width for layer in self.layers))

    def points(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.styles(self.generator.broadcast(self.generator.mapping(z, labels)))

    def styles(self, ws: Tensor) -> Tensor:
        """The styles (n, dim) of (n, num_ws, w_dim)."""
        return torch.cat([layer.affine(ws[:, layer.reads].float()) for layer in self.all], dim=1)

    def images(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        ws = points.new_zeros(len(points), self.generator.num_ws, self.generator.w_dim)
        with _answering(self.all, lambda layer: points[:, layer.start : layer.stop]):
            return self.generator.synthesis(ws)

    def place(self, axis: int) -> tuple[StyleLayer, int]:
        """The layer and the channel in it."""
        at = next(i for i, stop in enumerate(self._starts[1:]) if self._known(axis) < stop)
        return self.layers[at], axis - self._starts[at]

    def _moved(self, axis: int) -> Sequence[int]:
        layer, channel = self.place(axis)
        return (layer.start + channel,)

    def called(self, axis: int) -> str:
        layer, channel = self.place(axis)
        return f"{layer.name}[{channel}]"


@torch.no_grad()
def style_layers(generator: StyleGenerator) -> tuple[StyleLayer, ...]:
    """The affine maps that one image asks, in their order; what was there to grow, and is not run, is left out."""
    synthesis: nn.Module = generator.module.synthesis  # type: ignore[assignment]
    names = {
        module: name.rpartition(".")[0] for name, module in synthesis.named_modules() if isinstance(module, Linear)
    }
    seen: list[tuple[Linear, int]] = []
    hooks = [m.register_forward_pre_hook(lambda m, inputs: seen.append((m, int(inputs[0][0, 0])))) for m in names]
    numbered = torch.arange(generator.num_ws, dtype=torch.float32, device=generator.device)
    try:
        synthesis(numbered[None, :, None].expand(1, -1, generator.w_dim))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise Unsupported("the layers of this generator have no styles")
    starts = (0, *accumulate(len(affine.bias) for affine, _ in seen))
    return tuple(StyleLayer(names[m], m, start, w) for (m, w), start in zip(seen, starts, strict=False))


@contextmanager
def _answering(layers: Sequence[StyleLayer], answer: Callable[[StyleLayer], Tensor]) -> Iterator[None]:
    """Let the affine maps answer something else for a while."""

    def hook(layer: StyleLayer) -> Callable[[nn.Module, Any, Any], Tensor]:
        return lambda _module, _inputs, _output: answer(layer)

    hooks = [layer.affine.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _chosen(layers: Sequence[StyleLayer], names: str) -> tuple[StyleLayer, ...]:
    known = {layer.name: layer for layer in layers}
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise BadInput(f"no layer is called {printable(name, 60)!r}", expected=", ".join(known), hint=hint)
    return tuple(layer for layer in layers if layer.name in asked)


def numbers(text: str, count: int, what: str = "dimension") -> tuple[int, ...]:
    """Numbers and ranges, in the order in which they are named, each once; raises BadInput for more than `count` has.

    >>> numbers("0-2,7,1", 8)
    (0, 1, 2, 7)
    """
    found: dict[int, None] = {}
    for word in text.replace(" ", "").split(","):
        matched = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word)
        if not matched:
            raise BadInput(
                f"this names no {what}", expected="numbers and ranges, such as 0-15,70", got=printable(text, 60)
            )
        first, last = int(matched[1]), int(matched[2] or matched[1])
        if last >= count or last < first:
            raise BadInput(f"there is no {what} {word}", expected=f"0 to {count - 1}", got=word)
        found |= dict.fromkeys(range(first, last + 1))
    return tuple(found)


def mean_w(generator: StyleGenerator) -> Tensor:
    """The mean of w (w_dim,): what the weights hold of it; measured, where they hold nothing."""
    kept: Tensor = generator.module.mapping.w_avg  # type: ignore[assignment, union-attr]
    if bool(kept.any()):
        return kept
    measured: Tensor = generator.module.mapping.average(generator.latent)  # type: ignore[operator, union-attr]
    return measured
