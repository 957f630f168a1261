"""Anybody's classifier as an ONNX graph: what comes before its last dense layer are its features.

A graph does not tell which values it takes: that is stated by an Intake, never guessed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput, Unsupported
from genvet.core.modelfile import Graph, Node, Part
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.nets.classifiers import KEY, NAME
from genvet.nets.intake import Entry, Intake, settled, stated
from genvet.nets.matching import fill
from genvet.nets.onnx_network import OnnxNetwork, holds, read, written

FAMILY = "onnx"
MOST_CLASSES = 100_000
TRIES = 8
"""Images of noise that a graph is tried out with."""
_SAME = ("Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze")
"""Operators that leave every number as it is."""
_AFTER = (*_SAME, "Add", "Sub", "Mul", "Div")
"""What may follow the last dense layer: its bias, a temperature."""
_DENSE = ("Gemm", "MatMul", "Conv")


def from_graph(part: Part, tensors: Mapping[str, Tensor], intake: Intake) -> Classifier:
    """The graph in two stages, with gradients to the images; raises Unsupported or BadInput for what is no classifier.

    Where it ends in a softmax, that is left to the Classifier, so that its logits are the graph's own. Where there is
    no last dense layer to cut at, the scores themselves are the features.
    """
    graph = part.graph
    if graph is None or len(graph.inputs) != 1 or not graph.outputs:
        inputs = len(graph.inputs) if graph else 0
        raise Unsupported(f"a graph of {inputs} inputs is no classifier", hint="it takes images, and nothing else")
    ((image, declared),) = graph.inputs.items()
    intake = settled(intake, declared[1:])
    scores, form = _scores(graph)
    graph = replace(graph, outputs=(scores,))
    for batch in (declared[0],) if declared[0] > 0 else (0, 1):
        # An open batch size may yet be fixed by a Reshape inside: then one image at a time.
        modules = _cut(graph, part, tensors, image, intake, batch)
        found = _classifier(modules, intake, "logits")
        if batch or _is_open(found):
            break
    return _checked(found, intake, modules, form or intake.outputs)


def build(
    features: Mapping[str, Any], head: Mapping[str, Any], intake: Mapping[str, Any], classes: list[str], form: str
) -> Classifier:
    """A graph's classifier from its written form, as the metadata of a file have it; the text may be hostile."""
    if form not in ("logits", "probabilities") or not classes:
        raise BadInput("no such classifier", got=printable(form, 40))
    said = stated(**{**intake, "classes": classes})
    return _classifier((read(features), read(head)), settled(said, said.entry), form)


@torch.inference_mode()
def tried(classifier: Classifier) -> Classifier:
    """This classifier, where it gives a score a class; raises BadInput otherwise."""
    found = tuple(classifier.logits(_noise(classifier)[:1]).shape)
    if found != (1, len(classifier.classes)):
        raise BadInput("the graph gives something else", expected=str((1, len(classifier.classes))), got=str(found))
    return classifier


class Logarithms(nn.Module):
    """Probabilities as logits."""

    def forward(self, p: Tensor) -> Tensor:
        return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def _classifier(modules: tuple[OnnxNetwork, OnnxNetwork], intake: Intake, form: str) -> Classifier:
    features, head = modules
    stages: list[tuple[str, nn.Module]] = [
        ("features", nn.Sequential(OrderedDict(entry=Entry(intake), graph=features, flat=nn.Flatten()))),
        ("head", nn.Sequential(OrderedDict(graph=head, flat=nn.Flatten()))),
    ]
    if form == "probabilities":
        stages[1][1].append(Logarithms())  # type: ignore[operator]
    module = nn.Sequential(OrderedDict(stages)).eval().requires_grad_(False)
    config = {"features": written(features), "head": written(head), "form": form}
    told = {"family": FAMILY, **config, "intake": intake.model_dump(mode="json"), "classes": list(intake.classes)}
    return Classifier(
        module=module,
        shape=intake.shape,
        classes=intake.classes,
        name=NAME,
        metadata={KEY: json.dumps(told)},
    )


def _checked(
    found: Classifier, intake: Intake, modules: tuple[OnnxNetwork, OnnxNetwork], form: str | None
) -> Classifier:
    """With as many classes as it has scores, and told whether these are logits or probabilities."""
    with torch.inference_mode():
        scores = found.logits(_noise(found))
    if scores.ndim != 2 or not 2 <= scores.shape[1] <= MOST_CLASSES:
        raise Unsupported(
            f"the graph gives {tuple(scores.shape[1:])} for an image", hint="a classifier gives a score a class"
        )
    n = scores.shape[1]
    if intake.classes and len(intake.classes) != n:
        raise BadInput("the names of the classes do not fit", expected=f"{n} of them", got=str(len(intake.classes)))
    sums = bool((scores >= 0).all()) and torch.allclose(scores.sum(1), torch.ones(len(scores)), atol=1e-3)
    names = intake.classes or tuple(str(i) for i in range(n))
    form = form or ("probabilities" if sums else "logits")
    return _classifier(modules, intake.model_copy(update={"classes": names}), form)


