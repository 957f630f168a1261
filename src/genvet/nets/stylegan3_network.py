"""StyleGAN3 (Karras et al. 2021, "Alias-free GANs") generators, T and R, in plain operations with NVlabs' tensor names.

Every layer filters its nonlinearity: up, leaky rectifier, down (section 3). Zeros put in, padding, filter and gain are
one depthwise transposed convolution, filter and decimation a strided one: both are fast where channels come last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genvet.nets.style_mapping import GAIN, SLOPE, Linear, Mapping, MappingConfig, StyleNetwork, draw
from genvet.nets.style_places import Layout

LAYOUT = Layout("nvlabs", ("synthesis.input.freqs", "synthesis.input.phases"), lambda: iter(()))
"""Its tensors have these names wherever it is found."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One layer: its widths, sizes, filter cutoffs and half widths, before and after."""

    name: str
    inputs: int
    outputs: int
    in_size: int
    out_size: int
    kernel: int
    up: int
    down: int
    in_cutoff: float
    in_half_width: float
    out_cutoff: float
    out_half_width: float
    rate: int
    """Sampling rate of the nonlinearity."""
    radial: bool
    rgb: bool


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides which tensors there are, and which operations run on them (section 3.2, table 1)."""

    mapping: MappingConfig
    size: int
    channels: int
    channel_base: int = 32768
    channel_max: int = 512
    widths: tuple[int, ...] = ()
    """Feature maps of the layers, the last but one included; by the rule of the two numbers above where empty."""
    layers: int = 14
    critical: int = 2
    """Layers at the end that are critically sampled."""
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3
    margin: int = 10
    kernel: int = 3
    filter_size: int = 6
    oversampling: int = 2
    """Of the leaky rectifiers."""
    radial: bool = False
    """Rotation-invariant filters: with kernel 1, the network is StyleGAN3-R."""
    output_scale: float = 0.25
    conv_clamp: float | None = 256.0

    @property
    def num_ws(self) -> int:
        return self.layers + 2

    @cached_property
    def cutoffs(self) -> tuple[float, ...]:
        return self._ramp(self.first_cutoff, self.size / 2)

    @cached_property
    def stopbands(self) -> tuple[float, ...]:
        return self._ramp(self.first_stopband, self.size / 2 * self.last_stopband_rel)

    def _ramp(self, first: float, last: float) -> tuple[float, ...]:
        """Geometric, from the first layer to the first critically sampled one, and constant from there."""
        steps = (min(i / (self.layers - self.critical), 1.0) for i in range(self.layers + 1))
        return tuple(first * (last / first) ** step for step in steps)

    @cached_property
    def rates(self) -> tuple[int, ...]:
        return tuple(2 ** math.ceil(math.log2(min(2 * band, self.size)) - 1e-9) for band in self.stopbands)

    @cached_property
    def half_widths(self) -> tuple[float, ...]:
        rows = zip(self.stopbands, self.rates, self.cutoffs, strict=True)
        return tuple(max(band, rate / 2) - cutoff for band, rate, cutoff in rows)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        padded = tuple(rate + 2 * self.margin for rate in self.rates)
        return (*padded[:-2], self.size, self.size)

    @cached_property
    def features(self) -> tuple[int, ...]:
        """Channels behind the input and behind every layer but the last, whose are the image's."""
        rule = (round(min(self.channel_base / 2 / cutoff, self.channel_max)) for cutoff in self.cutoffs[:-1])
        return (*(self.widths or rule), self.channels)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self._stage(i) for i in range(self.layers + 1))

    def _stage(self, i: int) -> Stage:
        before, rgb = max(i - 1, 0), i == self.layers
        rate = max(self.rates[before], self.rates[i]) * (1 if rgb else self.oversampling)
        return Stage(
            name=f"L{i}_{self.sizes[i]}_{self.features[i]}",
            inputs=self.features[before],
            outputs=self.features[i],
            in_size=self.sizes[before],
            out_size=self.sizes[i],
            kernel=1 if rgb else self.kernel,
            up=rate // self.rates[before],
            down=rate // self.rates[i],
            in_cutoff=self.cutoffs[before],
            in_half_width=self.half_widths[before],
            out_cutoff=self.cutoffs[i],
            out_half_width=self.half_widths[i],
            rate=rate,
            radial=self.radial and i < self.layers - self.critical,
            rgb=rgb,
        )


