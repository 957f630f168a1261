"""StyleGAN, the first: fresh generators, and those in files of TensorFlow, genforce and rosinality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Part
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.matching import outline
from genvet.nets.style_mapping import seeded
from genvet.nets.style_places import Layout
from genvet.nets.style_rebuild import (
    Defaults,
    Proposal,
    block_widths,
    feature_maps,
    first_axis,
    infer_mapping,
    mapping_config,
    number,
    require,
    sizes,
    stand_ins,
    wrap,
)
from genvet.nets.stylegan1_layouts import GENVET, layouts
from genvet.nets.stylegan1_network import Config, Network, blur, plain

OPTIONS: dict[str, tuple[str, ...]] = {"noise": ("const", "none", "random"), "size": ()}
"""What bare weights cannot tell: a network that was to grow holds blocks that it may never have trained."""


def build(
    size: int = 32,
    channels: int = 3,
    z_dim: int = 512,
    w_dim: int = 512,
    channel_base: int = 8192,
    channel_max: int = 512,
    mapping_layers: int = 8,
    classes: int = 0,
    widths: Sequence[int] = (),
    epsilon: float = 1e-8,
    bias_first: bool = False,
    embed: int = 0,
    hidden: int = 0,
    rate: float = 0.01,
    dense_broadcast: bool = False,
    rng: Rng | None = None,
) -> StyleGenerator:
    """A fresh StyleGAN generator.

    `size` is a power of two from 4 on. `widths`, feature maps at 4, 8, ... pixels, take the place of the rule
    min(channel_base / pixels, channel_max); more of them than `size` needs stand for blocks that are not run.
    `dense_broadcast` puts a dense layer where w is repeated, which no release has, and which repeats it at first.
    """
    mapping = mapping_config("stylegan1", z_dim, w_dim, mapping_layers, classes, hidden, embed, rate)
    require("stylegan1", 1, channels=channels)
    widths = feature_maps("stylegan1", sizes("stylegan1", size), widths, channel_base, channel_max)
    if number(epsilon, 0, 1) is None:
        raise BadInput("no such stylegan1", expected="epsilon: above 0, up to 1")
    config = Config(
        mapping=mapping, size=size, channels=channels, widths=widths, epsilon=epsilon, bias_first=bool(bias_first)
    )
    with seeded(rng):
        network = Network(config)
    return wrap("stylegan1", network.expand_broadcast() if dense_broadcast else network, config)


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterable[Candidate]:
    """StyleGAN generators that this part could be: one for each layout whose names it has."""
    for layout in layouts(part.tensors):
        if layout.recognises(part.tensors):
            yield _propose(part, layout, options or {}).candidate(part)


def _propose(part: Part, layout: Layout, options: Mapping[str, str]) -> Proposal:
    found = layout.read(outline(part))
    config, assumed = _settled(infer(found), layout, options.get("size", ""))
    silent = not any(key.endswith("noise_const") for key in found)
    if silent:
        assumed += ("noise: none, for the file holds no noise maps",)

    def wrapped(network: nn.Module, assumed: tuple[str, ...]) -> StyleGenerator:
        network.synthesis.noise = options.get("noise", "const")  # type: ignore[assignment, union-attr]
        return wrap("stylegan1", network, config, assumed)

    return Proposal(
        net="stylegan1",
        what=f"StyleGAN {config.size}x{config.size}, {layout.name} names",
        layout=layout,
        found=found,
        make=lambda: Network(config),
        wrap=wrapped,
        defaults={} if layout is GENVET else _defaults(config, silent, plain if layout.name == "huangzh13" else blur),
        assumed=assumed,
    )


def _settled(config: Config, layout: Layout, size: str) -> tuple[Config, tuple[str, ...]]:
    """What each layout's own code does differently, and the size that is to be run."""
    assumed: tuple[str, ...] = ()
    if layout.name == "rosinality":
        config = replace(config, epsilon=1e-5, bias_first=True, mapping=replace(config.mapping, rate=1.0))
        assumed += (f"size: {config.size}, the largest; if training stopped before, --net stylegan1:size=N",)
    elif layout.name == "huangzh13":
        config = replace(config, epsilon=1e-5)
    elif layout.name == "tensorflow":
        assumed += ("truncation: none, where TensorFlow's own code pulls the first 8 w to the average by 0.7",)
    if size and int(size) in config.sizes:
        config = replace(config, size=int(size))
    return config, assumed


def _defaults(config: Config, silent: bool, filter: Callable[[], Tensor]) -> Defaults:
    """What other layouts need not have; the bias of the constant is one more than in StyleGAN2."""
    with torch.device("meta"):
        needed = Network(config).state_dict()
    bias = {"synthesis.b4.conv0.bias": partial(torch.zeros, config.widths[0])}
    return stand_ins(needed, filter, silent) | bias


def infer(found: Mapping[str, Tensor]) -> Config:
    """The sizes that the tensors' shapes tell, under our names; what is missing is filled in by its neighbours."""
    widths = block_widths(found)
    prefixes = [f"synthesis.b{4 << i}" for i in range(len(widths))]
    return Config(
        mapping=infer_mapping(found, "synthesis.b4.conv1.style.weight"),
        size=2 << len(widths),
        channels=first_axis(found, (f"{prefix}.torgb.bias" for prefix in prefixes)) or 3,
        widths=widths,
    )
