"""Whose tensor names are these? Style generators in other people's layouts, and their discriminators."""

from __future__ import annotations

import json
from collections.abc import Collection

from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.nets import stylegan1_layouts, stylegan3_network
from genvet.nets.style_places import Layout, plain_names
from genvet.nets.stylegan2_layouts import STYLEGAN2

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "stylegan1": (stylegan1_layouts.GENVET,),
    "stylegan2": STYLEGAN2,
    "stylegan3": (stylegan3_network.LAYOUT,),
}
"""By architecture: the layouts that tensors can be written in, our own first."""
RATE = 0.01
"""Learning-rate multiplier of the mapping that everybody's code has: a bare file of tensors cannot tell another."""


def layout(net: str, name: str, names: Collection[str] = ()) -> Layout:
    """The layout called `name` of an architecture; raises BadInput with those that there are.

    `names` are the tensors to be written: TensorFlow's layout of the first StyleGAN, which is NVlabs' own, depends on
    the network's size.
    """
    known = {layout.name: layout for layout in LAYOUTS.get(net, ())}
    if net == "stylegan1":
        others = {layout.name: layout for layout in stylegan1_layouts.layouts(names)}
        known |= {"genforce": others["genforce"], "nvlabs": others["tensorflow"]}
    if name not in known:
        raise BadInput(f"{net} has no layout {name!r}", expected=", ".join(known) or "none")
    return known[name]


def written(generator: Generator, name: str) -> dict[str, Tensor]:
    """A style generator's tensors in this layout; raises Unsupported where some have no place there."""
    state = dict(generator.module.state_dict())
    rate = json.loads(generator.metadata.get("genvet.config", "{}")).get("rate", RATE)
    if rate != RATE:
        scaled = (key for key in state if key.startswith("mapping.fc"))
        state |= {key: state[key] * (rate / RATE) for key in scaled}
    return layout(generator.name, name, state).write(state)


_CRITICS = (
    ("the StyleGAN2 discriminator", ("b4.fc.weight", "b4.out.weight", "b4.conv.weight")),
    ("the StyleGAN2 discriminator (rosinality)", ("convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight")),
    ("the StyleGAN2 discriminator (genforce)", ("input0.weight", "layer1.filter.kernel", "skip_layer0.weight")),
    ("the StyleGAN discriminator (genforce)", ("lod", "input0.weight", "layer1.blur.kernel")),
    (
        "the StyleGAN discriminator (rosinality)",
        ("progression.0.conv1.0.conv.weight_orig", "from_rgb.0.conv.weight_orig"),
    ),
    ("the StyleGAN2 discriminator (TensorFlow)", ("4x4.Conv.weight", "4x4.Dense0.weight", "Output.weight")),
    ("the StyleGAN discriminator (TensorFlow)", ("4x4.Conv.weight", "4x4.Dense0.weight", "4x4.Dense1.weight")),
)


def critic_of(names: Collection[str]) -> str:
    """Which discriminator of a style generator these tensor names belong to; empty where none of those."""
    plain = plain_names(names) | {name.replace("/", ".") for name in names}
    return next((who for who, signature in _CRITICS if plain.issuperset(signature)), "")
