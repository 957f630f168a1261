"""StyleGAN generators under the names of genforce and of NVlabs (TensorFlow); those of rosinality and huangzh13
(lernapparat), whose networks differ in more than names, are read only."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from genvet.nets.style_places import (
    DEPTH,
    SIZES,
    Change,
    Layout,
    Place,
    dense,
    first,
    flip,
    hwio,
    hwio_flipped,
    map_of,
    map_to,
    one,
    plain_names,
    same,
    to_hwio,
    to_hwio_flipped,
    transpose,
)

FUSED = 128
"""From this size on, up-convolutions are transposed convolutions: their kernels apply the other way round."""
_ROOT = math.sqrt(2)

GENVET = Layout("genvet", ("synthesis.b4.conv1.noise_weight", "synthesis.b8.conv0.noise_weight"), lambda: iter(()))


def _genforce() -> Iterator[Place]:
    yield from dense(lambda i: f"mapping.dense{i}")
    yield Place("mapping.w_avg", "truncation.w_avg")
    yield Place("synthesis.b4.const", "synthesis.layer0.const", first, one)
    for i, size in enumerate(SIZES):
        for j in (0, 1):
            ours, theirs = f"synthesis.b{size}.conv{j}", f"synthesis.layer{2 * i + j}"
            turned = flip if j == 0 and size >= FUSED else same
            yield Place(f"{ours}.weight", f"{theirs}.weight", turned, turned)
            yield Place(f"{ours}.noise_weight", f"{theirs}.apply_noise.weight")
            yield Place(f"{ours}.noise_const", f"{theirs}.apply_noise.noise", map_of, map_to)
            yield Place(f"{ours}.resample_filter", f"{theirs}.blur.kernel", _one_map, map_to)
            for name in ("bias", "style.weight", "style.bias"):
                yield Place(f"{ours}.{name}", f"{theirs}.{name}")
        for kind in ("weight", "bias"):
            yield Place(f"synthesis.b{size}.torgb.{kind}", f"synthesis.output{i}.{kind}")


def _genforce_whole(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their filters stand there once for every map; `lod` says that the network has grown up."""
    whole = {"synthesis.lod": torch.zeros(())} | theirs
    for name, tensor in theirs.items():
        if name.endswith("blur.kernel"):
            maps = len(theirs[name.replace("blur.kernel", "bias")])
            whole[name] = tensor.expand(maps, 1, *tensor.shape[2:])
    return whole


def _rosinality() -> Iterator[Place]:
    for i in range(DEPTH):
        for ours, theirs in (("weight", "weight_orig"), ("bias", "bias")):
            yield Place(f"mapping.fc{i}.{ours}", f"style.{2 * i + 1}.linear.{theirs}")
    yield Place("mapping.w_avg", "latent_avg", lambda t: t.reshape(-1))
    yield Place("synthesis.b4.const", "generator.progression.0.conv1.input", first)
    for i, size in enumerate(SIZES):
        for j in (0, 1):
            block = f"generator.progression.{i}"
            yield from _rosinality_layer(f"synthesis.b{size}.conv{j}", block, j, up=i > 0 and j == 0)
        # Its equalised rate has the gain sqrt 2 everywhere, ours only before a rectifier.
        yield Place(f"synthesis.b{size}.torgb.weight", f"generator.to_rgb.{i}.conv.weight_orig", _root)
        yield Place(f"synthesis.b{size}.torgb.bias", f"generator.to_rgb.{i}.conv.bias")


def _rosinality_layer(ours: str, block: str, j: int, *, up: bool) -> Iterator[Place]:
    number = j + 1
    if up:  # doubling, convolution, blur; or both of the first in one, and blur
        yield Place(f"{ours}.weight", f"{block}.conv1.0.weight", _fused)
        yield Place(f"{ours}.bias", f"{block}.conv1.0.bias")
        yield Place(f"{ours}.resample_filter", f"{block}.conv1.1.weight", _one_map)
        yield Place(f"{ours}.weight", f"{block}.conv1.1.conv.weight_orig")
        yield Place(f"{ours}.bias", f"{block}.conv1.1.conv.bias")
        yield Place(f"{ours}.resample_filter", f"{block}.conv1.2.weight", _one_map)
    elif j == 1:
        yield Place(f"{ours}.weight", f"{block}.conv2.conv.weight_orig")
        yield Place(f"{ours}.bias", f"{block}.conv2.conv.bias")
    yield Place(f"{ours}.noise_weight", f"{block}.noise{number}.weight_orig", _noise_weight)
    yield Place(f"{ours}.style.weight", f"{block}.adain{number}.style.linear.weight_orig", _root)
    yield Place(f"{ours}.style.bias", f"{block}.adain{number}.style.linear.bias", _without_one)


