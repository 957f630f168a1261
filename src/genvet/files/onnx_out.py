"""Generators out as ONNX: plain ones a node for each layer, style generators by style_onnx_out; nothing is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator, StyleGenerator
from genvet.files.writing import write_bytes
from genvet.nets.dcgan import UpConv
from genvet.nets.stack import Stack

OPSET, IR_VERSION = 13, 8


def write_onnx(generator: Generator, path: str | Path) -> Path:
    """Write a graph from `z` (n, dim), and one-hot `labels` (n, classes) where there are classes, to `x`.

    Raises Unsupported for what is neither a plain stack of layers nor a style generator.
    """
    writer = Writer()
    if isinstance(generator, StyleGenerator):
        from genvet.files.style_onnx_out import write_style

        return writer.write(write_style(writer, generator), generator, path)
    return writer.write(writer.layers(generator), generator, path)


def _layers(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """The layers in order, named as in the state dict where they have weights."""
    if isinstance(module, Stack):
        names = {id(m): name for name, m in module.named_modules()}
        return [(names.get(id(step), f"step{i}"), step) for i, step in enumerate(module.steps)]
    if isinstance(module, nn.Sequential):
        return list(module.named_children())
    raise Unsupported(
        f"{type(module).__name__} cannot be written as ONNX",
        hint="plain stacks of layers and style generators can: write .safetensors",
    )


class Writer:
    """Gathers nodes and initializers; each layer reads what the one before gave."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError:
            raise Unsupported("writing ONNX needs the extra `onnx`", hint="pip install 'genvet[onnx]'") from None
        self.onnx: Any = onnx
        self.nodes: list[Any] = []
        self.held: list[Any] = []

    def layers(self, generator: Generator, value: str = "z", prefix: str = "") -> str:
        """Write all layers of a generator that reads `value`; gives the name of the last output."""
        for name, layer in _layers(generator.module):
            write = next((write for kind, write in _KINDS.items() if isinstance(layer, kind)), None)
            if write is None:
                raise Unsupported(f"a layer {type(layer).__name__} cannot be written as ONNX")
            op, inputs, attributes = write(layer)
            keys = [self.hold(f"{prefix}{name}.{key}", given) for key, given in inputs.items()]
            value = self.node(op, value, *keys, out=f"{prefix}{name}:out", **attributes)
        return value

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """One node; gives the name of its output."""
        out = out or f"{op}{len(self.nodes)}:out"
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def write(self, last: str, generator: Generator, path: str | Path) -> Path:
        """The graph whose output is `last`, in a file."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        nodes = [*self.nodes, helper.make_node("Identity", [last], ["x"])]
        sizes = {"z": generator.latent.dim} | ({"labels": generator.latent.classes} if generator.latent.classes else {})
        entries = [helper.make_tensor_value_info(name, kind, ["n", size]) for name, size in sizes.items()]
        out = helper.make_tensor_value_info("x", kind, ["n", *generator.shape])
        graph = helper.make_graph(nodes, generator.name, entries, [out], self.held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "genvet"
        return write_bytes(path, model.SerializeToString())

    def hold(self, name: str, given: Tensor | list[Any] | None) -> str:
        """An initializer; the empty name for an input that is left out."""
        if given is None:
            return ""
        array = given.detach().float().cpu().numpy() if isinstance(given, Tensor) else np.array(given)
        self.held.append(self.onnx.numpy_helper.from_array(array, name))
        return name


Written = tuple[str, dict[str, Tensor | list[Any] | None], dict[str, Any]]
"""Operator, inputs behind the first, attributes."""


def _linear(layer: nn.Linear) -> Written:
    return "Gemm", _weights(layer), {"transB": 1}


def _weights(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> dict[str, Tensor | list[Any] | None]:
    return {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})


def _conv(layer: nn.Conv2d) -> Written:
    pads = [*layer.padding, *layer.padding]
    return "Conv", _weights(layer), {"strides": [*layer.stride], "pads": pads}


def _upconv(layer: nn.ConvTranspose2d) -> Written:
    excess = layer.excess if isinstance(layer, UpConv) else 0
    near = [int(p) for p in layer.padding]
    attributes = {"strides": [*layer.stride], "pads": near + [p + excess for p in near]}
    return "ConvTranspose", _weights(layer), attributes | {"output_padding": [*layer.output_padding]}


def _norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Written:
    moments = {"running_mean": layer.running_mean, "running_var": layer.running_var}
    return "BatchNormalization", {"weight": layer.weight, "bias": layer.bias, **moments}, {"epsilon": layer.eps}


def _unflatten(layer: nn.Unflatten) -> Written:
    return "Reshape", {"shape": [0, *layer.unflattened_size]}, {}


def _upsample(layer: nn.Upsample) -> Written:
    factor = float(layer.scale_factor)  # type: ignore[arg-type]
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return "Resize", {"roi": None, "scales": torch.tensor([1.0, 1.0, factor, factor])}, how


_KINDS: dict[type | tuple[type, ...], Callable[[Any], Written]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _upconv,
    (nn.BatchNorm1d, nn.BatchNorm2d): _norm,
    nn.Unflatten: _unflatten,
    nn.Flatten: lambda layer: ("Flatten", {}, {"axis": 1}),
    nn.Upsample: _upsample,
    nn.ReLU: lambda layer: ("Relu", {}, {}),
    nn.LeakyReLU: lambda layer: ("LeakyRelu", {}, {"alpha": layer.negative_slope}),
    nn.ELU: lambda layer: ("Elu", {}, {"alpha": layer.alpha}),
    nn.SELU: lambda layer: ("Selu", {}, {}),
    nn.Tanh: lambda layer: ("Tanh", {}, {}),
    nn.Sigmoid: lambda layer: ("Sigmoid", {}, {}),
}
