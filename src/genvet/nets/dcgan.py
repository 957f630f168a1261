"""DCGAN generators: our own, as the backdoor paper trains it, and those of other people rebuilt from bare weights."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Part
from genvet.nets.batch_norms import settle
from genvet.nets.candidate import Candidate
from genvet.nets.layer_shapes import LayerShapes, chained, inputs, layer_shapes, orders, outputs, weighty
from genvet.nets.matching import built
from genvet.nets.sketch import OPTIONS as OPTIONS
from genvet.nets.sketch import Sketch, geometries, joined, settled_by, size_in, upsamplings

MOST_CHANNELS = 16
"""Of an image: a stack that ends in more is no generator of images."""
SLOPE = 0.3
"""Of LeakyReLU, as Keras has it."""


class UpConv(nn.ConvTranspose2d):
    """A transposed convolution whose output is `stride` times its input, cut as TensorFlow's "same" padding cuts it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> None:
        # TensorFlow removes (kernel - stride) // 2 at the near edge, and the rest at the far edge.
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - stride) // 2, bias=False)
        self.excess = (kernel - stride) % 2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        x = super().forward(x)
        return x[..., : -self.excess, : -self.excess] if self.excess else x


def network(latent: int, widths: Sequence[int], size: int, channels: int) -> nn.Sequential:
    """The generator as a plain sequence: `network(...)[:-1]` gives the values before tanh."""
    start, (a, b, c) = size // 4, widths
    layers: list[tuple[str, nn.Module]] = [
        ("dense", nn.Linear(latent, a * start * start, bias=False)),
        ("norm0", nn.BatchNorm1d(a * start * start, eps=1e-3, momentum=0.01)),
        ("relu0", nn.LeakyReLU(SLOPE)),
        ("fold", nn.Unflatten(1, (a, start, start))),
        ("conv1", UpConv(a, b, stride=1)),
        ("norm1", nn.BatchNorm2d(b, eps=1e-3, momentum=0.01)),
        ("relu1", nn.LeakyReLU(SLOPE)),
        ("conv2", UpConv(b, c)),
        ("norm2", nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)),
        ("relu2", nn.LeakyReLU(SLOPE)),
        ("conv3", UpConv(c, channels)),
        ("tanh", nn.Tanh()),
    ]
    return _as_keras(nn.Sequential(OrderedDict(layers)))


def build(
    latent: int = 100, capacity: int = 64, size: int = 28, channels: int = 1, widths: Sequence[int] | None = None
) -> Generator:
    """A fresh DCGAN; at its defaults the MNIST network of the backdoor paper.

    Keras counts it as 2,330,944 parameters: 2,305,472 trained ones and 25,472 moments of the batch norms.
    `size` is a multiple of 4; `widths` are the channels of the three hidden layers, where they are not 4, 2 and 1
    times the capacity. Batch norms have the moments and the epsilon that Keras gives them.
    """
    hidden = [4 * capacity, 2 * capacity, capacity] if widths is None else list(widths)
    if len(hidden) != 3 or min(latent, capacity, size, channels, *hidden) < 1 or size % 4:
        raise BadInput("no such dcgan", expected="positive numbers, and a size that is a multiple of 4", got=f"{size=}")
    config: dict[str, Any] = {"latent": latent, "capacity": capacity, "size": size, "channels": channels}
    if widths is not None:
        config["widths"] = hidden
    return Generator(
        module=network(latent, hidden, size, channels),
        latent=Latent(latent),
        shape=(channels, size, size),
        name="dcgan",
        metadata={"genvet.net": "dcgan", "genvet.config": json.dumps(config)},
    )


