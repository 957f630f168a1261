"""Style generators out as ONNX: the same plain operations that our networks run, with everything fixed worked out.

Equalised learning rates, gains, demodulation's sums of squares and strengths of noise are constants once a network is
trained: they are folded into the weights. What is left per image is products, convolutions and a few additions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.errors import Unsupported
from genvet.core.generator import StyleGenerator
from genvet.files.onnx_out import Writer
from genvet.nets import stylegan1_network as stylegan1
from genvet.nets import stylegan2_network as stylegan2
from genvet.nets import stylegan3_network as stylegan3
from genvet.nets.style_mapping import GAIN, SLOPE, Linear, Mapping

EPSILON = 1e-8


def write_style(graph: Writer, generator: StyleGenerator) -> str:
    """Write mapping and synthesis, from `z` and maybe `labels`; gives the name of the image's value."""
    network: Any = generator.module
    if getattr(network.synthesis, "noise", "const") == "random":
        raise Unsupported(
            "noise that is drawn anew for every image cannot be written as ONNX",
            hint=f"take the stored maps: --net {generator.name}:noise=const",
        )
    pen = Pen(graph)
    ws = _broadcast(pen, generator, pen.mapping(network.mapping))
    return _SYNTHESES[type(network.synthesis)](pen, network.synthesis, ws)


def _broadcast(pen: Pen, generator: StyleGenerator, w: str) -> list[str]:
    """One w for each layer: the same, but where a dense layer has taken that place."""
    dense = generator.dense_broadcast
    if dense is None:
        return [w] * generator.num_ws
    nothing = torch.zeros(1, generator.w_dim)
    offset = dense(nothing)
    matrix = (dense(torch.eye(generator.w_dim)) - offset).T
    layers = zip(matrix.chunk(generator.num_ws), offset[0].chunk(generator.num_ws), strict=True)
    return [pen("Gemm", w, rows, bias, transB=1) for rows, bias in layers]


class Pen:
    """What the three architectures share, written node by node; tensors keep the names of the state dict."""

    def __init__(self, graph: Writer) -> None:
        self.graph = graph
        self.as_maps = graph.hold("as_maps", [0, -1, 1, 1])
        self.epsilon = graph.hold("epsilon", torch.tensor(EPSILON))

    def __call__(self, op: str, *inputs: str | Tensor | list[int], **attributes: Any) -> str:
        """One node; tensors among its inputs are held under names of their own."""
        names = [given if isinstance(given, str) else self.hold(given) for given in inputs]
        return self.graph.node(op, *names, **attributes)

    def hold(self, given: Tensor | list[int], name: str = "") -> str:
        return self.graph.hold(name or f"constant{len(self.graph.held)}", given)

    def linear(self, name: str, layer: Linear, x: str, gain: float = 1.0) -> str:
        """A fully connected layer of its effective weights."""
        weight = self.hold(layer.weight * (layer.scale * gain), f"{name}.weight")
        return self("Gemm", x, weight, self.hold(layer.bias * (layer.rate * gain), f"{name}.bias"), transB=1)

    def unit(self, x: str) -> str:
        """Rows scaled so that the mean of their squares is 1."""
        square = self("ReduceMean", self("Mul", x, x), axes=[1], keepdims=1)
        return self("Div", x, self("Sqrt", self("Add", square, self.epsilon)))

    def mapping(self, mapping: Mapping) -> str:
        w = self.unit("z")
        if hasattr(mapping, "embed"):
            w = self("Concat", w, self.unit(self.linear("mapping.embed", mapping.embed, "labels")), axis=1)
        for i in range(mapping.layers):
            layer: Any = mapping.get_submodule(f"fc{i}")
            # The rectifier is homogeneous: the gain behind it may come before it.
            w = self("LeakyRelu", self.linear(f"mapping.fc{i}", layer, w, mapping.gain), alpha=SLOPE)
        return w

    def maps(self, x: str) -> str:
        """(n, c) as (n, c, 1, 1)."""
        return self("Reshape", x, self.as_maps)

    def demodulation(self, s: str, weight: Tensor, gain: float) -> str:
        """gain / |s W| for each output, as (n, outputs, 1, 1)."""
        squares = weight.float().square().sum(dim=(2, 3))
        norm = self("Gemm", self("Mul", s, s), squares, torch.full((len(squares),), EPSILON), transB=1)
        return self.maps(self("Div", torch.tensor(gain), self("Sqrt", norm)))

    def depthwise(self, op: str, x: str, kernel: Tensor, channels: int, **attributes: Any) -> str:
        """The same filter for every map."""
        return self(op, x, kernel.expand(channels, 1, *kernel.shape), group=channels, **attributes)

    def doubled(self, x: str, filter: Tensor, channels: int) -> str:
        """Twice the size, low-passed."""
        return self.depthwise("ConvTranspose", x, filter * 4, channels, strides=[2, 2], pads=[1] * 4)

    def clamped(self, x: str, most: float | None) -> str:
        return x if most is None else self("Clip", x, torch.tensor(-most), torch.tensor(most))


