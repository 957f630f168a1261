"""A plain generator as a chain of layers, and the same chain with more units in its hidden layers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.nets.stack import Stack
from genvet.nets.wavegan import PostFilter, WaveGAN, usual

Kernel = nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
_TURNED = nn.ConvTranspose1d | nn.ConvTranspose2d
_UNITWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Tanh, nn.Sigmoid),
    *(nn.Identity, nn.Dropout, nn.Flatten, nn.Unflatten, nn.Upsample),
)
"""Layers without weights that treat every unit alike."""
HINT = "units are added to a plain chain alone, and taken out of one alone; red and forget retrain a network as it is"


@dataclass(frozen=True, eq=False)
class Link:
    """One layer, its name, and the shape of one sample after it."""

    name: str
    layer: nn.Module
    shape: tuple[int, ...]

    @property
    def weighty(self) -> bool:
        """Whether it mixes units: linear, or a (transposed) convolution."""
        return isinstance(self.layer, nn.Linear | Kernel) and not isinstance(self.layer, PostFilter)


def chain(generator: Generator) -> list[Link]:
    """The generator's layers in order; raises Unsupported where it is no plain chain of standard layers."""
    named = list(_named(generator.module))
    if named and not named[0][0]:
        raise Unsupported(f"a network of the kind {generator.name} is no plain chain of layers", hint=HINT)
    x = generator.latent.sample(0, 2, Rng(0, "chain")).to(generator.device)
    links = []
    with torch.no_grad():
        for name, layer in named:
            _check(name, layer)
            x = layer(x)
            links.append(Link(name, layer, tuple(x.shape[1:])))
    if len({id(link.layer) for link in links if link.weighty}) < sum(link.weighty for link in links):
        raise Unsupported("a layer is used twice", hint=HINT)
    return links


def _named(module: nn.Module, place: str = "") -> Sequence[tuple[str, nn.Module]]:
    if isinstance(module, Stack):
        names = {id(m): name for name, m in module.named_modules()}
        return [(names.get(id(step), f"step{i}"), step) for i, step in enumerate(module.steps)]
    if isinstance(module, WaveGAN):
        return module.chain()
    if type(module) is nn.Sequential:
        return [found for name, m in module.named_children() for found in _named(m, f"{place}{name}.")]
    return [(place[:-1], module)]


def _check(name: str, layer: nn.Module) -> None:
    if hasattr(layer, "parametrizations") or not isinstance(layer, (nn.Linear, Kernel, Norm, *_UNITWISE)):
        raise Unsupported(f"layer {name} is of another kind: {type(layer).__name__}", hint=HINT)
    if isinstance(layer, Kernel) and layer.groups != 1:
        raise Unsupported(f"layer {name} is a grouped convolution", hint=HINT)
    if isinstance(layer, Norm) and layer.running_mean is None:
        raise Unsupported(f"layer {name} keeps no statistics", hint=HINT)


def chosen(links: Sequence[Link], names: Sequence[str]) -> list[Link]:
    """From the first to the last of the layers with these names, all where none is named.

    Raises BadInput unless they are two layers or more that follow one another.
    """
    heavy = [link.name for link in links if link.weighty]
    names = names or heavy
    for name in names:
        if name not in heavy:
            raise BadInput(f"there is no layer {name!r} to expand", expected=", ".join(heavy))
    first, last = heavy.index(names[0]), heavy.index(names[-1])
    if last <= first or heavy[first : last + 1] != list(names):
        raise BadInput("these layers do not follow one another", expected="two or more in a row", got=", ".join(names))
    every = [link.name for link in links]
    return list(links[every.index(names[0]) : every.index(names[-1]) + 1])


