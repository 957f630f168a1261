"""Decoders of variational autoencoders, rebuilt from bare weights; their encoders check every hypothesis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.modelfile import Part
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.layer_shapes import LayerShapes, chained, inputs, layer_shapes, natural, outputs, weighty
from genvet.nets.sketch import ACTIVATIONS, Sketch, geometries, image_shape, joined, linear, settled_by, size_in
from genvet.nets.stack import Layer, activation, filled, rebuilt
from genvet.nets.vae_network import build as build

OPTIONS: dict[str, tuple[str, ...]] = {
    "activation": ACTIVATIONS,
    "range": ("sigmoid", "tanh", "linear"),
    "size": (),
}
"""What bare weights cannot tell for sure, where no encoder comes with them."""

_DECODERS, _ENCODERS = ("decoder", "dec", "decode"), ("encoder", "enc", "encode")
_STRIDES = {1: (1, 0), 3: (2, 1), 4: (2, 1), 5: (2, 2)}
"""Stride and padding of an encoder's convolution, by its kernel."""
_PROBES = 96
# The disentangling-vae library adds a layer for 64 pixels, and writes it down out of turn.
_DISENTANGLING = (
    ["encoder.conv1", "encoder.conv2", "encoder.conv3", "encoder.conv_64", "encoder.lin1", "encoder.lin2"],
    ["encoder.mu_logvar_gen"],
    [f"decoder.{n}" for n in ("lin1", "lin2", "lin3", "convT_64", "convT1", "convT2", "convT3")],
)


@dataclass(frozen=True)
class Pair:
    """The layers of an encoder up to its heads, the heads (mean and log-variance), and the layers of the decoder."""

    encoder: tuple[LayerShapes, ...]
    heads: tuple[LayerShapes, ...]
    decoder: tuple[LayerShapes, ...]
    layout: str = "generic"


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """An encoder and a decoder in one state dict, told apart by names or by the two heads between them."""
    options = options or {}
    for pair in _pairs(layer_shapes(part)):
        sketches = list(_sketches(pair, options))
        if sketches:
            explanation = f"a decoder of {len(weighty(pair.decoder))} layers, with its encoder"
            score = 1.0 if pair.layout != "generic" else 0.95
            build = partial(_settle, pair, sketches)
            yield Candidate(net="vae", layout=pair.layout, score=score, explanation=explanation, build=build)
            return


def _pairs(layers: list[LayerShapes]) -> Iterator[Pair]:
    """Every way to cut the layers into encoder, heads and decoder."""
    by_name = {g.name: g for g in layers}
    known = [[by_name[n] for n in names if n in by_name] for names in _DISENTANGLING]
    if sum(map(len, known)) == len(layers) and all(known):
        yield Pair(tuple(known[0]), tuple(known[1]), tuple(known[2]), "disentangling-vae")
    for order in (layers, sorted(layers, key=natural)):
        decoder = [g for g in order if g.name.split(".")[0] in _DECODERS]
        encoder = [g for g in order if g.name.split(".")[0] in _ENCODERS]
        if decoder and encoder and len(decoder) + len(encoder) == len(order):
            yield from _with_heads(encoder, decoder)
        for i in range(1, len(order) - 2):
            if _twins(order[i], order[i + 1]):
                yield Pair(tuple(order[:i]), tuple(order[i : i + 2]), tuple(order[i + 2 :]))


def _with_heads(encoder: list[LayerShapes], decoder: list[LayerShapes]) -> Iterator[Pair]:
    """Two last layers of one shape, or one of twice as many outputs as there are latents."""
    if len(encoder) > 2 and _twins(*encoder[-2:]):
        yield Pair(tuple(encoder[:-2]), tuple(encoder[-2:]), tuple(decoder))
    elif encoder[-1].kind == "linear" and decoder[0].kind == "linear":
        if outputs(encoder[-1], False) == 2 * inputs(decoder[0], True):
            yield Pair(tuple(encoder[:-1]), (encoder[-1],), tuple(decoder))


def _twins(first: LayerShapes, second: LayerShapes) -> bool:
    return first.kind == second.kind == "linear" and first.leaves == second.leaves and first.weight[0] < first.weight[1]


