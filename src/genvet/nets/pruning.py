"""The weights of a generator one by one: what each is worth by several measures, and the network without some."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, GenVetError, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets.build import build
from genvet.nets.style_mapping import Linear, StyleNetwork
from genvet.nets.weights import fresh, latents, with_module

Criterion = Literal["magnitude", "effective", "normalised", "movement", "activation", "random"]
Region = Literal["all", "mapping", "synthesis"]
Values = dict[str, Tensor]
"""A tensor for each weight tensor, by its name and of its shape."""
WAVES = "Waves"
"""StyleGAN3's first layer, by its class."""
SURE = 8.0
"""Standard errors beyond which two networks' weights are no strangers."""


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight tensor of a linear layer or a convolution."""

    name: str
    raw: Tensor
    """As the network holds it, times its layer's learning-rate multiplier: where the learning rate is equalised, a
    standard normal before training."""
    scale: float
    """Raw times this is what the layer multiplies with; of a demodulated layer, which takes any scale out again, He's
    constant."""
    transposed: bool
    """Whether inputs come before outputs."""

    def rows(self, values: Tensor) -> Tensor:
        """Values of this shape with outputs first, then inputs: (outputs, inputs, kernel)."""
        ordered = values.transpose(0, 1) if self.transposed else values
        return ordered.flatten(2) if ordered.ndim > 2 else ordered[:, :, None]

    def back(self, rows: Tensor) -> Tensor:
        """The same the other way round: rows (outputs, inputs, kernel) in the tensor's own shape."""
        ordered = rows.transpose(0, 1) if self.transposed else rows
        return ordered.reshape(self.raw.shape)


def weights(generator: Generator, region: Region = "all") -> dict[str, Weight]:
    """Every weight tensor of two axes or more by its name; raises Unsupported where the network shows none."""
    found = {
        f"{name}.weight".removeprefix("."): layer
        for name, layer in generator.layers().items()
        if isinstance(getattr(layer, "weight", None), nn.Parameter) and layer.weight.ndim > 1  # type: ignore[operator]
    }
    if region != "all":
        if not isinstance(generator.module, StyleNetwork):
            raise Unsupported(f"a {generator.name} has no {region} of its own", hint="take --layers all")
        found = {name: layer for name, layer in found.items() if name.startswith(f"{region}.")}
    if not found:
        raise Unsupported("no linear layer and no convolution was found to prune")
    return {name: _weight(name, layer) for name, layer in found.items()}


def _weight(name: str, layer: nn.Module) -> Weight:
    value: Tensor = layer.weight.detach()  # type: ignore[operator]
    if isinstance(layer, Linear):
        return Weight(name, value * layer.rate, layer.scale / layer.rate, transposed=False)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
    plain = isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    return Weight(name, value, 1.0 if plain else 1 / math.sqrt(value[0].numel()), transposed)


def equalised(known: Mapping[str, Weight]) -> bool:
    """Whether layers scale their weights at run time, so that raw ones began as standard normals."""
    return any(w.scale != 1.0 for w in known.values())


def worth(
    criterion: Criterion, generator: Generator, known: Mapping[str, Weight], rng: Rng, began: Generator | None = None
) -> Values:
    """What each weight is worth keeping: the least goes first.

    magnitude: |raw|, as the founding paper; effective: times its run-time scale; normalised: over the norm of its
    filter, which demodulation takes out; movement: its distance from where training began, over that of its whole
    tensor, for layers learn at different rates; activation: times the size of its input, as a share of its output
    (Wanda, Sun et al. 2024); random: a draw.
    """
    if criterion == "random":
        drawn = (torch.rand(w.raw.shape, generator=rng.block(i)) for i, w in enumerate(known.values()))
        return dict(zip(known, drawn, strict=True))
    if criterion == "movement":
        if began is None:
            raise Unsupported("where this training began is not known", hint="give the network before it: --began")
        start = weights(began)
        moved = {name: (w.raw - start[name].raw.to(w.raw)).abs() for name, w in known.items()}
        return {name: m / m.square().mean().sqrt().clamp_min(1e-30) for name, m in moved.items()}
    if criterion == "activation":
        size = excited(generator, rng)
        idle = torch.zeros(())  # what never ran, such as image layers of smaller sizes, is worth nothing
        return {
            name: _normed(w, w.raw.abs() * _spread(w, size.get(name, idle.expand(w.rows(w.raw).shape[1]))))
            for name, w in known.items()
        }
    if criterion == "effective" and not equalised(known):
        raise Unsupported("this network uses its weights as they are: it is magnitude once more")
    if criterion == "normalised":
        return {name: _normed(w, w.raw.abs()) for name, w in known.items()}
    return {name: w.raw.abs() * (w.scale if criterion == "effective" else 1.0) for name, w in known.items()}


def _spread(weight: Weight, size: Tensor) -> Tensor:
    """A number for each input, on every weight that reads it."""
    return weight.back(size.to(weight.raw)[None, :, None].expand_as(weight.rows(weight.raw)))


def _normed(weight: Weight, values: Tensor) -> Tensor:
    """Over the root mean square of each output's values."""
    rows = weight.rows(values)
    return weight.back(rows / rows.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12))