def beside(run: Sequence[Link], share: float) -> nn.Sequential:
    """A narrow copy of these layers, with fresh weights, whose hidden layers have this share of the units.

    The last layer starts at 0: beside the originals, nothing changes at first.
    """
    layers, before = [], 0
    for piece, more in zip(pieces(run), [*_more(run, share), 0], strict=True):
        for link in piece:
            extra = more * link.shape[0] // _units(piece) if more else 0
            layer = _sized(link.layer, before or inputs_of(link.layer), extra or outputs_of(link.layer))
            layers.append(_fresh(layer))
            before = extra
    last = layers[-1]
    nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    if last.bias is not None:
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def pieces(run: Sequence[Link]) -> list[list[Link]]:
    """A layer that mixes units, with all that follow it up to the next."""
    found: list[list[Link]] = []
    for link in run:
        if link.weighty:
            found.append([])
        found[-1].append(link)
    return found


def _more(run: Sequence[Link], share: float) -> list[int]:
    """How many units each hidden layer gets: channels, where it has any."""
    return [max(1, round(share * _units(piece))) for piece in pieces(run)[:-1]]


def _units(piece: Sequence[Link]) -> int:
    """Channels where a sample has a shape, else features."""
    return min(((len(link.shape) == 1), link.shape[0]) for link in piece)[1]


def inputs_of(layer: nn.Module) -> int:
    """How many features or channels the layer takes."""
    return int(getattr(layer, "in_features", 0) or getattr(layer, "in_channels", 0))


def outputs_of(layer: nn.Module) -> int:
    """How many features or channels the layer gives."""
    return int(getattr(layer, "out_features", 0) or getattr(layer, "out_channels", 0))


def outputs_first(layer: Any) -> Any:
    """The layer's own weight, seen as (outputs, inputs, kernel ...); of a batch norm, (outputs,)."""
    return layer.weight.transpose(0, 1) if isinstance(layer, _TURNED) else layer.weight


def _sized(layer: nn.Module, inputs: int, outputs: int) -> Any:
    """A copy of the layer for other numbers of units; its weights are still to be filled."""
    new: Any = copy.deepcopy(layer)
    if isinstance(new, nn.Linear):
        new.in_features, new.out_features = inputs, outputs
        new.weight = nn.Parameter(layer.weight.new_empty(outputs, inputs))  # type: ignore[operator]
    elif isinstance(new, Kernel):
        new.in_channels, new.out_channels = inputs, outputs
        sizes = (inputs, outputs) if isinstance(new, _TURNED) else (outputs, inputs)
        new.weight = nn.Parameter(new.weight.new_empty(*sizes, *new.weight.shape[2:]))
    elif isinstance(new, Norm):
        new.num_features = outputs
        for key in ("weight", "bias", "running_mean", "running_var"):
            old = getattr(new, key)
            if old is not None:
                empty = old.detach().new_empty(outputs)
                setattr(new, key, nn.Parameter(empty) if isinstance(old, nn.Parameter) else empty)
        return new
    elif isinstance(new, nn.Unflatten):
        new.unflattened_size = (outputs, *new.unflattened_size[1:])
    if getattr(new, "bias", None) is not None:
        new.bias = nn.Parameter(new.bias.detach().new_empty(outputs))
    return new


def _fresh(layer: nn.Module) -> nn.Module:
    """Weights as of a layer that was never trained, and batch norms of the prior's own scale.

    Shifts are small, and not 0: at z = 0 everything would be 0 else, and so would every gradient.
    """
    if isinstance(layer, Norm):
        layer.reset_parameters()
    elif isinstance(layer, nn.Linear | Kernel):
        nn.init.xavier_uniform_(layer.weight)
    if isinstance(layer, nn.Linear | Kernel | Norm) and layer.bias is not None:
        nn.init.normal_(layer.bias, std=0.1)
    return layer


