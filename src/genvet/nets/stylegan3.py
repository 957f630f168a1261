"""StyleGAN3, T and R: fresh generators, and those in NVlabs' files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Part
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.matching import outline
from genvet.nets.style_mapping import seeded
from genvet.nets.style_rebuild import (
    Proposal,
    contradictions,
    first_axis,
    flat,
    infer_mapping,
    mapping_config,
    number,
    require,
    sizes,
    whole,
    wrap,
)
from genvet.nets.stylegan3_network import LAYOUT, Config, Network

OPTIONS: dict[str, tuple[str, ...]] = {}
"""What bare weights cannot tell: nothing that an option could settle."""
_NAME = re.compile(r"synthesis\.L(\d{1,3})_(\d{1,5})_(\d{1,5})\.")
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
    kernel: int = 3,
    radial: bool = False,
    layers: int = 14,
    critical: int = 2,
    first_cutoff: float = 2.0,
    first_stopband: float = 2.0**2.1,
    last_stopband_rel: float = 2.0**0.3,
    margin: int = 10,
    filter_size: int = 6,
    oversampling: int = 2,
    output_scale: float = 0.25,
    conv_clamp: float | None = 256.0,
    widths: Sequence[int] = (),
    embed: int = 0,
    hidden: int = 0,
    rate: float = 0.01,
    dense_broadcast: bool = False,
    rng: Rng | None = None,
) -> StyleGenerator:
    """A fresh StyleGAN3-T generator; kernel 1 and radial filters make it StyleGAN3-R (with twice the channels).

    `widths`, feature maps of every layer but the last, take the place of the rule min(channel_base / 2 cutoff,
    channel_max). `embed` and `hidden` are w_dim where they are 0.
    `dense_broadcast` puts a dense layer where w is repeated, which no release has, and which repeats it at first.
    """
    mapping = mapping_config("stylegan3", z_dim, w_dim, mapping_layers, classes, hidden, embed, rate)
    require("stylegan3", 1, channels=channels, channel_base=channel_base, channel_max=channel_max, layers=layers)
    require("stylegan3", 1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    require("stylegan3", 0, margin=margin, critical=critical)
    sizes("stylegan3", size, 16)
    config = Config(
        mapping=mapping,
        size=size,
        channels=channels,
        channel_base=channel_base,
        channel_max=channel_max,
        widths=tuple(widths),
        layers=layers,
        critical=critical,
        first_cutoff=first_cutoff,
        first_stopband=first_stopband,
        last_stopband_rel=last_stopband_rel,
        margin=margin,
        kernel=kernel,
        filter_size=filter_size,
        oversampling=oversampling,
        radial=bool(radial),
        output_scale=output_scale,
        conv_clamp=conv_clamp,
    )
    if not sound(config):
        raise BadInput("no such stylegan3", expected="cutoffs below half the size, an odd kernel, sound filters")
    with seeded(rng):
        network = Network(config)
    return wrap("stylegan3", network.expand_broadcast() if dense_broadcast else network, config)


def sound(config: Config) -> bool:
    """Whether the formulas of the layers' sizes and filters make sense for these numbers."""
    return (
        config.size in (16 << i for i in range(9))
        and 1 <= config.critical < config.layers <= 64
        and None not in (number(n, 0, _LARGEST) for n in (config.first_cutoff, config.first_stopband))
        and 0 < config.first_cutoff < config.first_stopband <= config.size / 2
        and number(config.last_stopband_rel, 0, 4) is not None
        and config.last_stopband_rel >= 1
        and 0 <= config.margin <= 64
        and config.kernel in (1, 3, 5, 7)
        and whole(config.filter_size, 1, 32) is not None
        and config.oversampling in (1, 2, 4)
        and number(config.output_scale, 0, 1e6) is not None
        and (config.conv_clamp is None or number(config.conv_clamp, 0, math.inf) is not None)
        and (not config.widths or len(config.widths) == config.layers)
        and min(config.features) >= 1
    )


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterable[Candidate]:
    """The StyleGAN3 generator that this part could be, by its names."""
    if LAYOUT.recognises(part.tensors):
        yield _propose(part).candidate(part)