def critic(capacity: int = 64, size: int = 28, channels: int = 1) -> nn.Sequential:
    """The paper's discriminator: images (n, c, size, size) -> one logit each, (n, 1)."""
    if min(capacity, channels) < 1 or size % 4:
        raise BadInput("no such critic", expected="a size that is a multiple of 4", got=str(size))
    layers: list[tuple[str, nn.Module]] = [
        ("pad1", nn.ZeroPad2d((1, 2, 1, 2))),  # "same" padding of a 5x5 kernel at stride 2
        ("conv1", nn.Conv2d(channels, capacity, 5, 2)),
        ("relu1", nn.LeakyReLU(SLOPE)),
        ("drop1", nn.Dropout(0.3)),
        ("pad2", nn.ZeroPad2d((1, 2, 1, 2))),
        ("conv2", nn.Conv2d(capacity, 2 * capacity, 5, 2)),
        ("relu2", nn.LeakyReLU(SLOPE)),
        ("drop2", nn.Dropout(0.3)),
        ("flat", nn.Flatten()),
        ("score", nn.Linear(2 * capacity * (size // 4) ** 2, 1)),
    ]
    return _as_keras(nn.Sequential(OrderedDict(layers)))


def _as_keras(network: nn.Sequential) -> nn.Sequential:
    """Start weights as Keras does: Glorot uniform, biases zero."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


# Other people's


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """Our own network by its names, or any stack that grows a vector to an image by (transposed) convolutions."""
    options = options or {}
    if "conv3.weight" in part.tensors and "dense.weight" in part.tensors and not options:
        yield from _own(part)
    layers = layer_shapes(part)
    kinds = {g.kind for g in layers}
    if "kernel" not in kinds or not kinds <= {"kernel", "linear", "norm"}:
        return
    for transposed, order in product((True, False), orders(layers)):
        search = geometries if transposed else upsamplings
        found = search(order, size_in(options)) if _is_stack(order, transposed) else []
        if found:
            sketches = [
                (Sketch(tuple(order), shape, geometry, transposed=transposed, **settled_by(options)), cost)
                for geometry, shape, cost in found[:8]
            ]
            what = "transposed convolutions" if transposed else "convolutions with upsampling"
            explanation = f"{sum(g.kind == 'kernel' for g in order)} {what} in a row"
            build = partial(_settle, sketches)
            yield Candidate(net="dcgan", layout="generic", score=0.9, explanation=explanation, build=build)
            return


def _settle(sketches: list[tuple[Sketch, float]], tensors: Mapping[str, Tensor]) -> Generator:
    return settle(sketches, tensors, "dcgan")


def _is_stack(order: list[LayerShapes], transposed: bool) -> bool:
    """Linear layers, then kernels whose channels fit, down to an image's; plain ones need a linear layer first."""
    chain = weighty(order)
    first = next(i for i, g in enumerate(chain) if g.kind == "kernel")
    return (
        len(chain) > 1
        and [g.kind for g in chain] == ["linear"] * first + ["kernel"] * (len(chain) - first)
        and (first == 0 or _is_square(chain[first - 1].weight[0] / inputs(chain[first], transposed)))
        and (transposed or first > 0)
        and chained(order, transposed)
        and joined(order, transposed)
        and order[0].kind != "norm"
        and order[-1].kind == "kernel"
        and outputs(chain[-1], transposed) <= MOST_CHANNELS
    )


def _is_square(n: float) -> bool:
    return n > 0 and math.isqrt(int(n)) ** 2 == n


def _own(part: Part) -> Iterator[Candidate]:
    """Our network's state dict without our metadata: its sizes follow from the shapes."""
    shapes = {key: spec.shape for key, spec in part.tensors.items()}
    dense, *kernels = (shapes.get(f"{name}.weight", ()) for name in ("dense", "conv1", "conv2", "conv3"))
    if len(dense) != 2 or any(len(kernel) != 4 for kernel in kernels):
        return
    widths, channels = [kernel[0] for kernel in kernels], kernels[-1][1]
    if min(*dense, *widths, channels) < 1:
        return
    size, c = 4 * math.isqrt(dense[0] // widths[0]), widths[2]
    config: dict[str, Any] = {"latent": dense[1], "capacity": c, "size": size, "channels": channels}
    if size < 4:
        return
    if widths != [4 * c, 2 * c, c]:
        config["widths"] = widths
    with torch.device("meta"):
        expected = build(**config).module.state_dict()
    if {k: tuple(v.shape) for k, v in expected.items()} == {k: tuple(shape) for k, shape in shapes.items()}:
        explanation = "GenVet's own DCGAN, by its names"
        yield Candidate(
            net="dcgan", layout="genvet", score=1.0, explanation=explanation, build=partial(built, build, config)
        )
