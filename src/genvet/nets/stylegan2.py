"""StyleGAN2: fresh generators, and those in other people's files, whichever layout their tensors have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Evidence, Part
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.matching import outline
from genvet.nets.style_mapping import seeded
from genvet.nets.style_places import Layout
from genvet.nets.style_rebuild import (
    Defaults,
    Proposal,
    block_widths,
    contradictions,
    feature_maps,
    first_axis,
    flat,
    infer_mapping,
    mapping_config,
    number,
    require,
    sizes,
    stand_ins,
    wrap,
)
from genvet.nets.stylegan2_layouts import STYLEGAN2
from genvet.nets.stylegan2_network import Architecture, Config, Network, fir

OPTIONS: dict[str, tuple[str, ...]] = {"noise": ("const", "none", "random")}
"""What bare weights cannot tell; scans take the stored noise."""
_ARCHITECTURES = ("skip", "resnet", "orig")


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
    dense_broadcast: bool = False,
    rng: Rng | None = None,
) -> StyleGenerator:
    """A fresh StyleGAN2 generator.

    `size` is a power of two from 4 on. `widths`, feature maps at 4, 8, ... pixels, take the place of the rule
    min(channel_base / pixels, channel_max). `embed` and `hidden` are w_dim where they are 0.
    `dense_broadcast` puts a dense layer where w is repeated, which no release has, and which repeats it at first.
    """
    mapping = mapping_config("stylegan2", z_dim, w_dim, mapping_layers, classes, hidden, embed, rate)
    require("stylegan2", 1, channels=channels)
    resolutions = sizes("stylegan2", size)
    widths = feature_maps("stylegan2", resolutions, widths, channel_base, channel_max)
    if len(widths) != len(resolutions) or architecture not in _ARCHITECTURES:
        raise BadInput("no such stylegan2", expected="skip, resnet or orig, and a width for every size")
    if conv_clamp is not None and number(conv_clamp, 0, math.inf) is None:
        raise BadInput("no such stylegan2", expected="conv_clamp: a positive number")
    config = Config(
        mapping=mapping,
        size=size,
        channels=channels,
        widths=widths,
        architecture=architecture,  # type: ignore[arg-type]
        conv_clamp=conv_clamp,
        noise=bool(noise),
    )
    with seeded(rng):
        network = Network(config)
    return wrap("stylegan2", network.expand_broadcast() if dense_broadcast else network, config)


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterable[Candidate]:
    """StyleGAN2 generators that this part could be: one for each layout whose names it has."""
    for layout in STYLEGAN2:
        if layout.recognises(part.tensors):
            yield _propose(part, layout, (options or {}).get("noise", "const")).candidate(part)


def _propose(part: Part, layout: Layout, noise: str) -> Proposal:
    found = layout.read(outline(part))
    config, notes, assumed = _with_config(infer(found), part)
    silent = config.noise and not any(key.endswith("noise_const") for key in found)
    if silent and layout.name != "nvlabs":
        assumed += ("noise: none, for the file holds no noise maps",)

    def wrapped(network: nn.Module, assumed: tuple[str, ...]) -> StyleGenerator:
        network.synthesis.noise = noise  # type: ignore[assignment, union-attr]
        return wrap("stylegan2", network, config, assumed)

    return Proposal(
        net="stylegan2",
        what=f"StyleGAN2 {config.size}x{config.size}, {config.architecture}, {layout.name} names",
        layout=layout,
        found=found,
        make=lambda: Network(config),
        wrap=wrapped,
        defaults={} if layout.name == "nvlabs" else _defaults(config, silent),
        notes=notes,
        assumed=assumed,
    )


def _defaults(config: Config, silent: bool) -> Defaults:
    """Other layouts need not have the filters, the average w and, all of them together, the noise maps."""
    with torch.device("meta"):
        needed = Network(config).state_dict()
    return stand_ins(needed, fir, silent)


def infer(found: Mapping[str, Tensor]) -> Config:
    """The sizes that the tensors' shapes tell, under our names; what is missing is filled in by its neighbours."""
    widths = block_widths(found)
    size = 2 << len(widths)
    top = f"synthesis.b{size}"
    return Config(
        mapping=infer_mapping(found, "synthesis.b4.conv1.affine.weight"),
        size=size,
        channels=first_axis(found, (f"{top}.torgb.bias", f"{top}.torgb.weight")) or 3,
        widths=widths,
        architecture=_architecture(found, top),
        noise=any(key.endswith((".noise_strength", ".noise_const")) for key in found),
    )


def _architecture(found: Mapping[str, Tensor], top: str) -> Architecture:
    if any(key.endswith(".skip.weight") for key in found):
        return "resnet"
    images = {key for key in found if ".torgb." in key and not key.startswith(f"{top}.")}
    return "skip" if images or top == "synthesis.b4" else "orig"


def _with_config(config: Config, part: Part) -> tuple[Config, tuple[Evidence, ...], tuple[str, ...]]:
    """What only the file's own config tells, and where that config contradicts the tensors."""
    said = flat(part.config, "mapping_kwargs", "synthesis_kwargs", "block_kwargs", "layer_kwargs")
    notes = contradictions(part, said, _expected(config))
    base, most = said.get("channel_base"), said.get("channel_max")
    if isinstance(base, int) and isinstance(most, int):
        widths = tuple(min(base // size, most) for size in config.sizes)
        name = "channel_base and channel_max"
        notes += contradictions(part, {name: widths}, {name: config.widths})
    clamp, rate = number(said.get("conv_clamp"), 0, math.inf), number(said.get("lr_multiplier"), 0, 1)
    config = replace(config, conv_clamp=clamp, mapping=replace(config.mapping, rate=rate or 0.01))
    known = () if said else ("layer outputs: not clamped", "learning-rate multiplier of the mapping: 0.01")
    return config, notes, known


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
