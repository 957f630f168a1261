"""An ONNX graph as a network: walks the nodes in order, in plain torch, with gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, Unsupported
from genvet.core.modelfile import Graph, Node
from genvet.core.printable import printable
from genvet.nets import onnx_layers, onnx_operators
from genvet.nets.onnx_operators import Answer, Operation, room, rows

TABLE = {**onnx_operators.TABLE, **onnx_layers.TABLE}
OPSETS = range(7, 22)
KINDS = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
"""What a tensor is held as: every float as float32, every whole number as int64."""
MOST_NODES = 20_000
MOST_WORK = 1 << 42
"""Multiplications for one sample."""
MOST_TOGETHER = 1 << 31
"""Numbers that all results together may hold, of one sample."""
FEW_NUMBERS = 64
"""Of a tensor that may be a shape, scales or bounds: its values are known even where only shapes are."""
FEW = 1 << 20
"""Numbers of a tensor that is worked out while shapes are checked."""
# Which inputs are read as plain numbers: shapes, axes, scales, bounds of slices.
NUMBERS: dict[str, frozenset[int]] = {
    **dict.fromkeys(("Reshape", "Expand", "Split", "Squeeze", "Unsqueeze", "Tile", "Upsample"), frozenset({1})),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"), frozenset({1})),
    "Slice": frozenset({1, 2, 3, 4}),
    "Resize": frozenset({1, 2, 3}),
    "Pad": frozenset({1, 2, 3}),
    "ConstantOfShape": frozenset({0}),
    "Range": frozenset({0, 1, 2}),
}


LABELS = ("labels", "label")
"""How a second input has to be called, beside the latent: one-hot labels."""


@dataclass(frozen=True)
class Held:
    """A tensor of the graph: its key in the state dict, its kind and shape, and whether it is a trained weight."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    weight: bool