def least(values: Values, share: float) -> Values:
    """Masks, 1 for what is kept, that take about this share of all weights away: the least of all of them together."""
    count = round(share * sum(v.numel() for v in values.values()))
    if count == 0:
        return {name: torch.ones_like(v) for name, v in values.items()}
    edge = torch.cat([v.flatten() for v in values.values()]).kthvalue(count).values
    return {name: (v > edge).to(v.dtype) for name, v in values.items()}


def below(known: Mapping[str, Weight], threshold: float) -> Values:
    """The founding paper's masks: 1 where a raw weight is at least this far from 0."""
    return {name: (w.raw.abs() >= threshold).to(w.raw.dtype) for name, w in known.items()}


def sparsity(masks: Values) -> float:
    """The share of the weights that these masks take away."""
    return 1 - sum(float(m.sum(dtype=torch.float64)) for m in masks.values()) / sum(m.numel() for m in masks.values())


@torch.no_grad()
def without(generator: Generator, masks: Values) -> Generator:
    """The generator with every masked weight at 0; the one that is handed in stays as it is."""
    module = copy.deepcopy(generator.module)
    for name, mask in masks.items():
        module.get_parameter(name).mul_(mask.to(generator.device))
    return with_module(generator, module)


@torch.no_grad()
def excited(generator: Generator, rng: Rng, n: int = 128) -> Values:
    """The root mean square of what each weight tensor is multiplied with, (inputs,), over ordinary latents."""
    total: Values = {}
    rows: dict[str, int] = {}
    with _heard(generator.module, total, rows):
        for some in latents(generator, n, rng, batch=32):
            generator.module(*some)
    made = {name: (total[name] / rows[name]).sqrt().float() for name in total}
    waves = [n for n, m in generator.module.named_modules() if type(m).__name__ == WAVES]
    return made | {f"{n}.weight": torch.ones(len(generator.module.get_parameter(f"{n}.weight"))) for n in waves}


@contextmanager
def _heard(module: nn.Module, total: Values, rows: dict[str, int]) -> Iterator[None]:
    """While this lasts, sums of squares of every layer's inputs are collected, styles included."""

    def listen(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].detach().double()
            if len(args) > 1 and hasattr(layer, "affine"):  # a style scales the inputs of its layer
                x = x * layer.affine(args[1]).double()[:, :, None, None]  # type: ignore[operator]
            axes = [i for i in range(x.ndim) if i != (1 if x.ndim > 2 else x.ndim - 1)]
            total[name] = total.get(name, torch.zeros(())) + x.square().sum(axes).cpu()
            rows[name] = rows.get(name, 0) + x.numel() // x.shape[1 if x.ndim > 2 else -1]

        return hook

    named = [(f"{n}.weight".removeprefix("."), m) for n, m in module.named_modules()]
    fitting = [(n, m) for n, m in named if isinstance(getattr(m, "weight", None), nn.Parameter) and _takes_maps(m)]
    hooks = [m.register_forward_pre_hook(listen(n)) for n, m in fitting]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _takes_maps(layer: nn.Module) -> bool:
    """Whether its weight has an axis for its inputs: norms have none, and StyleGAN3's waves make their own."""
    weight: Any = layer.weight
    return bool(weight.ndim > 1) and type(layer).__name__ != WAVES


# The network before training


def untrained(generator: Generator, rng: Rng) -> Generator:
    """The same architecture with weights that were never trained; raises Unsupported where it has none of its own."""
    if {"genvet.net", "genvet.config"} <= generator.metadata.keys():
        try:
            with rng.seeded():
                made = build(
                    str(generator.metadata["genvet.net"]), json.loads(str(generator.metadata["genvet.config"]))
                )
            return with_module(made, made.module)
        except GenVetError:
            pass  # a network that is only rebuilt from files: its layers may still know how they begin
    return with_module(generator, fresh(copy.deepcopy(generator.module), rng))


def began(generator: Generator) -> Generator | None:
    """The network that its training began with, by the seed in its record; None where that cannot be told."""
    try:
        seed = json.loads(str(generator.metadata["genvet.training"]))["seed"]
        start = untrained(generator, Rng(int(seed)).fork("weights"))
        return start if kinship(generator, start)[1] else None
    except (KeyError, TypeError, ValueError, RecursionError, GenVetError):
        return None


def kinship(generator: Generator, start: Generator) -> tuple[float, bool]:
    """The correlation of the weights with those of another network, and whether chance cannot have made it.

    Raises BadInput where the two are of different architectures.
    """
    now, then = weights(generator), weights(start)
    if {name: w.raw.shape for name, w in now.items()} != {name: w.raw.shape for name, w in then.items()}:
        expected = f"a {generator.name} with the same weights"
        raise BadInput("this is not the network before training", expected=expected, got=f"another {start.name}")
    # Each tensor for itself: means and scales that differ from layer to layer would correlate by themselves.
    ours, theirs = (torch.cat([_whitened(w) for w in some.values()]) for some in (now, then))
    r = float((ours * theirs).mean())
    return r, r > SURE / math.sqrt(len(ours))


def _whitened(weight: Weight) -> Tensor:
    values = weight.raw.flatten().double().cpu()
    return (values - values.mean()) / values.std(correction=0).clamp_min(1e-12)