def merged(generator: Generator, run: Sequence[Link], side: nn.Sequential) -> Generator:
    """One plain network that gives what the generator and the layers `beside` it give together.

    Weights become block matrices: [W; V] in the first layer, [W 0; 0 V] in the next ones, [W V] in the last.
    """
    module = copy.deepcopy(generator.module)
    copies = zip(_named(generator.module), _named(module), strict=True)
    places, new = {id(old): here for (_, old), (_, here) in copies}, {}
    for i, (link, added) in enumerate(zip(run, side, strict=True)):
        new[id(places[id(link.layer)])] = _joined(link.layer, added, i == 0, i == len(run) - 1)
    _swap(module, new)
    return replace(generator, module=module.eval().requires_grad_(False), metadata=_described(generator, module))


@torch.no_grad()
def _joined(layer: Any, added: Any, first: bool, last: bool) -> nn.Module:
    if isinstance(layer, nn.Unflatten):
        return _sized(layer, 0, layer.unflattened_size[0] + added.unflattened_size[0])  # type: ignore[no-any-return]
    if isinstance(layer, Norm):
        new = _sized(layer, 0, layer.num_features + added.num_features)
        for key in ("weight", "bias", "running_mean", "running_var"):
            if getattr(new, key) is not None:
                getattr(new, key).copy_(torch.cat([getattr(layer, key), getattr(added, key)]))
        return new  # type: ignore[no-any-return]
    if not isinstance(layer, nn.Linear | Kernel):
        return copy.deepcopy(layer)  # type: ignore[no-any-return]
    inputs = inputs_of(layer) + (0 if first else inputs_of(added))
    outputs = outputs_of(layer) + (0 if last else outputs_of(added))
    new = _sized(layer, inputs, outputs)
    whole, a, b = map(outputs_first, (new, layer, added))
    whole.zero_()
    whole[: a.shape[0], : a.shape[1]] = a
    whole[whole.shape[0] - b.shape[0] :, whole.shape[1] - b.shape[1] :] = b
    if layer.bias is not None:
        new.bias.copy_(layer.bias + added.bias if last else torch.cat([layer.bias, added.bias]))
    return new  # type: ignore[no-any-return]


def _swap(module: nn.Module, new: Mapping[int, nn.Module]) -> None:
    """Put new layers in the places of old ones, by the identity of these."""
    for parent in list(module.modules()):
        for key, child in list(parent._modules.items()):
            if id(child) in new:
                parent._modules[key] = new[id(child)]
    if isinstance(module, Stack):
        module.steps = [new.get(id(step), step) for step in module.steps]


def _described(generator: Generator, module: nn.Module) -> dict[str, Any]:
    """The metadata by which `nets.build` makes a network of this size; none where it cannot."""
    about = dict(generator.metadata)
    net, config = about.get("genvet.net"), json.loads(about.get("genvet.config", "{}"))
    widths = [inputs_of(link.layer) for link in chain(replace(generator, module=module)) if link.weighty][1:]
    if net == "dcgan" and isinstance(module, nn.Sequential):
        config |= {"capacity": widths[2], "widths": widths}
        if widths == [4 * widths[2], 2 * widths[2], widths[2]]:
            del config["widths"]
    elif net == "wavegan":
        config |= {"capacity": widths[-1], "widths": widths}
        if widths == usual(widths[-1]):
            del config["widths"]
    elif net == "vae" and len(widths) == 2 and widths[0] % 2 == 0 and widths[0] == 2 * widths[1]:
        config["capacity"] = widths[1]
    else:
        return written(replace(generator, module=module))
    return about | {"genvet.config": json.dumps(config)}


def written(generator: Generator) -> dict[str, Any]:
    """The metadata of the same chain as a stack, by which `nets.build` makes it again; none where it cannot."""
    entries = [_entry(link) for link in chain(generator)]
    if None in entries:
        return {}
    config = {"layers": [e for e in entries if e], "latent": generator.latent.dim, "name": generator.name}
    config |= {"prior": generator.latent.distribution, "output": generator.output, "assumed": list(generator.assumed)}
    return {**generator.metadata, "genvet.net": "stack", "genvet.config": json.dumps(config)}


