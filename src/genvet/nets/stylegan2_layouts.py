"""StyleGAN2 generators under the names of NVlabs (which are ours), rosinality, genforce and TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from genvet.nets.style_places import (
    DEPTH,
    SIZES,
    Change,
    Layout,
    Place,
    dense,
    first,
    flip,
    four,
    four_map,
    hwio,
    hwio_flipped,
    map_of,
    map_to,
    minus_one,
    one,
    plus_one,
    quarter,
    quartered_map,
    same,
    to_hwio,
    to_hwio_flipped,
    transpose,
)


def _rosinality() -> Iterator[Place]:
    yield from dense(lambda i: f"style.{i + 1}")
    yield Place("mapping.w_avg", "latent_avg", lambda t: t.reshape(-1))
    yield Place("synthesis.b4.const", "input.input", first, one)
    for i, size in enumerate(SIZES):
        ours = f"synthesis.b{size}"
        if i:
            yield from _rosinality_layer(f"{ours}.conv0", f"convs.{2 * i - 2}", 2 * i - 1)
            yield Place(f"{ours}.resample_filter", f"to_rgbs.{i - 1}.upsample.kernel", quarter, four)
        yield from _rosinality_layer(f"{ours}.conv1", f"convs.{2 * i - 1}" if i else "conv1", 2 * i)
        rgb = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        yield Place(f"{ours}.torgb.weight", f"{rgb}.conv.weight", first, one)
        yield Place(f"{ours}.torgb.bias", f"{rgb}.bias", lambda t: t.reshape(-1), lambda t: t.reshape(1, -1, 1, 1))
        for kind in ("weight", "bias"):
            yield Place(f"{ours}.torgb.affine.{kind}", f"{rgb}.conv.modulation.{kind}")


def _rosinality_layer(ours: str, theirs: str, number: int) -> Iterator[Place]:
    yield Place(f"{ours}.weight", f"{theirs}.conv.weight", first, one)
    yield Place(f"{ours}.bias", f"{theirs}.activate.bias")
    yield Place(f"{ours}.noise_strength", f"{theirs}.noise.weight", lambda t: t.reshape(()), lambda t: t.reshape(1))
    yield Place(f"{ours}.noise_const", f"noises.noise_{number}", map_of, map_to)
    yield Place(f"{ours}.resample_filter", f"{theirs}.conv.blur.kernel", quarter, four)
    for kind in ("weight", "bias"):
        yield Place(f"{ours}.affine.{kind}", f"{theirs}.conv.modulation.{kind}")


def _genforce() -> Iterator[Place]:
    yield from dense(lambda i: f"mapping.dense{i}")
    yield Place("mapping.w_avg", "truncation.w_avg")
    yield Place("synthesis.b4.const", "synthesis.early_layer.const", first, one)
    yield Place("synthesis.b8.resample_filter", "synthesis.upsample.kernel", quartered_map, four_map)
    for i, size in enumerate(SIZES):
        ours = f"synthesis.b{size}"
        if i:
            yield from _genforce_layer(f"{ours}.conv0", f"synthesis.layer{2 * i - 1}", flip)
            kernel = f"synthesis.layer{2 * i - 1}.filter.kernel"
            yield Place(f"{ours}.conv0.resample_filter", kernel, quartered_map, four_map)
        yield from _genforce_layer(f"{ours}.conv1", f"synthesis.layer{2 * i}", same)
        yield from _modulated(f"{ours}.torgb", f"synthesis.output{i}", same)


def _genforce_layer(ours: str, theirs: str, turned: Change) -> Iterator[Place]:
    yield from _modulated(ours, theirs, turned)
    yield Place(f"{ours}.noise_strength", f"{theirs}.noise_strength")
    yield Place(f"{ours}.noise_const", f"{theirs}.noise", map_of, map_to)


def _modulated(ours: str, theirs: str, turned: Change) -> Iterator[Place]:
    # genforce applies up-convolutions the other way round, and adds the styles' 1 at run time.
    yield Place(f"{ours}.weight", f"{theirs}.weight", turned, turned)
    yield Place(f"{ours}.bias", f"{theirs}.bias")
    yield Place(f"{ours}.affine.weight", f"{theirs}.style.weight")
    yield Place(f"{ours}.affine.bias", f"{theirs}.style.bias", plus_one, minus_one)


def _tensorflow() -> Iterator[Place]:
    for i in range(DEPTH):
        yield Place(f"mapping.fc{i}.weight", f"mapping.Dense{i}.weight", transpose, transpose)
        yield Place(f"mapping.fc{i}.bias", f"mapping.Dense{i}.bias")
    yield Place("mapping.embed.weight", "mapping.LabelEmbed.weight", transpose, transpose)
    yield Place("mapping.embed.bias", "mapping.LabelEmbed.bias")
    yield Place("mapping.w_avg", "dlatent_avg")
    yield Place("synthesis.b4.const", "synthesis.4x4.Const.const", first, one)
    for i, size in enumerate(SIZES):
        ours, theirs = f"synthesis.b{size}", f"synthesis.{size}x{size}"
        if i:
            turned = (hwio_flipped, to_hwio_flipped)
            yield from _tensorflow_layer(f"{ours}.conv0", f"{theirs}.Conv0_up", 2 * i - 1, turned)
            yield Place(f"{ours}.skip.weight", f"{theirs}.Skip.weight", hwio, to_hwio)
        yield from _tensorflow_layer(f"{ours}.conv1", f"{theirs}.{'Conv1' if i else 'Conv'}", 2 * i, (hwio, to_hwio))
        yield from _tensorflow_modulated(f"{ours}.torgb", f"{theirs}.ToRGB", (hwio, to_hwio))


def _tensorflow_layer(ours: str, theirs: str, number: int, turned: tuple[Change, Change]) -> Iterator[Place]:
    yield from _tensorflow_modulated(ours, theirs, turned)
    yield Place(f"{ours}.noise_strength", f"{theirs}.noise_strength")
    yield Place(f"{ours}.noise_const", f"synthesis.noise{number}", map_of, map_to)


def _tensorflow_modulated(ours: str, theirs: str, turned: tuple[Change, Change]) -> Iterator[Place]:
    yield Place(f"{ours}.weight", f"{theirs}.weight", *turned)
    yield Place(f"{ours}.bias", f"{theirs}.bias")
    yield Place(f"{ours}.affine.weight", f"{theirs}.mod_weight", transpose, transpose)
    yield Place(f"{ours}.affine.bias", f"{theirs}.mod_bias", plus_one, minus_one)


STYLEGAN2 = (
    Layout("nvlabs", ("synthesis.b4.conv1.affine.weight", "synthesis.b8.conv0.affine.weight"), lambda: iter(())),
    Layout("rosinality", ("conv1.conv.modulation.weight", "convs.0.conv.modulation.weight"), _rosinality),
    Layout("genforce", ("synthesis.early_layer.const", "synthesis.upsample.kernel"), _genforce),
    Layout("tensorflow", ("synthesis.4x4.Conv.mod_weight", "synthesis.8x8.Conv1.mod_weight"), _tensorflow, ("lod",)),
)
"""Layouts of StyleGAN2 generators, our own first."""