def _propose(part: Part) -> Proposal:
    found = LAYOUT.read(outline(part))
    config, assumed = _with_config(infer(found), part)
    kind = {(3, False): "-T", (1, True): "-R"}.get((config.kernel, config.radial), "")
    return Proposal(
        net="stylegan3",
        what=f"StyleGAN3{kind} {config.size}x{config.size}, nvlabs names",
        layout=LAYOUT,
        found=found,
        make=lambda: Network(config),
        wrap=lambda network, assumed: wrap("stylegan3", network, config, assumed),
        defaults={},
        notes=contradictions(part, _said(part), _expected(config)),
        assumed=assumed,
    )


def infer(found: Mapping[str, Tensor]) -> Config:
    """What names and shapes tell; the rest by the paper's numbers. Anything odd falls back to them as well."""
    layers = {int(m[1]): (int(m[2]), int(m[3])) for m in map(_NAME.match, found) if m}
    last = max(layers, default=0)
    plain = Config(mapping=infer_mapping(found, "synthesis.input.affine.weight"), size=16, channels=3)
    if set(layers) != set(range(last + 1)) or last < 3:
        return plain
    inner = [layers[i][1] for i in range(last)]
    start, size = layers[0][0], layers[last][0]
    first = f"synthesis.L0_{start}_{inner[0]}"
    config = replace(
        plain,
        size=size,
        channels=layers[last][1],
        widths=tuple(inner),
        layers=last,
        kernel=found[f"{first}.weight"].shape[-1] if _has(found, f"{first}.weight", 4) else 3,
        radial=_has(found, f"{first}.down_filter", 2),
        margin=max(start - 16, 0) // 2,
        filter_size=max(first_axis(found, (f"{first}.up_filter",)) // 2, 1),
    )
    return config if sound(config) else plain


def _has(found: Mapping[str, Tensor], name: str, axes: int) -> bool:
    return name in found and found[name].ndim == axes


def _said(part: Part) -> dict[str, Any]:
    """The config in one level; the mapping's own number of layers keeps apart from the synthesis'."""
    said = dict(part.config)
    mapping = said.pop("mapping_kwargs", None)
    inner = dict(mapping) if isinstance(mapping, Mapping) else {}
    return flat(said, "synthesis_kwargs") | {f"mapping.{key}": value for key, value in inner.items()}


def _with_config(config: Config, part: Part) -> tuple[Config, tuple[str, ...]]:
    """What only the file's own config tells; values that make no sense are left alone."""
    said = _said(part)
    clamp = number(said["conv_clamp"], 0, math.inf) if "conv_clamp" in said else 256.0
    asked = replace(
        config,
        mapping=replace(config.mapping, rate=number(said.get("mapping.lr_multiplier"), 0, 1) or 0.01),
        critical=whole(said.get("num_critical"), 1, 64) or config.critical,
        first_cutoff=number(said.get("first_cutoff"), 0, _LARGEST) or config.first_cutoff,
        first_stopband=number(said.get("first_stopband"), 0, _LARGEST) or config.first_stopband,
        last_stopband_rel=number(said.get("last_stopband_rel"), 0, 4) or config.last_stopband_rel,
        margin=whole(said.get("margin_size"), 1, 64) or config.margin,
        oversampling=whole(said.get("lrelu_upsampling"), 1, 4) or config.oversampling,
        filter_size=whole(said.get("filter_size"), 1, 32) or config.filter_size,
        output_scale=number(said.get("output_scale"), 0, 1e6) or config.output_scale,
        conv_clamp=clamp,
    )
    known = () if said else ("cutoffs, output scale (0.25) and clamp (256): the paper's",)
    return (asked if sound(asked) else config), known


def _expected(config: Config) -> dict[str, Any]:
    """What the init arguments of NVlabs' generator should say."""
    return {
        "z_dim": config.mapping.z_dim,
        "w_dim": config.mapping.w_dim,
        "c_dim": config.mapping.classes,
        "img_resolution": config.size,
        "img_channels": config.channels,
        "mapping.num_layers": config.mapping.layers,
        "num_layers": config.layers,
        "conv_kernel": config.kernel,
        "use_radial_filters": config.radial,
        "filter_size": config.filter_size,
        "margin_size": config.margin,
    }