def _entry(link: Link) -> list[Any] | None:
    """One layer as the config of a stack has it; empty for one that does nothing, None for one that stacks lack."""
    layer: Any = link.layer
    name, biased = (
        link.name if link.weighty or isinstance(layer, Norm) else "",
        getattr(layer, "bias", None) is not None,
    )
    if isinstance(layer, nn.Linear):
        return ["linear", name, [layer.in_features, layer.out_features], 0.0, biased]
    if type(layer) in (nn.Conv2d, nn.ConvTranspose2d):
        square = [sizes for sizes in (layer.kernel_size, layer.stride, layer.padding) if len({*sizes}) == 1]
        if len(square) < 3 or {*layer.dilation} != {1} or layer.padding_mode != "zeros":
            return None
        more = [layer.output_padding[0]] if isinstance(layer, nn.ConvTranspose2d) else []
        sizes = [layer.in_channels, layer.out_channels, *(pair[0] for pair in square), *more]
        return ["upconv" if more else "conv", name, sizes, 0.0, biased]
    if isinstance(layer, Norm):
        return ["norm", name, [layer.num_features], layer.eps, True] if layer.affine else None
    if isinstance(layer, nn.Unflatten):
        return ["reshape", "", list(layer.unflattened_size), 0.0, True]
    if isinstance(layer, nn.Upsample):
        factor: Any = layer.scale_factor
        whole = layer.mode == "nearest" and isinstance(factor, int | float) and factor == int(factor)
        return ["upsample", "", [int(factor)], 0.0, True] if whole else None
    if isinstance(layer, nn.Identity | nn.Dropout):
        return []
    return (
        [_OPS[type(layer)], "", [], float(getattr(layer, "negative_slope", 0.0)), True] if type(layer) in _OPS else None
    )


_OPS: dict[type, str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Flatten: "flatten",
}


def narrowed(generator: Generator, keep: Mapping[str, torch.Tensor]) -> Generator:
    """The network without some of its units: `keep` says for layers, by name, which of their outputs stay, (outputs,).

    Undoes `merged`, where the added units are told. The last layer keeps all that it has.
    """
    module = copy.deepcopy(generator.module)
    links = chain(replace(generator, module=module))
    new, stay = {}, torch.ones(generator.latent.dim, dtype=torch.bool)
    for piece in pieces(links[next(i for i, link in enumerate(links) if link.weighty) :]):
        before, stay = stay, keep.get(piece[0].name, torch.ones(outputs_of(piece[0].layer), dtype=torch.bool))
        new[id(piece[0].layer)] = _cut(piece[0].layer, _fitting(before, inputs_of(piece[0].layer)), stay)
        for link in piece[1:]:
            if isinstance(link.layer, Norm):
                new[id(link.layer)] = _cut(link.layer, None, _fitting(stay, link.layer.num_features))
            elif isinstance(link.layer, nn.Unflatten):
                new[id(link.layer)] = _sized(link.layer, 0, int(_fitting(stay, link.shape[0]).sum()))
    _swap(module, new)
    return replace(generator, module=module.eval().requires_grad_(False), metadata=_described(generator, module))


def _fitting(stay: torch.Tensor, count: int) -> torch.Tensor:
    """The same choice among channels, where it was one among the places of each, or the other way round."""
    return stay.view(count, -1)[:, 0] if len(stay) >= count else stay.repeat_interleave(count // len(stay))


@torch.no_grad()
def _cut(layer: Any, before: torch.Tensor | None, stay: torch.Tensor) -> nn.Module:
    """The layer with these inputs and outputs alone."""
    new = _sized(layer, 0 if before is None else int(before.sum()), int(stay.sum()))
    if before is None:
        for key in ("weight", "bias", "running_mean", "running_var"):
            if getattr(new, key) is not None:
                getattr(new, key).copy_(getattr(layer, key)[stay])
        return new  # type: ignore[no-any-return]
    outputs_first(new).copy_(outputs_first(layer)[stay][:, before])
    if layer.bias is not None:
        new.bias.copy_(layer.bias[stay])
    return new  # type: ignore[no-any-return]
