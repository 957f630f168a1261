"""ONNX graphs as generators: which latent goes in, which image comes out, and in which range."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator, Output
from genvet.core.latent import Distribution, Latent
from genvet.core.modelfile import Evidence, Graph, Node, Part
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.nets.candidate import Candidate
from genvet.nets.matching import fill
from genvet.nets.onnx_network import OnnxNetwork, entries, holds, read, written
from genvet.nets.sketch import image_shape

OPTIONS: dict[str, tuple[str, ...]] = {"range": ("tanh", "sigmoid", "linear"), "prior": ("normal", "uniform")}
"""What a graph need not tell."""
MOST_CHANNELS = 16
RNG = Rng(0, "onnx")
"""Of the latents that a graph is tried out with."""
_THROUGH = ("Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Cast", "Slice", "Dropout")
"""Operators that leave every value as it is."""


def hypotheses(part: Part, options: Mapping[str, str] | None = None) -> Iterator[Candidate]:
    """The graph itself, where it has one; whether it is a generator shows when it is built."""
    if part.graph is None:
        return
    unused = [key for key in part.tensors if key not in holds(part.graph, _specs(part))]
    yield Candidate(
        net="onnx",
        layout="onnx",
        score=1.0,
        explanation=f"a graph of {len(part.graph.nodes)} nodes, operator set {part.graph.opset}",
        differences=tuple(
            Evidence(rule="rebuild.extra", message=f"no node reads {printable(key)}", place=printable(part.name))
            for key in unused[:100]
        ),
        build=partial(_build, part, dict(options or {})),
    )


def _specs(part: Part) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {key: (spec.dtype, tuple(spec.shape)) for key, spec in part.tensors.items()}


def _build(part: Part, options: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Generator:
    """The graph with its tensors, after a dry run has shown that it maps vectors to images."""
    graph = part.graph
    assert graph is not None
    batch, *entry = _entry(graph, tensors)
    held = holds(graph, _specs(part))
    values = {item.key: tensors[name] for name, item in held.items()}
    network = _filled(OnnxNetwork(graph, held, tuple(entry), batch=max(batch, 0)), values)
    found = tuple(network.dry_run())
    shape, last = _image(found)
    for rows in [batch] if batch > 0 else [0, 1]:
        # An open batch size may yet be fixed by a Reshape inside: then one sample at a time.
        network = OnnxNetwork(graph, held, tuple(entry), shape, batch=rows, channels_last=last)
        network = _filled(network, values)
        if rows or _is_open(network):
            break
    range_, assumed = _range(graph, network, options)
    prior: Distribution = "uniform" if options.get("prior") == "uniform" else "normal"
    if "prior" not in options:
        assumed += (f"latents {prior} (a graph cannot tell)",)
    if len(graph.outputs) > 1:
        assumed += (f"the first of {len(graph.outputs)} outputs, {printable(graph.outputs[0], 60)}",)
    return _wrap(network, prior, "unit" if range_ == "sigmoid" else "symmetric", assumed)


def _filled(network: OnnxNetwork, values: Mapping[str, Tensor]) -> OnnxNetwork:
    fill(network, values)
    return network


def _wrap(network: OnnxNetwork, prior: Distribution, output: Output, assumed: Sequence[str]) -> Generator:
    dim = math.prod(network.entry)
    config = {"network": written(network), "prior": prior, "output": output, "assumed": list(assumed)}
    return Generator(
        module=network,
        latent=Latent(dim, prior, network.classes),
        shape=network.shape,
        name="onnx",
        output=output,
        assumed=tuple(assumed),
        metadata={"genvet.net": "onnx", "genvet.config": json.dumps(config)},
    )


def build(
    network: Mapping[str, Any],
    prior: Distribution = "normal",
    output: Output = "symmetric",
    assumed: Sequence[str] = (),
) -> Generator:
    """A graph from its written form, as the metadata of a converted file has it; the text may be hostile."""
    if prior not in get_args(Distribution) or output not in get_args(Output):
        raise BadInput("no such network", got=f"prior {prior!r}, output {output!r}")
    return _wrap(read(network), prior, output, tuple(map(str, assumed)))


def _entry(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape that the graph takes, its batch first: a vector, maybe with axes of one entry behind it."""
    name, *_ = entries(graph)
    shape = graph.inputs[name]
    if len(shape) < 2 or any(n != 1 for n in shape[2:]):
        raise Unsupported(f"the graph takes {_sizes(shape)}, and a generator takes a vector")
    dim = shape[1] if shape[1] > 0 else _first_width(graph, name, tensors)
    if not 0 < dim <= 1 << 16 or shape[0] > 4096:
        raise Unsupported(f"the graph takes {_sizes(shape)}: the size of its latent is open, or too large")
    return (shape[0], dim, *shape[2:])


