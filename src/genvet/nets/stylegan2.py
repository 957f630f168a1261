"""StyleGAN2: fresh generators, and those in other people's files, whichever layout their tensors have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Evidence, Part
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.matching import compare, contradiction, fill, outline
from genvet.nets.style_mapping import MappingConfig, seeded
from genvet.nets.style_places import Layout
from genvet.nets.stylegan2_layouts import STYLEGAN2
from genvet.nets.stylegan2_network import Config, Network, fir

OPTIONS: dict[str, tuple[str, ...]] = {"noise": ("const", "none", "random")}
"""What bare weights cannot tell; scans take the stored noise."""
_ARCHITECTURES = ("skip", "resnet", "orig")
_LARGEST = 4096


def build(
    size: int = 32,
    channels: int = 3,
    z_dim: int = 512,
    w_dim: int = 512,
    channel_base: int = 16384,
    channel_max: int = 512,
    mapping_layers: int = 2,
    classes: int = 0,
    architecture: str = "skip",
    conv_clamp: float | None = None,
    widths: Sequence[int] = (),
    noise: bool = True,
    embed: int = 0,
    hidden: int = 0,
    rate: float = 0.01,
    rng: Rng | None = None,
) -> StyleGenerator:
    """A fresh StyleGAN2 generator.

    `size` is a power of two from 4 on. `widths`, feature maps at 4, 8, ... pixels, take the place of the rule
    min(channel_base / pixels, channel_max). `embed` and `hidden` are w_dim where they are 0.
    """
    numbers = (z_dim, w_dim, channels, mapping_layers, channel_base, channel_max, *widths)
    if min(numbers) < 1 or min(classes, embed, hidden) < 0 or architecture not in _ARCHITECTURES:
        raise BadInput("no such stylegan2", expected="positive numbers; architecture skip, resnet or orig")
    if size not in (4 << i for i in range(11)):
        raise BadInput("no such stylegan2", expected=f"a size of 4, 8, ... {_LARGEST}", got=str(size))
    sizes = [4 << i for i in range(size.bit_length() - 2)]
    widths = tuple(widths) or tuple(min(channel_base // s, channel_max) for s in sizes)
    if len(widths) != len(sizes):
        raise BadInput("widths do not fit the size", expected=f"{len(sizes)} numbers", got=str(len(widths)))
    mapping = MappingConfig(
        z_dim=z_dim, w_dim=w_dim, layers=mapping_layers, classes=classes, hidden=hidden, embed=embed, rate=rate
    )
    config = Config(
        mapping=mapping,
        size=size,
        channels=channels,
        widths=widths,
        architecture=architecture,  # type: ignore[arg-type]
        conv_clamp=conv_clamp,
        noise=noise,
    )
    with seeded(rng):
        return wrap(Network(config), config)


def wrap(network: Network, config: Config, assumed: tuple[str, ...] = ()) -> StyleGenerator:
    """The network as a generator that can be saved and built again."""
    mapping = asdict(config.mapping)
    mapping["mapping_layers"] = mapping.pop("layers")
    rest = {key: value for key, value in asdict(config).items() if key != "mapping"}
    return StyleGenerator(
        module=network,
        latent=config.mapping.latent,
        shape=(config.channels, config.size, config.size),
        name="stylegan2",
        assumed=assumed,
        metadata={"genvet.net": "stylegan2", "genvet.config": json.dumps(mapping | rest)},
        num_ws=config.num_ws,
        w_dim=config.mapping.w_dim,
    )


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterable[Candidate]:
    """StyleGAN2 generators that this part could be: one for each layout whose names it has."""
    for layout in STYLEGAN2:
        if layout.recognises(part.tensors):
            yield _candidate(part, layout, (options or {}).get("noise", "const"))


def _candidate(part: Part, layout: Layout, noise: str) -> Candidate:
    found = layout.read(outline(part))
    config = infer(found)
    config, notes, assumed = _with_config(config, part)
    with torch.device("meta"):
        needed = Network(config).state_dict()
    optional = _optional(needed, found, layout)
    match = compare(needed, found, known_as=layout.known_as, optional=optional, place=part.name)
    if any(key.endswith("noise_const") for key in optional):
        assumed = (*assumed, "noise: none, for the file holds no noise maps")
    if "mapping.w_avg" in optional:
        assumed = (*assumed, "average w: the mean of 4096 draws, for the file holds none")

    def rebuild(tensors: Mapping[str, Tensor]) -> StyleGenerator:
        with torch.device("meta"):
            network = Network(config)
        derived = {key: _derived(key, tensor) for key, tensor in needed.items() if key in optional}
        fill(network, derived | layout.read(tensors))
        if "mapping.w_avg" in optional:
            network.mapping.w_avg.copy_(network.mapping.average(config.mapping.latent))
        network.synthesis.noise = noise  # type: ignore[assignment]
        return wrap(network, config, assumed)

    what = f"StyleGAN2 {config.size}x{config.size}, {config.architecture}, {layout.name} names"
    return Candidate(
        net="stylegan2",
        layout=layout.name,
        score=match.score,
        explanation=f"{what}: {match.explanation}",
        differences=match.differences + notes,
        build=rebuild,
    )


def _optional(needed: Mapping[str, Tensor], found: Mapping[str, Tensor], layout: Layout) -> set[str]:
    """Ours that another layout need not have: filters, noise maps where it has none at all, the average w."""
    if layout.name == "nvlabs":
        return set()
    loose = {key for key in needed if key.endswith("resample_filter")} | {"mapping.w_avg"}
    if not any(key.endswith("noise_const") for key in found):
        loose |= {key for key in needed if key.endswith("noise_const")}
    return loose - found.keys()


def _derived(key: str, tensor: Tensor) -> Tensor:
    return fir() if key.endswith("resample_filter") else torch.zeros(tensor.shape)


def infer(found: Mapping[str, Tensor]) -> Config:
    """The sizes that the tensors' shapes tell, under our names; what is missing is filled in by its neighbours."""
    count = 1
    while count < 11 and any(key.startswith(f"synthesis.b{4 << count}.") for key in found):
        count += 1
    widths: list[int] = []
    for i in range(count):
        names = (f"synthesis.b{4 << i}.conv1.bias", f"synthesis.b{4 << i}.conv1.weight")
        widths.append(_first_axis(found, names) or (widths[-1] if widths else 1))
    top = f"synthesis.b{4 << (count - 1)}"
    return Config(
        mapping=infer_mapping(found, "synthesis.b4.conv1.affine.weight"),
        size=4 << (count - 1),
        channels=_first_axis(found, (f"{top}.torgb.bias", f"{top}.torgb.weight")) or 3,
        widths=tuple(widths),
        architecture=_architecture(found, top),  # type: ignore[arg-type]
        noise=any(key.endswith((".noise_strength", ".noise_const")) for key in found),
    )