class OnnxNetwork(nn.Module):
    """Maps latents (n, dim), and one-hot labels (n, classes) where it has classes, to samples (n, *shape).

    `batch` is the graph's own batch size where it is fixed, else 0. Before the first run, a dry run on shapes alone
    checks that every size stays within bounds.
    """

    def __init__(
        self,
        graph: Graph,
        held: Mapping[str, Held],
        entry: tuple[int, ...],
        shape: tuple[int, ...] = (),
        *,
        batch: int = 0,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        check(graph, held)
        self.graph, self.held, self.entry, self.shape = graph, dict(held), tuple(entry), tuple(shape)
        self.batch, self.channels_last, self.checked = batch, channels_last, False
        self.few: dict[str, Any] = {}
        self.input, self.labels, self.classes = entries(graph)
        self.last_use = {name: i for i, node in enumerate(graph.nodes) for name in _reads(node)}
        for name, item in self.held.items():
            _register(self, name, item)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        self.dry_run()
        if not self.batch:
            return self._sample(z, labels)
        # A graph of fixed batch size takes its latents in pieces, the last one filled up with zeros.
        pieces = []
        for start in range(0, len(z), self.batch):
            some = slice(start, start + self.batch)
            piece = self._sample(self._filled(z[some]), None if labels is None else self._filled(labels[some]))
            pieces.append(piece[: len(z[some])])
        return torch.cat(pieces) if pieces else z.new_empty(0, *self.shape)

    def _filled(self, piece: Tensor) -> Tensor:
        missing = self.batch - len(piece)
        return torch.cat([piece, piece.new_zeros(missing, piece.shape[1])]) if missing else piece

    def _sample(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = self.run(z.reshape(len(z), *self.entry), labels)
        x = x.movedim(-1, 1) if self.channels_last else x
        return x.reshape(len(z), *self.shape) if self.shape else x

    def run(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The graph's first output for its inputs as they are."""
        values = {self.input: z, **({} if labels is None else {self.labels: labels}), **self._tensors()}
        for _, now in self._steps(values):
            values = now
        return values[self.graph.outputs[0]]

    def _tensors(self) -> dict[str, Tensor]:
        return {name: self._tensor(name) for name in self.held}

    def _tensor(self, name: str) -> Tensor:
        owner, _, leaf = self.held[name].key.rpartition(".")
        tensor: Tensor = getattr(self.get_submodule(owner), leaf)
        if tensor.is_meta and name in self.few:  # a copy that is only asked for its shapes
            return torch.tensor(self.few[name], dtype=tensor.dtype).reshape(tensor.shape)
        return tensor

    @torch.no_grad()
    def dry_run(self) -> torch.Size:
        """The output's shape for one sample, found without computing one; raises Unsupported beyond any bound."""
        if not self.checked:
            self.few = {n: t.tolist() for n, t in self._tensors().items() if not t.is_meta and t.numel() <= FEW_NUMBERS}
            tensors = self._tensors().items()
            values = {n: t.to("meta") if t.is_floating_point() and t.numel() > FEW_NUMBERS else t for n, t in tensors}
            values[self.input] = torch.empty(max(self.batch, 1), *self.entry, device="meta")
            if self.classes:
                values[self.labels] = torch.empty(max(self.batch, 1), self.classes, device="meta")
            together = work = 0
            for node, now in self._steps(values):
                made = [now[name] for name in node.outputs if name in now]
                together += sum(t.numel() for t in made)
                work += _work(node, now)
                if any(not t.is_meta and t.numel() > FEW for t in made) or max(together, 1) > MOST_TOGETHER:
                    raise Unsupported(f"the results of node {printable(node.name or node.op)} are too large")
                if work > MOST_WORK:
                    raise Unsupported("the graph takes too many operations", hint=f"at most {MOST_WORK} a sample")
                values = now
            self._found = values[self.graph.outputs[0]].shape
            self.checked = True
        return self._found

    def _steps(self, values: dict[str, Tensor]) -> Iterator[tuple[Node, dict[str, Tensor]]]:
        """Each node with all values after it; what no later node reads is let go."""
        rows.set(max(len(values[self.input]), 1))
        for i, node in enumerate(self.graph.nodes):
            for name, result in zip(node.outputs, self._result(node, values), strict=False):
                room(result.shape[1:])
                values[name] = result
            yield node, values
            for name in {*_reads(node), *node.outputs}:
                if self.last_use.get(name, -1) <= i and name not in self.graph.outputs:
                    values.pop(name, None)

    def _result(self, node: Node, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        numbers = NUMBERS.get(node.op, frozenset())
        given = [values[name] if name else None for name in node.inputs]
        rest = [t for i, t in enumerate(given) if t is not None and i not in numbers]
        device = _device(rest)
        moved = [t if t is None or i in numbers else t.to(device) for i, t in enumerate(given)]
        attributes = {k: self._attribute(v) for k, v in node.attributes.items()}
        operation = Operation(node.op, tuple(moved), attributes, self.graph.opset, len(node.outputs))
        try:
            answer: Answer = TABLE[node.op](operation)
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
            if isinstance(error, BadInput | Unsupported):
                raise
            raise BadInput(f"node {printable(node.name or node.op)} cannot run: {printable(error, 200)}") from None
        return answer if isinstance(answer, tuple) else (answer,)

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, dict) and "tensor" in value:
            return self._tensor(value["tensor"])
        return value


def check(graph: Graph, held: Mapping[str, Held]) -> None:
    """Raises where the graph is no plain graph of known operators, each node after those that it reads."""
    if graph.opset not in OPSETS:
        raise Unsupported(f"operator set {graph.opset}", hint=f"sets {OPSETS.start} to {OPSETS.stop - 1} are known")
    if len(graph.nodes) > MOST_NODES:
        raise Unsupported(f"{len(graph.nodes)} nodes", hint=f"at most {MOST_NODES}")
    entries(graph)
    if not graph.outputs:
        raise Unsupported("a graph without outputs")
    known = {*graph.inputs, *held}
    for node in graph.nodes:
        if node.op not in TABLE:
            raise Unsupported(f"the operator {printable(node.op, 80)} is not supported", hint="export a plainer graph")
        missing = [name for name in _reads(node) if name not in known]
        if missing or any(name in known for name in node.outputs):
            what = f"reads {printable(missing[0])}, which nothing gives" if missing else "gives a value a second time"
            raise BadInput(f"node {printable(node.name or node.op)} {what}")
        known.update(name for name in node.outputs if name)
    if graph.outputs[0] not in known:
        raise BadInput(f"nothing gives the output {printable(graph.outputs[0])}")


def entries(graph: Graph) -> tuple[str, str, int]:
    """The latent's name, and the labels' name and number of classes, empty and 0 where there are none."""
    names = list(graph.inputs)
    labels = next((name for name in names if len(names) == 2 and name in LABELS), "")
    latents = [name for name in names if name != labels]
    if len(latents) != 1:
        told = ", ".join(printable(name, 40) for name in names) or "none"
        hint = "a generator has one, its latent, and maybe a second one called labels"
        raise Unsupported(f"the graph has {len(names)} inputs ({told})", hint=hint)
    shape = graph.inputs.get(labels, (0, 0))
    if labels and (len(shape) != 2 or type(shape[1]) is not int or not 0 < shape[1] <= 1 << 16):
        raise Unsupported(f"the graph's labels have the shape {tuple(shape)}", hint="a row of one number a class")
    return latents[0], labels, shape[1]


def _reads(node: Node) -> list[str]:
    return [name for name in node.inputs if name] + _constants(node)


def _constants(node: Node) -> list[str]:
    return [v["tensor"] for v in node.attributes.values() if isinstance(v, dict) and "tensor" in v]


def _device(tensors: Sequence[Tensor]) -> torch.device:
    """Where a node works: on `meta` in a dry run, beside its floats, else with the shapes on the CPU."""
    for wanted in ([t for t in tensors if t.is_meta], [t for t in tensors if t.is_floating_point()]):
        if wanted:
            return wanted[0].device
    return torch.device("cpu")


def _work(node: Node, values: Mapping[str, Tensor]) -> int:
    """About how many multiplications a node takes."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    x, weight, y = values[node.inputs[0]], values[node.inputs[1]], values[node.outputs[0]]
    if node.op == "Conv":
        return y.numel() * weight.numel() // max(weight.shape[0], 1)
    if node.op == "ConvTranspose":
        return x.numel() * weight.numel() // max(weight.shape[0], 1)
    return y.numel() * math.isqrt(max(x.numel() * weight.numel() // max(y.numel(), 1), 1))


def holds(graph: Graph, specs: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Held]:
    """A place for every tensor that some node reads; names become keys that a state dict can have."""
    used = {name for node in graph.nodes for name in _reads(node)} | set(graph.outputs)
    fixed = {**NUMBERS, "BatchNormalization": (3, 4)}  # moments are kept, not trained
    as_numbers = {n for node in graph.nodes for i, n in enumerate(node.inputs) if i in fixed.get(node.op, ())}
    constants = {name for node in graph.nodes for name in _constants(node)}
    held: dict[str, Held] = {}
    root = nn.Module()
    for number, (name, (dtype, shape)) in enumerate(specs.items()):
        if name not in used:
            continue
        kind = "float32" if "float" in dtype else "int64"
        if dtype == "bool":
            kind = dtype
        weight = kind == "float32" and name not in as_numbers and name not in constants and 0 not in shape
        tidy = ".".join(re.sub(r"[^A-Za-z0-9_]", "_", piece) or "_" for piece in name.split("."))
        for key in (f"weights.{tidy}", f"weights.tensor_{number}"):
            try:
                _register(root, name, Held(key, kind, (), weight))
            except BadInput:
                continue
            held[name] = Held(key, kind, tuple(shape), weight)
            break
    return held


def _register(root: nn.Module, name: str, item: Held) -> None:
    """Give a module the parameter or buffer of this key, with plain modules on the way."""
    *way, leaf = item.key.split(".")
    owner = root
    for step in way:
        if step not in owner._modules:
            if not step or hasattr(owner, step):
                raise BadInput(f"no tensor can be called {printable(item.key)!r}")
            owner.add_module(step, nn.Module())
        owner = owner._modules[step]  # type: ignore[assignment]
    if not leaf or hasattr(owner, leaf) or item.dtype not in KINDS or len(way) > 30:
        raise BadInput(f"no tensor can be called {printable(item.key)!r}", got=printable(name))
    value = torch.zeros(tuple(room(item.shape)), dtype=KINDS[item.dtype])
    if item.weight and value.is_floating_point():
        owner.register_parameter(leaf, nn.Parameter(value))
    else:
        owner.register_buffer(leaf, value)


def written(network: OnnxNetwork) -> dict[str, Any]:
    """The network as JSON values, from which `read` makes it again."""
    return {
        "graph": asdict(network.graph),
        "held": {name: list(vars(item).values()) for name, item in network.held.items()},
        "entry": network.entry,
        "shape": network.shape,
        "batch": network.batch,
        "channels_last": network.channels_last,
    }


def read(config: Mapping[str, Any]) -> OnnxNetwork:
    """The network from its written form, which may be hostile; raises BadInput for what is none."""
    try:
        raw = config["graph"]
        nodes = tuple(
            Node(op=n["op"], inputs=tuple(n["inputs"]), outputs=tuple(n["outputs"]), attributes=n["attributes"])
            for n in raw["nodes"]
        )
        inputs = {str(name): tuple(shape) for name, shape in raw["inputs"].items()}
        graph = Graph(nodes=nodes, inputs=inputs, outputs=tuple(raw["outputs"]), opset=raw["opset"])
        held = {name: Held(key, dtype, tuple(s), bool(w)) for name, (key, dtype, s, w) in config["held"].items()}
        entry, shape = tuple(config["entry"]), tuple(config["shape"])
        sizes = (*entry, *shape, int(config["batch"]), *(n for item in held.values() for n in item.shape))
        if any(type(n) is not int or n < 0 for n in sizes) or config["batch"] > 4096:
            raise ValueError
        return OnnxNetwork(
            graph, held, entry, shape, batch=config["batch"], channels_last=bool(config["channels_last"])
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("this is no written form of a graph", got=printable(error, 100)) from None