def _first_width(graph: Graph, name: str, tensors: Mapping[str, Tensor]) -> int:
    """How many numbers the first product takes, where the input's own shape is open."""
    for node in graph.nodes:
        if name in node.inputs[:1] and node.op in ("Gemm", "MatMul") and node.inputs[1] in tensors:
            weight = tensors[node.inputs[1]]
            return int(weight.shape[1 if node.attributes.get("transB", 0) else 0]) if weight.ndim == 2 else 0
    return 0


def _sizes(shape: Sequence[int]) -> str:
    return "(" + ", ".join("?" if n < 0 else str(n) for n in shape) + ")"


def _image(found: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """The sample that the output's shape stands for, and whether its channels come last; Unsupported where none."""
    _, *rest = found or (0,)
    if len(rest) == 3 and rest[0] <= MOST_CHANNELS and min(rest[1:]) >= 4:
        return tuple(rest), False
    if len(rest) == 3 and rest[2] <= MOST_CHANNELS and min(rest[:2]) >= 4:
        return (rest[2], rest[0], rest[1]), True
    if len(rest) == 2 and min(rest) >= 8:
        return (1, *rest), False
    if len(rest) == 2 and rest[0] == 1:
        return tuple(rest), False
    square = image_shape(rest[0]) if len(rest) == 1 else None
    if square is None:
        raise Unsupported(f"the graph gives {_sizes(found)}, which is no image")
    return square, False


@torch.inference_mode()
def _is_open(network: OnnxNetwork) -> bool:
    """Whether two latents together give what each gives alone."""
    z, labels = _tries(network, 2)
    try:
        both, second = network(z, labels), network(z[1:], None if labels is None else labels[1:])
        return bool(torch.allclose(both[1:], second, rtol=1e-3, atol=1e-3, equal_nan=True))
    except (BadInput, Unsupported, RuntimeError):
        return False


def _tries(network: OnnxNetwork, n: int) -> tuple[Tensor, Tensor | None]:
    """Latents, and labels where there are classes, to try the graph out with."""
    latent = Latent(network.entry[0], classes=network.classes)
    return latent.sample(0, n, RNG), latent.labels(0, n)


def _range(graph: Graph, network: OnnxNetwork, options: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The output's range: as asked for, by the last operator, or else by what comes out."""
    if "range" in options:
        return options["range"], ()
    last = _squash(graph)
    if last is not None:
        return last, ()
    with torch.inference_mode():
        x = network(*_tries(network, 16))
    unit = bool(x.min() >= 0 and x.max() <= 1.001)
    return ("sigmoid" if unit else "linear"), (f"output in {'[0, 1]' if unit else '[-1, 1]'} (by a few samples)",)


def _squash(graph: Graph) -> str | None:
    """tanh or sigmoid, where the graph ends in it but for operators that change no value."""
    makers: dict[str, Node] = {name: node for node in graph.nodes for name in node.outputs}
    node = makers.get(graph.outputs[0])
    while node is not None and node.op in _THROUGH:
        node = makers.get(node.inputs[0])
    if node is not None and node.op == "Clip":
        bounds = (node.attributes.get("min"), node.attributes.get("max"))
        return {(0, 1): "sigmoid", (-1, 1): "tanh"}.get(bounds)  # type: ignore[arg-type]
    return {"Sigmoid": "sigmoid", "Tanh": "tanh"}.get(node.op) if node is not None else None