def _noise(classifier: Classifier) -> Tensor:
    x = torch.rand(TRIES, *classifier.shape, generator=Rng(0, "onnx classifier").block())
    return x * 2 - 1


@torch.inference_mode()
def _is_open(classifier: Classifier) -> bool:
    """Whether two images together give what each gives alone."""
    x = _noise(classifier)[:2]
    try:
        both, second = classifier.logits(x), classifier.logits(x[1:])
        return both.shape[0] == 2 and torch.allclose(both[1:], second, rtol=1e-3, atol=1e-3)
    except (BadInput, Unsupported, RuntimeError):
        return False


# Where to cut


def _scores(graph: Graph) -> tuple[str, str | None]:
    """The value that holds the scores, before a softmax where there is one: then they are logits. No sigmoid."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    value = graph.outputs[0]
    node = makers.get(value)
    while node is not None and node.op in _SAME:
        value = node.inputs[0]
        node = makers.get(value)
    if node is not None and node.op == "Sigmoid":
        hint = "classes that do not exclude one another cannot be compared: export what goes into the sigmoid"
        raise Unsupported("the graph ends in a sigmoid", hint=hint)
    if node is not None and node.op in ("Softmax", "LogSoftmax") and node.attributes.get("axis", 1) in (1, -1):
        return node.inputs[0], "logits"
    return graph.outputs[0], None


def _cut(
    graph: Graph, part: Part, tensors: Mapping[str, Tensor], image: str, intake: Intake, batch: int
) -> tuple[OnnxNetwork, OnnxNetwork]:
    """Both stages with their weights: up to the input of the last dense layer, and from there on."""
    end = graph.outputs[0]
    middle = _before_dense(graph, image)
    if middle is not None:
        first, last = _between(graph, image, middle, (-1, *intake.entry)), _between(graph, middle, end, (-1,))
        if first is not None and last is not None and first.nodes:
            features = _network(first, part, tensors, intake.entry, batch)
            width = tuple(features.dry_run())[1:]
            if width and ("Conv" not in {n.op for n in last.nodes} or set(width[1:]) == {1}):
                return features, _network(last, part, tensors, width, batch)
    whole = _network(replace(graph, inputs={image: (-1, *intake.entry)}), part, tensors, intake.entry, batch)
    width = tuple(whole.dry_run())[1:]
    same = Graph(
        nodes=(Node(op="Identity", inputs=("x",), outputs=("y",)),), inputs={"x": (-1, *width)}, outputs=("y",)
    )
    return whole, OnnxNetwork(replace(same, opset=graph.opset), {}, width)


def _before_dense(graph: Graph, image: str) -> str | None:
    """The value that the last layer of weights reads; None where the graph does not end in one."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    moving = _moving(graph, image)
    node = makers.get(graph.outputs[0])
    while node is not None:
        inputs = [name for name in node.inputs if name in moving]
        if len(inputs) != 1 or inputs[0] == image:
            return None
        if node.op in _DENSE:
            return inputs[0] if inputs[0] == node.inputs[0] else None
        if node.op not in _AFTER:
            return None
        node = makers.get(inputs[0])
    return None


def _moving(graph: Graph, image: str) -> set[str]:
    """Every value that depends on the image."""
    moving = {image}
    for node in graph.nodes:
        if moving & {*node.inputs}:
            moving.update(node.outputs)
    return moving


def _between(graph: Graph, start: str, end: str, shape: tuple[int, ...]) -> Graph | None:
    """What it takes to come from one value to another; None where that reads the image besides."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    wanted, needed = [end], set()
    while wanted:
        name = wanted.pop()
        if name == start or name in needed:
            continue
        needed.add(name)
        if name in graph.inputs:
            return None
        if name in makers:
            wanted += [i for i in makers[name].inputs if i]
    nodes = tuple(node for node in graph.nodes if needed & {*node.outputs})
    return Graph(nodes=nodes, inputs={start: shape}, outputs=(end,), opset=graph.opset)


def _network(
    graph: Graph, part: Part, tensors: Mapping[str, Tensor], entry: tuple[int, ...], batch: int
) -> OnnxNetwork:
    held = holds(graph, {key: (spec.dtype, tuple(spec.shape)) for key, spec in part.tensors.items()})
    network = OnnxNetwork(graph, held, entry, batch=max(batch, 0))
    fill(network, {item.key: tensors[name] for name, item in held.items()})
    return network