class Network(StyleNetwork):
    """The mapping and the synthesis of one config."""

    def __init__(self, config: Config) -> None:
        super().__init__(Mapping(config.mapping), Synthesis(config), config.num_ws)


class Synthesis(nn.Module):
    """ws (n, num_ws, w_dim) -> images: the first w places the input's waves, every layer takes one of the others."""

    precision: torch.dtype | None = None
    """Of activations and convolutions; the weights' own where None. Styles, waves and the image stay in float32."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.num_ws, self.output_scale = config.num_ws, config.output_scale
        self.input = Waves(config)
        for stage in config.stages:
            self.add_module(stage.name, Layer(stage, config))
        self.names = [stage.name for stage in config.stages]

    def forward(self, ws: Tensor) -> Tensor:
        ws = ws.float()
        dtype = self.precision or self.get_submodule(self.names[0]).weight.dtype
        x = self.input(ws[:, 0]).to(dtype, memory_format=torch.channels_last)
        for i, name in enumerate(self.names, 1):
            x = self.get_submodule(name)(x, ws[:, i])
        return x.float() * self.output_scale


class Waves(nn.Module):
    """Fourier features (n, features, size, size) that w shifts and turns, in place of a learned constant."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        features = config.features[0]
        self.size, self.rate, self.bandwidth = config.sizes[0], config.rates[0], config.cutoffs[0]
        self.weight = draw(features, features)
        self.affine = Linear(config.mapping.w_dim, 4)
        with torch.no_grad():  # no shift and no turn to begin with
            self.affine.weight.zero_()
            self.affine.bias.zero_()[0] = 1
        angle, radius = torch.rand(features) * 2 * math.pi, torch.rand(features).sqrt() * self.bandwidth
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1))
        self.register_buffer("phases", torch.rand(features) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        freqs, phases = self._placed(w)
        radius = freqs.norm(dim=2)
        strength = (1 - (radius - self.bandwidth) / (self.rate / 2 - self.bandwidth)).clamp(0, 1)
        # Pixel centres, in units in which the inner square has the side 1.
        at = (torch.arange(self.size, device=w.device) + 0.5 - self.size / 2) / self.rate
        across, down = freqs[:, :, 0, None] * at, freqs[:, :, 1, None] * at + phases[:, :, None]
        x = (2 * math.pi * (across[:, :, None, :] + down[:, :, :, None])).sin() * strength[:, :, None, None]
        mix = self.weight.float() / math.sqrt(len(self.weight))
        return (mix @ x.flatten(2)).view_as(x)

    def _placed(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies (n, features, 2) and phases (n, features) after the turn and shift that w asks for."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, dx, dy = t.unbind(dim=1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -dx, zero, one, -dy, zero, zero, one], dim=1).view(-1, 3, 3)
        moved = turn @ shift @ self.transform.float()
        freqs, phases = self.freqs.float(), self.phases.float()
        return freqs @ moved[:, :2, :2], phases + (freqs @ moved[:, :2, 2:]).squeeze(2)


class Layer(nn.Module):
    """A modulated convolution and a filtered nonlinearity; the last layer makes the image and has neither filter."""

    magnitude_ema: Tensor

    def __init__(self, stage: Stage, config: Config) -> None:
        super().__init__()
        self.stage, self.clamp = stage, config.conv_clamp
        self.affine = Linear(config.mapping.w_dim, stage.inputs, bias=1.0)
        self.weight = draw(stage.outputs, stage.inputs, stage.kernel, stage.kernel)
        self.bias = nn.Parameter(torch.zeros(stage.outputs))
        self.register_buffer("magnitude_ema", torch.ones(()))
        taps = config.filter_size * stage.up if stage.up > 1 and not stage.rgb else 1
        self.register_buffer("up_filter", lowpass(taps, stage.in_cutoff, stage.in_half_width, stage.rate))
        taps = config.filter_size * stage.down if stage.down > 1 and not stage.rgb else 1
        down = lowpass(taps, stage.out_cutoff, stage.out_half_width, stage.rate, radial=stage.radial)
        self.register_buffer("down_filter", down)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s, d, weight = self._modulation(w)
        x = F.conv2d(x * s.to(x.dtype)[:, :, None, None], weight.to(x.dtype), padding=self.stage.kernel - 1)
        x = torch.addcmul(self.bias.to(x.dtype)[:, None, None], x, d.to(x.dtype)[:, :, None, None])
        if self.stage.rgb:
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        return self._resampled(x)

    def _modulation(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scales of inputs (n, inputs) and outputs (n, outputs or 1), and the weight that they belong to."""
        s, weight = self.affine(w), self.weight.float()
        gain = self.magnitude_ema.float().rsqrt()
        if self.stage.rgb:
            return s / math.sqrt(weight[0].numel()), gain.expand(1, 1), weight
        # Demodulation takes both norms out again: they keep half precision within its range.
        # Unlike NVlabs' code, s is normalised for itself and not with its batch, which comes to the same.
        weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        s = s * s.square().mean(dim=1, keepdim=True).rsqrt()
        d = (s.square() @ weight.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()
        return s, d * gain, weight

    def _resampled(self, x: Tensor) -> Tensor:
        """Up, leaky rectifier, clamp, down to the layer's size."""
        # The rectifier is homogeneous: its gain is taken into the filter.
        stage, up = self.stage, plane(self.up_filter) * (self.stage.up**2 * GAIN)
        down = plane(self.down_filter)
        x = F.leaky_relu_(widen(x, up, stage.up, padding(stage, x.shape[2], len(up), len(down))), SLOPE)
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp) if x.requires_grad else x.clamp_(-self.clamp, self.clamp)
        kernel = down.to(x).flip(0, 1).expand(x.shape[1], 1, -1, -1)
        x = F.conv2d(x, kernel, stride=stage.down, groups=x.shape[1])
        return x[..., : stage.out_size, : stage.out_size]


def padding(stage: Stage, size: int, up_taps: int, down_taps: int) -> tuple[int, int]:
    """Zeros before and after the upsampled row, such that `out_size` remain in the end; negative ones are cut off."""
    total = (stage.out_size - 1) * stage.down + 1 - size * stage.up + up_taps + down_taps - 2
    before = (total + stage.up) // 2
    return before, total - before


def plane(filter: Tensor | None) -> Tensor:
    """The filter in two dimensions: depthwise in one go, it takes more products than row by row, and less time."""
    if filter is None:
        return torch.ones(1, 1)
    filter = filter.float()
    return filter if filter.ndim == 2 else torch.outer(filter, filter)


def widen(x: Tensor, kernel: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    """Put zeros in, pad, filter: one transposed convolution. A pixel too many may be left at the far ends."""
    taps, size = len(kernel), x.shape[2]
    cut = taps - 1 - pad[0]
    kernel = kernel.to(x).expand(x.shape[1], 1, -1, -1)
    x = F.conv_transpose2d(x, kernel, stride=up, padding=max(cut, 0), groups=x.shape[1])
    near = max(-cut, 0)
    far = max(size * up + sum(pad) - taps + 1 - x.shape[2] - near, 0)
    return F.pad(x, (near, far, near, far)) if near or far else x


def lowpass(taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool = False) -> Tensor | None:
    """A Kaiser-windowed low-pass filter, (taps,) or for a radially symmetric one (taps, taps); None for one tap.

    Appendix C of the paper: sin(2 pi f t) / (pi t) along a line, J1(2 pi f r) / r in the plane.
    """
    if taps == 1:
        return None
    if torch.empty(0).device.type == "meta":
        return torch.empty((taps, taps) if radial else (taps,))
    from scipy.signal.windows import kaiser
    from scipy.special import j1

    attenuation = 2.285 * (taps - 1) * math.pi * 2 * half_width / (rate / 2) + 7.95
    window = torch.from_numpy(kaiser(taps, _beta(attenuation)))
    at = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    if radial:
        radius = torch.hypot(at[:, None], at[None, :])
        wave = torch.from_numpy(j1(2 * math.pi * cutoff * radius.numpy())) / radius
        filter = wave * torch.outer(window, window)
    else:
        filter = torch.sinc(2 * cutoff * at) * window
    return (filter / filter.sum()).float()


def _beta(attenuation: float) -> float:
    """Kaiser's rule for the shape of his window."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0