def _huangzh13() -> Iterator[Place]:
    yield from dense(lambda i: f"g_mapping.map.dense{i}")
    yield Place("mapping.w_avg", "truncation.avg_latent")
    yield Place("synthesis.b4.const", "g_synthesis.init_block.const", first)
    yield Place("synthesis.b4.conv0.bias", "g_synthesis.init_block.bias")
    for i, size in enumerate(SIZES):
        ours, block = f"synthesis.b{size}", f"g_synthesis.blocks.{i - 1}" if i else "g_synthesis.init_block"
        if i:
            turned = flip if size >= FUSED else same
            yield Place(f"{ours}.conv0.weight", f"{block}.conv0_up.weight", turned)
            yield Place(f"{ours}.conv0.bias", f"{block}.conv0_up.bias")
            yield Place(f"{ours}.conv0.resample_filter", f"{block}.conv0_up.intermediate.kernel", _one_map)
        for kind in ("weight", "bias"):
            yield Place(f"{ours}.conv1.{kind}", f"{block}.{'conv1' if i else 'conv'}.{kind}")
            yield Place(f"{ours}.torgb.{kind}", f"g_synthesis.to_rgb.{i}.{kind}")
        for j in (0, 1):
            yield Place(f"{ours}.conv{j}.noise_weight", f"{block}.epi{j + 1}.top_epi.noise.weight")
            for kind in ("weight", "bias"):
                yield Place(f"{ours}.conv{j}.style.{kind}", f"{block}.epi{j + 1}.style_mod.lin.{kind}")


def tensorflow(names: Collection[str]) -> Layout:
    """TensorFlow's layout counts image layers from the top: its table depends on the size, which the names tell."""
    plain = plain_names(names)
    tops = {size: (f"synthesis.{size}x{size}.Conv1.weight", f"synthesis.b{size}.conv1.weight") for size in SIZES}
    size = max((size for size, known in tops.items() if not plain.isdisjoint(known)), default=4)
    return Layout(
        "tensorflow",
        ("synthesis.4x4.Conv.StyleMod.weight", "synthesis.8x8.Conv1.StyleMod.weight"),
        lambda: _tensorflow(size),
        ("lod", "synthesis.lod"),
    )


def _tensorflow(top: int) -> Iterator[Place]:
    for i in range(DEPTH):
        yield Place(f"mapping.fc{i}.weight", f"mapping.Dense{i}.weight", transpose, transpose)
        yield Place(f"mapping.fc{i}.bias", f"mapping.Dense{i}.bias")
    yield Place("mapping.w_avg", "dlatent_avg")
    yield Place("synthesis.b4.const", "synthesis.4x4.Const.const", first, one)
    for i, size in enumerate(SIZES):
        ours, theirs = f"synthesis.b{size}", f"synthesis.{size}x{size}"
        turned = (hwio_flipped, to_hwio_flipped) if size >= FUSED else (hwio, to_hwio)
        yield from _tensorflow_layer(f"{ours}.conv0", f"{theirs}.{'Conv0_up' if i else 'Const'}", 2 * i, turned)
        yield from _tensorflow_layer(
            f"{ours}.conv1", f"{theirs}.{'Conv1' if i else 'Conv'}", 2 * i + 1, (hwio, to_hwio)
        )
        level = (top // size).bit_length() - 1
        if size <= top:
            yield Place(f"{ours}.torgb.weight", f"synthesis.ToRGB_lod{level}.weight", hwio, to_hwio)
            yield Place(f"{ours}.torgb.bias", f"synthesis.ToRGB_lod{level}.bias")


def _tensorflow_layer(ours: str, theirs: str, number: int, turned: tuple[Change, Change]) -> Iterator[Place]:
    yield Place(f"{ours}.weight", f"{theirs}.weight", *turned)
    yield Place(f"{ours}.bias", f"{theirs}.bias")
    yield Place(f"{ours}.noise_weight", f"{theirs}.Noise.weight")
    yield Place(f"{ours}.noise_const", f"synthesis.noise{number}", map_of, map_to)
    yield Place(f"{ours}.style.weight", f"{theirs}.StyleMod.weight", transpose, transpose)
    yield Place(f"{ours}.style.bias", f"{theirs}.StyleMod.bias")


def _one_map(t: Tensor) -> Tensor:
    """The filter of one map: they are all the same."""
    return t[0, 0]


def _root(t: Tensor) -> Tensor:
    return t * _ROOT


def _fused(t: Tensor) -> Tensor:
    """A transposed convolution (in, out, h, w) that averages where ours sums."""
    return flip(t.transpose(0, 1)) / 4


def _noise_weight(t: Tensor) -> Tensor:
    """(1, c, 1, 1), also with an equalised rate, as if c were its inputs."""
    return t.reshape(-1) * math.sqrt(2 / t.shape[1])


def _without_one(t: Tensor) -> Tensor:
    """The scales' 1, which we add at run time, is in its bias: in the first half."""
    scale, shift = t.chunk(2)
    return torch.cat([scale - 1, shift])


def layouts(names: Collection[str]) -> tuple[Layout, ...]:
    """The layouts of StyleGAN generators, our own first."""
    return (
        GENVET,
        Layout(
            "genforce",
            ("synthesis.layer0.const", "synthesis.layer1.apply_noise.weight"),
            _genforce,
            ("synthesis.lod",),
            _genforce_whole,
        ),
        Layout(
            "rosinality",
            ("generator.progression.0.conv1.input", "generator.progression.0.adain1.style.linear.weight_orig"),
            _rosinality,
            {f"generator.progression.{i}.conv1.{j}.weight_flip" for i in range(len(SIZES)) for j in (1, 2)},
        ),
        Layout(
            "huangzh13",
            ("g_synthesis.init_block.const", "g_synthesis.init_block.epi1.style_mod.lin.weight"),
            _huangzh13,
        ),
        tensorflow(names),
    )
