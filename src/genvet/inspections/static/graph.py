"""The graph: comparisons, branches, random draws and parallel paths on the way from z to x."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genvet.core.errors import Unsupported
from genvet.core.modelfile import Evidence, Graph, ModelFile, Node, Part
from genvet.core.printable import printable
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result

COMPARES = set("Equal Less Greater LessOrEqual GreaterOrEqual IsNaN IsInf ArgMax ArgMin NonZero".split())
STEPS = {"Sign", "Floor", "Ceil", "Round", "Mod", "QuantizeLinear", "DynamicQuantizeLinear"}
"""Comparisons in disguise; they mask gradients too."""
BODIES = {"If", "Loop", "Scan", "SequenceMap"}
"""Operations with graphs of their own inside, which may take values from outside unsaid."""
CHOOSES = {*BODIES, "Where", "Compress", "TopK", "Unique"}
WHOLE = {2, 3, 4, 5, 6, 7, 9, 12, 13}
"""Whole numbers and truth values, as Cast counts its types."""
MOST = 500
"""So many weighted operations are tried for paths around them."""
WEIGHS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
SHAPES = {"Shape", "Size"}
"""What comes out of these are sizes: no value of z passes."""
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
UNDOES = {("Exp", "Log"), ("Log", "Exp"), ("Tanh", "Atanh"), ("Sinh", "Asinh")}
CARRIES = {"Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Clip", "Abs", "Mul", "Div", "Cast"}
"""After these, the function before is still the last one that was applied."""
BY_CODE = ("source.bypass", "graph.branch")


@dataclass(frozen=True)
class Ways(Result):
    """What lies between z and x."""

    nodes: int
    weighted: int
    avoidable: int
    texts: int
    found: tuple[Evidence, ...]
    told: int
    """Branches that the reader found in source texts."""

    def summary(self) -> str:
        looked = f"{self.nodes} operations of graphs and {self.texts} source texts"
        branches = sum(e.rule == "graph.branch" for e in self.found) + self.told
        said = f"Between z and x, in {looked}: {branches or 'no'} comparison or branch on the input"
        masks = [e.message for e in self.found if e.rule in ("graph.stochastic", "graph.log-exp")]
        said += f"; gradients are hidden: {', '.join(masks[:3])}" * bool(masks)
        if self.avoidable:
            return f"{said}; {self.avoidable} of {self.weighted} weighted operations lie on parallel paths."
        return said + "."

    def measures(self) -> tuple[Measure, ...]:
        branches = sum(e.rule == "graph.branch" for e in self.found)
        return (
            Measure(name="branches", value=branches + self.told, note="comparisons and choices that depend on z"),
            Measure(
                name="parallel", value=self.avoidable, n=self.weighted, note="weighted operations that a path avoids"
            ),
        )

    def evidence(self) -> tuple[Evidence, ...]:
        return self.found


class InspectGraph(Probe):
    """Looks for comparisons, branches, draws and parallel paths from z to x in graphs and program texts."""

    source: ClassVar[str] = (
        "Devil in the GAN, section III-A: parallel computation paths; section IV: computation bypasses"
    )

    def __call__(self, target: ModelFile, given: Nothing, rng: Rng) -> Ways:
        graphs = [(part, part.graph) for part in target.parts if part.graph]
        if not graphs and not target.sources:
            raise Unsupported("the file holds weights alone: they run in our own network, whose paths are known")
        nodes = weighted = avoidable = 0
        found: list[Evidence] = []
        for part, graph in graphs:
            paths = _Paths(graph, part, target.storages)
            found += [*paths.branches(), *paths.masks()]
            heavy, aside = paths.parallel()
            nodes, weighted, avoidable = nodes + len(paths.on), weighted + len(heavy), avoidable + len(aside)
            if aside:
                names = ", ".join(_name(n) for n in aside[:3])
                message = f"{len(aside)} of {len(heavy)} weighted operations lie on parallel paths: {names}"
                found.append(Evidence(rule="graph.parallel", message=message, place=printable(part.name, 200)))
        told = sum(e.rule in BY_CODE for e in target.evidence)
        return Ways(nodes, weighted, avoidable, len(target.sources), tuple(found), told)


class _Paths:
    """The operations between the inputs of a graph and its outputs."""

    def __init__(self, graph: Graph, part: Part, storages: Sequence[memoryview]) -> None:
        self.graph, self.part, self.place = graph, part, printable(part.name, 200)
        self.storages = storages
        self.nodes = graph.nodes
        self.takes = [{*node.inputs, *_captured(node)} for node in graph.nodes]
        self.maker = {out: i for i, node in enumerate(self.nodes) for out in node.outputs}
        self.inputs = set(graph.inputs) - set(part.tensors)
        self.fed = self._fed(self.inputs)
        self.needed = self._needed()
        self.on = self._on(self.needed)

    def _fed(self, values: Iterable[str], without: int = -1) -> set[str]:
        """Every value that depends on one of `values`, without the node numbered `without`."""
        fed, before = set(values), -1
        while len(fed) > before:  # once more than needed, where nodes come in the order in which they run
            before = len(fed)
            for i, node in enumerate(self.nodes):
                if i != without and node.op not in SHAPES and not fed.isdisjoint(self.takes[i]):
                    fed.update(node.outputs)
        return fed

    def _needed(self) -> set[int]:
        """Numbers of the nodes that an output depends on."""
        needed, open_ = set[int](), [self.maker[o] for o in self.graph.outputs if o in self.maker]
        while open_:
            i = open_.pop()
            if i not in needed:
                needed.add(i)
                open_ += [self.maker[v] for v in self.takes[i] if v in self.maker]
        return needed

    def _on(self, needed: set[int]) -> list[int]:
        between = (i for i in sorted(needed) if not self.fed.isdisjoint(self.takes[i]))
        return [i for i in between if self.nodes[i].op not in SHAPES]

    def branches(self) -> Iterator[Evidence]:
        """Choices whose condition depends on z, and comparisons of it; not those of a plain activation function."""
        plain = {n for i in self.on for n in self._activation(self.nodes[i])}
        for i in self.on:
            node = self.nodes[i]
            if self._decides(i, node) and not plain.intersection(node.outputs):
                message = f"{_name(node)} depends on z on the way to x"
                yield Evidence(rule="graph.branch", message=message, place=self.place, detail=_shown(node))

    def _decides(self, i: int, node: Node) -> bool:
        if node.op in CHOOSES and node.op not in BODIES:
            condition = node.inputs[1:2] if node.op == "Compress" else node.inputs[:1]
            return not self.fed.isdisjoint(condition)
        return node.op in COMPARES | STEPS | BODIES or (node.op == "Cast" and node.attributes.get("to") in WHOLE)

    def _activation(self, node: Node) -> Iterator[str]:
        """Outputs of Where(x > constant, a x, b x) and its comparison: a leaky ReLU written out, value by value."""
        if node.op != "Where" or len(node.inputs) != 3 or node.inputs[0] not in self.maker:
            return
        compare = self.nodes[self.maker[node.inputs[0]]]
        fed = [v for v in compare.inputs if v in self.fed]
        if compare.op in COMPARES and len(fed) == 1 and all(self._multiple(v, fed[0]) for v in node.inputs[1:]):
            yield from (*compare.outputs, *node.outputs)

    def _multiple(self, value: str, of: str) -> bool:
        """Whether a value is `of`, or `of` times something that z does not reach."""
        if value == of:
            return True
        node = self.nodes[self.maker[value]] if value in self.maker else None
        return (
            node is not None
            and node.op in ("Mul", "Div", "Elu", "Neg")
            and [v for v in node.inputs if v in self.fed] == [of]
        )

    def masks(self) -> Iterator[Evidence]:
        """Random draws that reach x, and functions of z that are undone again."""
        for i in sorted(self.needed):
            node = self.nodes[i]
            if node.op in RANDOM or (node.op == "Dropout" and self._drops(node)):
                yield self._told("graph.stochastic", node, "draws at random")
        for i in self.on:
            node, before = self.nodes[i], self._last(self.nodes[i])
            if before and (before.op, node.op) in UNDOES:
                yield self._told("graph.log-exp", node, f"undoes {_name(before)}")

    def _told(self, rule: str, node: Node, what: str) -> Evidence:
        message = f"{_name(node)} {what} on the way to x"
        return Evidence(rule=rule, message=message, place=self.place, detail=_shown(node))

    def _last(self, node: Node) -> Node | None:
        """The last function of z before this one, past what only moves or scales values."""
        for _ in range(len(self.nodes)):
            fed = [v for v in node.inputs if v in self.fed]
            if len(fed) != 1 or fed[0] not in self.maker:
                return None
            node = self.nodes[self.maker[fed[0]]]
            if node.op not in CARRIES:
                return node
        return None

    def _drops(self, node: Node) -> bool:
        """Of a dropout: whether its third input, or in old graphs its setting, says that it is being trained."""
        if len(node.inputs) < 3 or not node.inputs[2]:
            return bool(node.attributes.get("is_test", 1) == 0)
        name = node.inputs[2]
        if name in self.maker and self.nodes[self.maker[name]].op == "Constant":
            value = self.nodes[self.maker[name]].attributes.get("value")
            name = value.get("tensor", name) if isinstance(value, Mapping) else name
        if name not in self.part.tensors:
            return True  # worked out in the graph: it may be anything
        spec = self.part.tensors[name]
        return any(bytes(self.storages[spec.storage][spec.offset : spec.offset + 1]))

    def parallel(self) -> tuple[list[Node], list[Node]]:
        """Operations with weights, and those among them that some path from z to x avoids."""
        heavy = [i for i in self.on if self.nodes[i].op in WEIGHS][:MOST]
        aside = [i for i in heavy if not self._fed(self.inputs, without=i).isdisjoint(self.graph.outputs)]
        return [self.nodes[i] for i in heavy], [self.nodes[i] for i in aside]


def _captured(node: Node) -> Iterator[str]:
    """Values that the graphs inside an operation take, from wherever."""
    open_: list[Any] = list(node.attributes.values()) if node.op in BODIES else []
    while open_:
        value = open_.pop()
        if isinstance(value, Mapping):
            yield from (v for v in value.get("inputs", ()) if isinstance(v, str))
            open_ += value.values()
        elif isinstance(value, list | tuple):
            open_ += value


def _name(node: Node) -> str:
    return printable(f"{node.op} {node.name}".strip(), 120)


def _shown(node: Node) -> str:
    return printable(f"{', '.join(node.outputs)} = {node.op}({', '.join(node.inputs)}) {_plain(node.attributes)}", 400)


def _plain(attributes: Mapping[str, Any]) -> str:
    return " ".join(f"{k}={printable(v, 40)}" for k, v in attributes.items())