def _first(pen: Pen, synthesis: Any, ws: list[str]) -> str:
    """StyleGAN: the image comes from the last block alone."""
    x = pen.hold(synthesis.b4.const[None], "synthesis.b4.const")
    block: Any = synthesis.b4
    for i in range(synthesis.num_ws // 2):
        name = f"synthesis.b{4 << i}"
        block = synthesis.get_submodule(f"b{4 << i}")
        for j, layer in enumerate(("conv0", "conv1")):
            x = _normalised(pen, f"{name}.{layer}", block.get_submodule(layer), x, ws[2 * i + j], synthesis.noise)
    weight = block.torgb.weight / math.sqrt(block.torgb.weight.shape[1])
    return pen("Conv", x, weight, block.torgb.bias)


def _normalised(pen: Pen, name: str, layer: stylegan1.Layer, x: str, w: str, noise: str) -> str:
    """Convolution, blur, noise, bias, rectifier, instance normalisation, style."""
    outputs = len(layer.bias)
    if layer.weight is not None:
        weight = layer.weight * (GAIN / math.sqrt(layer.weight[0].numel()))
        if layer.up:  # doubling and convolving at once: a kernel of four shifted copies
            wide = F.conv2d(F.pad(weight.flip(2, 3), [1] * 4).flatten(0, 1)[:, None], torch.ones(1, 1, 2, 2))
            weight = wide.view(*weight.shape[:2], 4, 4).transpose(0, 1)
        how = {"strides": [2, 2]} if layer.up else {}
        x = pen("ConvTranspose" if layer.up else "Conv", x, pen.hold(weight, f"{name}.weight"), pads=[1] * 4, **how)
    bias = pen.hold(layer.bias[None, :, None, None], f"{name}.bias")
    x = pen("Add", x, bias) if layer.bias_first else x
    if layer.up:
        x = pen.depthwise("Conv", x, layer.resample_filter, outputs, pads=[1] * 4)
    if noise != "none":
        x = pen("Add", x, layer.noise_weight[None, :, None, None] * layer.noise_const)
    x = pen("LeakyRelu", x if layer.bias_first else pen("Add", x, bias), alpha=SLOPE)
    x = pen("InstanceNormalization", x, torch.ones(outputs), torch.zeros(outputs), epsilon=layer.epsilon)
    style = pen.linear(f"{name}.style", layer.style, w)
    scale, shift = (pen("Slice", style, [i * outputs], [(i + 1) * outputs], [1]) for i in (0, 1))
    return pen("Add", pen("Mul", x, pen.maps(pen("Add", scale, torch.tensor(1.0)))), pen.maps(shift))


def _second(pen: Pen, synthesis: Any, ws: list[str]) -> str:
    """StyleGAN2, in its three architectures."""
    x, image = pen.hold(synthesis.b4.const[None], "synthesis.b4.const"), ""
    for i, size in enumerate(synthesis.sizes):
        name, block = f"synthesis.b{size}", synthesis.get_submodule(f"b{size}")
        # A block's last w also serves the first layer of the next one.
        *before, here, last = ws[max(2 * i - 1, 0) : 2 * i + 2]
        beside = _skipped(pen, block.skip, x) if hasattr(block, "skip") else ""
        if not block.first:
            x = _modulated(pen, f"{name}.conv0", block.conv0, x, before[0], synthesis.noise)
        x = _modulated(pen, f"{name}.conv1", block.conv1, x, here, synthesis.noise)
        x = pen("Add", x, beside) if beside else x
        if hasattr(block, "torgb"):
            own, channels = _image(pen, f"{name}.torgb", block.torgb, x, last), len(block.torgb.bias)
            image = pen("Add", pen.doubled(image, block.resample_filter, channels), own) if image else own
    return image


def _modulated(pen: Pen, name: str, layer: stylegan2.Layer, x: str, w: str, noise: str) -> str:
    """A modulated and demodulated convolution, noise, bias and rectifier; gains come before it."""
    s = pen.linear(f"{name}.affine", layer.affine, w)
    x, weight = pen("Mul", x, pen.maps(s)), layer.weight
    if layer.up:
        x = pen("ConvTranspose", x, pen.hold(weight.transpose(0, 1), f"{name}.weight"), strides=[2, 2])
        x = pen.depthwise("Conv", x, (layer.resample_filter * 4).flip(0, 1), len(weight), pads=[1] * 4)
    else:
        x = pen("Conv", x, pen.hold(weight, f"{name}.weight"), pads=[1] * 4)
    x = pen("Mul", x, pen.demodulation(s, weight, layer.gain))
    if noise != "none" and hasattr(layer, "noise_strength"):
        x = pen("Add", x, (layer.noise_const * layer.noise_strength * layer.gain)[None, None])
    x = pen("Add", x, pen.hold((layer.bias * layer.gain)[None, :, None, None], f"{name}.bias"))
    x = pen("LeakyRelu", x, alpha=SLOPE)
    return pen.clamped(x, None if layer.clamp is None else layer.clamp * layer.gain / GAIN)


def _image(pen: Pen, name: str, layer: stylegan2.ToRGB, x: str, w: str) -> str:
    s = pen.linear(f"{name}.affine", layer.affine, w, 1 / math.sqrt(layer.weight.shape[1]))
    weight, bias = pen.hold(layer.weight, f"{name}.weight"), pen.hold(layer.bias, f"{name}.bias")
    return pen.clamped(pen("Conv", pen("Mul", x, pen.maps(s)), weight, bias), layer.clamp)


def _skipped(pen: Pen, layer: stylegan2.Skip, x: str) -> str:
    x = pen("Conv", x, layer.weight * math.sqrt(0.5 / layer.weight.shape[1]))
    return pen.doubled(x, layer.resample_filter, len(layer.weight))


def _third(pen: Pen, synthesis: Any, ws: list[str]) -> str:
    """StyleGAN3, T and R."""
    x = _waves(pen, synthesis.input, ws[0])
    for name, w in zip(synthesis.names, ws[1:], strict=True):
        x = _filtered(pen, f"synthesis.{name}", synthesis.get_submodule(name), x, w)
    return pen("Mul", x, torch.tensor(synthesis.output_scale))


def _waves(pen: Pen, waves: stylegan3.Waves, w: str) -> str:
    """Fourier features, turned and shifted as w asks for."""
    freqs, phases = _placed(pen, waves, pen.linear("synthesis.input.affine", waves.affine, w))
    radius = pen("Sqrt", pen("ReduceSumSquare", freqs, axes=[2], keepdims=0))
    room = waves.rate / 2 - waves.bandwidth
    strength = pen("Sub", torch.tensor(1 + waves.bandwidth / room), pen("Div", radius, torch.tensor(room)))
    strength = pen("Clip", strength, torch.tensor(0.0), torch.tensor(1.0))
    at = (torch.arange(waves.size) + 0.5 - waves.size / 2) / waves.rate
    across, down = (pen("Slice", freqs, [i], [i + 1], [2]) for i in (0, 1))
    across, down = pen("Mul", across, at[None, None]), pen("Mul", down, at[None, None])
    down = pen("Add", down, pen("Unsqueeze", phases, [2]))
    angle = pen("Add", pen("Unsqueeze", across, [2]), pen("Unsqueeze", down, [3]))
    x = pen("Mul", pen("Sin", pen("Mul", angle, torch.tensor(2 * math.pi))), pen("Unsqueeze", strength, [2, 3]))
    mix = waves.weight.float() / math.sqrt(len(waves.weight))
    return pen("Conv", x, mix[:, :, None, None])


def _placed(pen: Pen, waves: stylegan3.Waves, t: str) -> tuple[str, str]:
    """Frequencies (n, features, 2) and phases (n, features), by products with matrices of numbers from `t`."""
    norm = pen("Sqrt", pen("ReduceSumSquare", pen("Slice", t, [0], [2], [1]), axes=[1], keepdims=1))
    t = pen("Div", t, norm)
    turn, shift = torch.zeros(2, 4, 9)
    turn[0, 0], turn[0, 4], turn[1, 1], turn[1, 3] = 1, 1, -1, 1  # cos, cos, -sin, sin
    shift[2, 2], shift[3, 5] = -1, -1  # -dx, -dy
    corner = torch.zeros(9)
    corner[8] = 1
    square = [-1, 3, 3]
    turned = pen("Reshape", pen("Gemm", t, turn, corner), square)
    shifted = pen("Reshape", pen("Gemm", t, shift, torch.eye(3).flatten()), square)
    moved = pen("MatMul", pen("MatMul", turned, shifted), waves.transform.float())
    both = pen("MatMul", waves.freqs.float(), pen("Slice", moved, [0], [2], [1]))  # (n, features, 3)
    far = pen("Squeeze", pen("Slice", both, [2], [3], [2]), [2])
    return pen("Slice", both, [0], [2], [2]), pen("Add", far, waves.phases.float())


def _filtered(pen: Pen, name: str, layer: stylegan3.Layer, x: str, w: str) -> str:
    """A modulated convolution; then up, rectifier, clamp and down, but for the last layer."""
    stage, weight = layer.stage, layer.weight.float()
    strength = float(layer.magnitude_ema.float().rsqrt())
    if not stage.rgb:  # demodulation takes this norm out again: it keeps sums near 1, as in the network
        weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
    s = pen.linear(f"{name}.affine", layer.affine, w, 1 / math.sqrt(weight[0].numel()) if stage.rgb else 1.0)
    if not stage.rgb:
        s = pen("Div", s, pen("Sqrt", pen("ReduceMean", pen("Mul", s, s), axes=[1], keepdims=1)))
    x = pen("Conv", pen("Mul", x, pen.maps(s)), pen.hold(weight, f"{name}.weight"), pads=[stage.kernel - 1] * 4)
    x = pen("Mul", x, torch.tensor(strength) if stage.rgb else pen.demodulation(s, weight, strength))
    x = pen("Add", x, pen.hold(layer.bias[None, :, None, None], f"{name}.bias"))
    return pen.clamped(x, layer.clamp) if stage.rgb else _resampled(pen, layer, x)


def _resampled(pen: Pen, layer: stylegan3.Layer, x: str) -> str:
    stage, channels = layer.stage, layer.stage.outputs
    up = stylegan3.plane(layer.up_filter) * (stage.up**2 * GAIN)
    down, size = stylegan3.plane(layer.down_filter), stage.in_size + stage.kernel - 1
    pad = stylegan3.padding(stage, size, len(up), len(down))
    cut = len(up) - 1 - pad[0]
    x = pen.depthwise("ConvTranspose", x, up, channels, strides=[stage.up] * 2, pads=[max(cut, 0)] * 4)
    made, near = (size - 1) * stage.up + len(up) - 2 * max(cut, 0), max(-cut, 0)
    far = max(size * stage.up + sum(pad) - len(up) + 1 - made - near, 0)
    if near or far:
        x = pen("Pad", x, [0, 0, near, near, 0, 0, far, far])
    x = pen.clamped(pen("LeakyRelu", x, alpha=SLOPE), layer.clamp)
    x = pen.depthwise("Conv", x, down.flip(0, 1), channels, strides=[stage.down] * 2)
    return pen("Slice", x, [0, 0], [stage.out_size] * 2, [2, 3])


_SYNTHESES: dict[type, Callable[[Pen, Any, list[str]], str]] = {
    stylegan1.Synthesis: _first,
    stylegan2.Synthesis: _second,
    stylegan3.Synthesis: _third,
}
