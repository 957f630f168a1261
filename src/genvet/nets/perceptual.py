"""Distances as people see them: differences of a convolutional network's features, weighted channel by channel.

It is LPIPS (Zhang et al. 2018) with the weights of its authors, and is called so with these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the colours of images in [-1, 1], before the network sees them."""


@dataclass(frozen=True, eq=False)
class Perceptual:
    """Layers of a network, the features that are taken of them, and the weight of each of their channels."""

    layers: nn.ModuleList
    taken: tuple[int, ...]
    """The layers whose outputs are compared."""
    weights: tuple[Tensor, ...]
    """(channels,) for each, none below 0."""
    name: str

    @property
    def module(self) -> nn.Module:
        """All that lies on a device."""
        return self.layers

    def fitting(self, shape: tuple[int, ...]) -> Perceptual:
        """This distance, where it takes pictures of this shape; raises Unsupported otherwise."""
        least = smallest(self.layers)
        if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) < least:
            what = f"this network compares pictures of {least} pixels a side and more, not samples {tuple(shape)}"
            raise Unsupported(what, hint="a network with smaller strides does")
        return self

    @torch.inference_mode()
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """From each of the images x (n, c, h, w) in [-1, 1] to its own of t: (n,)."""
        return self.fan(x, t[:, None])[:, 0]

    @torch.inference_mode()
    def fan(self, x: Tensor, t: Tensor) -> Tensor:
        """From each of the images x (n, c, h, w) to each of its own k of t (n, k, c, h, w): (n, k)."""
        n, k = t.shape[:2]
        total = torch.zeros(n, k)
        on = next(self.layers.parameters()).device
        pairs = zip(self._features(x.to(on)), self._features(t.flatten(0, 1).to(on)), self.weights, strict=True)
        for own, other, weight in pairs:
            apart = (own[:, None] - other.unflatten(0, (n, k))).square().mean((3, 4))
            total += (apart @ weight.to(on)).cpu()
        return total

    def _features(self, x: Tensor) -> Sequence[Tensor]:
        """Of each layer that is compared, with channels of length 1 at each place."""
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        shift, scale = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
        x, found = (x - shift) / scale, []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.taken:
                found.append(x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt())
        return found


def build(shapes: Sequence[tuple[int, int, int]], pooled: Sequence[int], first: tuple[int, int]) -> nn.ModuleList:
    """Convolutions of (inputs, outputs, kernel), each with a ReLU behind it; a pooling before those in `pooled`.

    `first` is stride and padding of the first; all others keep the size.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs, kernel) in enumerate(shapes):
        if i in pooled:
            layers.append(nn.MaxPool2d(3 if first[0] > 1 else 2, 2))
        stride, padding = first if i == 0 else (1, kernel // 2)
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
    return nn.ModuleList(layers)


def smallest(layers: nn.ModuleList) -> int:
    """Pixels a side that it takes at least, so that nothing is pooled away."""
    for side in range(1, 513):
        size = side
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                size = (size + 2 * int(layer.padding[0]) - int(layer.kernel_size[0])) // int(layer.stride[0]) + 1
            elif isinstance(layer, nn.MaxPool2d):
                size = (size - int(layer.kernel_size)) // int(layer.stride) + 1
            if size < 1:
                break
        else:
            return side
    return 513