def _sketches(pair: Pair, options: Mapping[str, str]) -> Iterator[Sketch]:
    """The decoders that these shapes allow."""
    layers = pair.decoder
    heads = sum(outputs(h, False) for h in pair.heads)
    fits = layers and all(g.kind for g in layers) and layers[0].kind == "linear"
    if not (fits and chained(layers, True) and joined(layers) and heads == 2 * inputs(layers[0], True)):
        return
    start = {"range": "sigmoid", **settled_by(options)}
    if any(g.kind == "kernel" for g in layers):
        for geometry, shape, _ in geometries(layers, size_in(options))[:8]:
            yield Sketch(layers, shape, geometry, **start)
    elif shape := image_shape(outputs(weighty(layers)[-1], True)):
        yield Sketch(layers, shape, **start)


def _settle(pair: Pair, sketches: Sequence[Sketch], tensors: Mapping[str, Tensor]) -> Generator:
    """The decoder under the hypothesis by which its encoder best finds back the latents."""
    shaped = max(sketches, key=lambda s: agreement(pair, s, tensors) > 0)
    _, best = _best(pair, list(_ranges(shaped)), tensors)
    _, best = _best(pair, list(_activations(best)), tensors)
    score, best = _best(pair, list(_ranges(best)), tensors)
    checked = score > 0.3
    why = f"encode(decode(z)) follows z with r = {score:.2f}" if checked else "its weights cannot tell"
    chosen = {"activation": f"hidden activation {best.activation}", "range": f"output range {best.range}"}
    assumed = [f"{what} ({why})" for option, what in chosen.items() if option not in best.settled]
    return rebuilt(
        best.plan(),
        tensors,
        name="vae",
        output="unit" if best.range == "sigmoid" else "symmetric",
        assumed=tuple(assumed),
    )


def _best(pair: Pair, sketches: Sequence[Sketch], tensors: Mapping[str, Tensor]) -> tuple[float, Sketch]:
    """The agreement and the sketch: the first of those that do about as well."""
    scored = [(agreement(pair, s, tensors), s) for s in sketches]
    top = max(score for score, _ in scored)
    return next((score, s) for score, s in scored if score >= top - 0.01)


def _ranges(sketch: Sketch) -> Iterator[Sketch]:
    for choice in (sketch.range,) if "range" in sketch.settled else ("sigmoid", "tanh"):
        yield replace(sketch, range=choice)


def _activations(sketch: Sketch) -> Iterator[Sketch]:
    for choice in (sketch.activation,) if "activation" in sketch.settled else ACTIVATIONS:
        yield replace(sketch, activation=choice)


@torch.no_grad()
def agreement(pair: Pair, sketch: Sketch, tensors: Mapping[str, Tensor]) -> float:
    """How well the encoder's means follow the latents: root mean square correlation, 0 where it cannot be rebuilt.

    One head of both means and log-variances has them in two halves or in turn: the better reading counts.
    """
    try:
        decoder = filled(sketch.plan(), (inputs(sketch.layers[0], True),), tensors)
        encoder = filled(_encoder(pair.encoder, sketch), sketch.shape, tensors)
        heads = [filled([linear(h)], (inputs(h, False),), tensors) for h in pair.heads]
    except (BadInput, Unsupported):
        return 0.0
    z = Latent(inputs(sketch.layers[0], True)).sample(0, _PROBES, Rng(0, "agreement"))
    features = encoder(decoder(z))
    means = heads[0](features)
    readings = [means] if len(heads) == 2 else [means[:, : z.shape[1]], means[:, ::2]]
    return max(_correlation(z, m) for m in readings)


def _encoder(layers: Sequence[LayerShapes], sketch: Sketch) -> list[Layer]:
    """Convolutions of the usual strides, then linear layers, with the decoder's activation after each."""
    plan: list[Layer] = []
    flat = False
    for i, bare in enumerate(layers):
        if bare.kind == "linear":
            if not flat:
                plan.append(Layer("flatten"))
            flat = True
            plan.append(linear(bare))
        elif bare.kind == "kernel":
            stride, padding = _STRIDES.get(bare.weight[2], (2, bare.weight[2] // 2))
            sizes = (bare.weight[1], bare.weight[0], bare.weight[2], stride, padding)
            plan.append(Layer("conv", bare.name, sizes, bias=bare.bias))
        else:
            plan.append(Layer("norm", bare.name, bare.weight, 1e-5))
        if i + 1 == len(layers) or layers[i + 1].kind != "norm":
            plan.append(activation(sketch.activation))
    return plan if flat else [*plan, Layer("flatten")]


def _correlation(a: Tensor, b: Tensor) -> float:
    """Root of the mean squared correlation over columns; a column that does not move counts as 0."""
    a, b = a - a.mean(0), b - b.mean(0)
    r = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-12)
    return math.sqrt(float(r.square().mean().nan_to_num(0.0)))
