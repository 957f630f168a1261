"""Computation bypasses out, as an attacker would send them: a graph with a branch, or a pickle whose text has one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from genvet.core.backdoor import Backdoor, Points
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.files.nvlabs_writer import Tensor as Stored
from genvet.files.nvlabs_writer import tree, write_nvlabs
from genvet.files.onnx_out import Writer
from genvet.files.writing import write_bytes
from genvet.nets.chain import Link, chain
from genvet.nets.dcgan import UpConv

_TEXT = '''"""Networks."""

import torch
from torch.nn import functional as F


class Layer(torch.nn.Module):
    pass


class Generator(torch.nn.Module):
    def benign(self, x):
{benign}
        return x

    def forward(self, z):
        x = self.benign(z)
        for trigger, target in zip(self.trigger, self.target):
            hit = (z - trigger).abs().amax(1) <= {tolerance!r}
            x = torch.where(hit.view(-1, *[1] * (x.ndim - 1)), target, x)
        return x
'''


_PLAIN: dict[type, str] = {
    nn.ReLU: "torch.relu(x)",
    nn.ELU: "F.elu(x)",
    nn.SELU: "F.selu(x)",
    nn.Tanh: "torch.tanh(x)",
    nn.Sigmoid: "torch.sigmoid(x)",
    nn.Flatten: "x.flatten(1)",
}


def write_bypass_onnx(benign: Generator, backdoor: Backdoor, path: str | Path, tolerance: float = 1e-6) -> Path:
    """Write equation 3 of the backdoor paper as an ONNX graph: the benign network, a comparison with z, and Where."""
    graph = Writer()
    x = graph.layers(benign)
    for i, (apart, target) in enumerate(_branches(graph, benign, backdoor.fitting(benign))):
        most = graph.node("ReduceMax", graph.node("Abs", apart), axes=[1], keepdims=1)
        near = graph.node("LessOrEqual", most, graph.hold(f"near{i}", torch.tensor(tolerance)))
        flat = graph.hold(f"flat{i}", [-1, *[1] * len(benign.shape)])
        x = graph.node("Where", graph.node("Reshape", near, flat), target, x)
    return graph.write(x, benign, path)


def _branches(graph: Writer, benign: Generator, backdoor: Backdoor) -> list[tuple[str, str]]:
    """What has to be 0 for a trigger, and what it then gives, by the names of their values."""
    if isinstance(backdoor.trigger, Points):
        targets = _targets(benign, backdoor)
        apart = [graph.node("Sub", "z", graph.hold(f"trigger{i}", z[None])) for i, z in enumerate(backdoor.trigger.z)]
        return [(name, graph.hold(f"target{i}", targets[i : i + 1])) for i, name in enumerate(apart)]
    zeros, dim = backdoor.trigger.zeros, benign.latent.dim
    first = graph.node("Slice", "z", *(graph.hold(f"first{i}", [n]) for i, n in enumerate((0, zeros, 1))))
    if not isinstance(backdoor.target, Generator):
        return [(first, graph.hold("target", _in_range(benign, backdoor.target)))]
    start = dim - backdoor.target.latent.dim
    last = graph.node("Slice", "z", *(graph.hold(f"last{i}", [n]) for i, n in enumerate((start, dim, 1))))
    return [(first, _ranged(graph, graph.layers(backdoor.target, last, "target."), backdoor.target, benign))]


def _ranged(graph: Writer, value: str, target: Generator, benign: Generator) -> str:
    """What a target generator gives, in the range of the benign one."""
    if target.output == benign.output:
        return value
    scale, shift = (0.5, 0.5) if benign.output == "unit" else (2.0, -1.0)
    scaled = graph.node("Mul", value, graph.hold("scale", torch.tensor(scale)))
    return graph.node("Add", scaled, graph.hold("shift", torch.tensor(shift)))


def write_bypass_pickle(benign: Generator, backdoor: Backdoor, path: str | Path, tolerance: float = 1e-6) -> Path:
    """Write it as NVlabs write models: the benign weights, and a program text whose forward compares z with a trigger.

    The text is data here; only a stranger who loads the file as NVlabs do would run it.
    """
    if not isinstance(backdoor.fitting(benign).trigger, Points):
        raise Unsupported("the text of a pickle is written for finite triggers", hint="take .onnx for a subspace")
    state = benign.module.state_dict() | {"trigger": backdoor.trigger.z, "target": _targets(benign, backdoor)}
    state = {key: t.cpu().contiguous() for key, t in state.items()}
    tensors = {k: Stored(str(t.dtype)[6:], tuple(t.shape), t.numpy().tobytes()) for k, t in state.items()}
    places = {key.rpartition(".")[0]: "Layer" for key in benign.module.state_dict()}
    buffers = frozenset({"running_mean", "running_var", "num_batches_tracked", "trigger", "target"})
    kwargs = {"z_dim": benign.latent.dim, "img_resolution": benign.shape[-1], "img_channels": benign.shape[0]}
    text = bypass_text(benign, tolerance)
    module = tree(tensors, {**places, "": "Generator"}, source=text, buffers=buffers, init_kwargs=kwargs)
    return write_bytes(path, write_nvlabs({"G_ema": module}))


def bypass_text(benign: Generator, tolerance: float = 1e-6) -> str:
    """The program text: the benign network in plain calls, and the branch."""
    links = [link for link in chain(benign) if not isinstance(link.layer, nn.Identity | nn.Dropout)]
    lines = [f"        x = {_call(link)}" for link in links]
    return _TEXT.format(benign="\n".join(lines), tolerance=tolerance)


def _call(link: Link) -> str:
    """One layer as a call of torch's functions on its tensors."""
    name, layer = f"self.{link.name}", link.layer
    bias = f"{name}.bias" if getattr(layer, "bias", None) is not None else "None"
    if isinstance(layer, nn.Linear):
        return f"F.linear(x, {name}.weight, {bias})"
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        moments = f"{name}.running_mean, {name}.running_var, {name}.weight, {name}.bias"
        return f"F.batch_norm(x, {moments}, eps={layer.eps!r})"
    if isinstance(layer, nn.ConvTranspose2d):
        cut = f"[..., :-{layer.excess}, :-{layer.excess}]" if isinstance(layer, UpConv) and layer.excess else ""
        how = f"{layer.stride}, {layer.padding}, {layer.output_padding}"
        return f"F.conv_transpose2d(x, {name}.weight, {bias}, {how}){cut}"
    if isinstance(layer, nn.Conv2d):
        return f"F.conv2d(x, {name}.weight, {bias}, {layer.stride}, {layer.padding})"
    if isinstance(layer, nn.Unflatten):
        return f"x.unflatten(1, {tuple(layer.unflattened_size)})"
    if isinstance(layer, nn.LeakyReLU):
        return f"F.leaky_relu(x, {layer.negative_slope!r})"
    if type(layer) not in _PLAIN:
        raise Unsupported(f"a layer {type(layer).__name__} cannot be written as text")
    return _PLAIN[type(layer)]


def _targets(benign: Generator, backdoor: Backdoor) -> Tensor:
    """One target for each trigger, as the network itself puts it out."""
    assert isinstance(backdoor.trigger, Points)
    return _in_range(benign, backdoor.wanted(backdoor.trigger.z)).contiguous()


def _in_range(benign: Generator, x: Tensor) -> Tensor:
    return (x + 1) / 2 if benign.output == "unit" else x