def infer_mapping(found: Mapping[str, Tensor], affine: str) -> MappingConfig:
    """The mapping network that the shapes tell; `affine` names a layer that reads w."""
    layers = 1
    while layers < 32 and f"mapping.fc{layers}.weight" in found:
        layers += 1
    w_dim = _last_axis(found, affine) or _first_axis(found, (f"mapping.fc{layers - 1}.bias",)) or 1
    classes, embed = _last_axis(found, "mapping.embed.weight"), _first_axis(found, ("mapping.embed.weight",))
    z_dim = (_last_axis(found, "mapping.fc0.weight") or w_dim) - (embed if classes else 0)
    hidden = _first_axis(found, ("mapping.fc0.weight",)) if layers > 1 else 0
    return MappingConfig(
        z_dim=max(z_dim, 1), w_dim=w_dim, layers=layers, classes=classes, hidden=hidden or w_dim, embed=embed
    )


def _architecture(found: Mapping[str, Tensor], top: str) -> str:
    if any(key.endswith(".skip.weight") for key in found):
        return "resnet"
    images = {key for key in found if ".torgb." in key and not key.startswith(f"{top}.")}
    return "skip" if images or top == "synthesis.b4" else "orig"


def _first_axis(found: Mapping[str, Tensor], names: Iterable[str]) -> int:
    return next((found[n].shape[0] for n in names if n in found and found[n].ndim and found[n].shape[0]), 0)


def _last_axis(found: Mapping[str, Tensor], name: str) -> int:
    return found[name].shape[-1] if name in found and found[name].ndim == 2 else 0


def _with_config(config: Config, part: Part) -> tuple[Config, tuple[Evidence, ...], tuple[str, ...]]:
    """What only the file's own config tells, and where that config contradicts the tensors."""
    said = _flat(part.config)
    notes = tuple(
        contradiction(part, key, said[key], value)
        for key, value in _expected(config).items()
        if key in said and said[key] != value
    )
    base, most = said.get("channel_base"), said.get("channel_max")
    if isinstance(base, int) and isinstance(most, int):
        widths = [min(base // size, most) for size in config.sizes]
        if widths != list(config.widths):
            notes += (contradiction(part, "channel_base and channel_max", (base, most), config.widths),)
    clamp = said.get("conv_clamp")
    if isinstance(clamp, int | float) and not isinstance(clamp, bool) and 0 < clamp < math.inf:
        config = replace(config, conv_clamp=float(clamp))
    rate = said.get("lr_multiplier")
    if isinstance(rate, float) and 0 < rate <= 1:
        config = replace(config, mapping=replace(config.mapping, rate=rate))
    if said:
        return config, notes, ()
    return config, notes, ("layer outputs: not clamped", "learning-rate multiplier of the mapping: 0.01")


def _expected(config: Config) -> dict[str, Any]:
    """What the init arguments of NVlabs' generator should say."""
    return {
        "z_dim": config.mapping.z_dim,
        "w_dim": config.mapping.w_dim,
        "c_dim": config.mapping.classes,
        "img_resolution": config.size,
        "img_channels": config.channels,
        "num_layers": config.mapping.layers,
        "architecture": config.architecture,
        "activation": "lrelu",
    }


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested keyword arguments of NVlabs' generator in one level."""
    flat = dict(config)
    for key in ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "layer_kwargs"):
        inner = flat.pop(key, None)
        if isinstance(inner, Mapping):
            flat |= inner
    return flat
