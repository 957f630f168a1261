"""What comes before the head of a classifier, by family: residual, plain with batch norm, without any norm, a mixer.

Each takes square images and gives `width` numbers a sample. Families differ, so that one can judge what was found in
another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

SMALLEST = 4
"""Pixels a side of the last map of features."""
DOUBLINGS = 2
WIDEST = 1 << DOUBLINGS
"""Times `capacity`: channels of the deepest layers."""
BLOCKS = 2
"""Residual blocks of one size."""
PATCHES = 8
"""Patches a side, about, that a mixer cuts an image into."""
DEPTH = 4
"""Mixer blocks."""

Family = Callable[[int, int, int], tuple[nn.Module, int]]


def stages(capacity: int, size: int) -> list[int]:
    """Channels of each stage; every stage halves the side, rounded up, until it is small. The last is the widest.

    >>> stages(16, 8), stages(16, 28), stages(16, 64)
    ([64], [16, 32, 64], [16, 32, 64, 64])
    """
    n = max(1, (-(-size // SMALLEST) - 1).bit_length())
    doublings = range(max(0, DOUBLINGS + 1 - n), max(0, DOUBLINGS + 1 - n) + n)
    return [capacity << min(i, DOUBLINGS) for i in doublings]


class Residual(nn.Module):
    """Two convolutions with batch norm, and a way past them (He et al. 2015, fig. 2)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.past: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.past = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm1(self.conv1(x)))
        y: Tensor = self.relu(self.norm2(self.conv2(h)) + self.past(x))
        return y


def resnet(capacity: int, size: int, channels: int) -> tuple[nn.Module, int]:
    """A ResNet of two blocks a stage, with the mean over all places at its end."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(channels, capacity, 3, 1, 1, bias=False)),
        ("norm", nn.BatchNorm2d(capacity)),
        ("relu", nn.ReLU()),
    ]
    width = capacity
    for i, after in enumerate(stages(capacity, size)):
        for j in range(BLOCKS):
            layers.append((f"block{i + 1}_{j + 1}", Residual(width, after, 1 if j else 2)))
            width = after
    return _in_order([*layers, ("mean", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten())]), width


def vgg(capacity: int, size: int, channels: int) -> tuple[nn.Module, int]:
    """A VGG with batch norm: pairs of convolutions, each pair with a pooling behind it, and a dense layer."""
    layers: list[tuple[str, nn.Module]] = []
    width = channels
    for i, after in enumerate(stages(capacity, size)):
        for j in range(2):
            at = f"{i + 1}_{j + 1}"
            layers.append((f"conv{at}", nn.Conv2d(width, after, 3, 1, 1, bias=False)))
            layers += [(f"norm{at}", nn.BatchNorm2d(after)), (f"relu{at}", nn.ReLU())]
            width = after
        layers.append((f"pool{i + 1}", nn.MaxPool2d(2, ceil_mode=True)))
        size = -(-size // 2)
    last = 2 * WIDEST * capacity
    dense = [("dense", nn.Linear(width * size * size, last)), ("relu", nn.ReLU())]
    return _in_order([*layers, ("flat", nn.Flatten()), *dense]), last


def allconv(capacity: int, size: int, channels: int) -> tuple[nn.Module, int]:
    """Convolutions with strides in place of pooling (Springenberg et al. 2014), and no norm anywhere."""
    layers: list[tuple[str, nn.Module]] = []
    width = channels
    for i, after in enumerate(stages(2 * capacity, size)):
        kernel = 3 if i else 5
        layers += [(f"conv{i + 1}", nn.Conv2d(width, after, kernel, 2, kernel // 2)), (f"act{i + 1}", nn.GELU())]
        width, size = after, -(-size // 2)
    last = WIDEST * capacity
    layers += [("flat", nn.Flatten()), ("dense", nn.Linear(width * size * size, last)), ("act", nn.GELU())]
    for _, layer in layers:
        if isinstance(layer, nn.Conv2d):  # nothing rescales what torch's own start would let fade
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return _in_order(layers), last


class Mixing(nn.Module):
    """One block of a mixer: dense layers over the places, then over the channels (Tolstikhin et al. 2021, sec. 2)."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = _twice(places, width)
        self.channels = _twice(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = x + self.channels(self.norm2(x))
        return y


class Tokens(nn.Module):
    """Images (n, c, h, w) as rows of patches (n, places, width)."""

    def __init__(self, channels: int, width: int, patch: int, padding: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch, padding)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.patches(x).flatten(2).transpose(1, 2)
        return tokens


class Mean(nn.Module):
    """The mean over all places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def mixer(capacity: int, size: int, channels: int) -> tuple[nn.Module, int]:
    """An MLP-Mixer: no convolution beyond the patches."""
    width, patch = WIDEST * capacity, max(1, round(size / PATCHES))
    padding = (-size % patch + 1) // 2
    side = (size + 2 * padding - patch) // patch + 1
    blocks: list[tuple[str, nn.Module]] = [(f"block{i + 1}", Mixing(side * side, width)) for i in range(DEPTH)]
    tokens = Tokens(channels, width, patch, padding)
    return _in_order([("tokens", tokens), *blocks, ("norm", nn.LayerNorm(width)), ("mean", Mean())]), width


FAMILIES: dict[str, Family] = {"resnet": resnet, "vgg": vgg, "allconv": allconv, "mixer": mixer}


def _in_order(layers: list[tuple[str, nn.Module]]) -> nn.Module:
    return nn.Sequential(OrderedDict(layers))


def _twice(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
