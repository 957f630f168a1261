"""ONNX models, read as a graph of data by our own protobuf reader; nothing is loaded from other files."""

from __future__ import annotations

from typing import Any

from genvet.core.modelfile import Graph, Node, Part, TensorSpec
from genvet.files.onnx_tensor import read_tensor, single
from genvet.files.protobuf import fields, floats, message, signed, text, varint, varints, whole
from genvet.files.reading import Reading, Stop
from genvet.files.safetensors_file import check_script

_IR, _PRODUCER, _DOMAIN, _DOC, _GRAPH, _OPSETS, _METADATA, _FUNCTIONS = 1, 2, 4, 6, 7, 8, 14, 25
_TOP = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
_STANDARD = {"", "ai.onnx", "ai.onnx.ml"}


def matches(data: memoryview) -> bool:
    """A ModelProto: a small format version, a graph, and only fields that the format knows, in any order."""
    if not len(data) or data[0] >> 3 not in _TOP:
        return False
    seen: set[int] = set()
    at = fields_seen = 0
    try:
        while at < len(data) and fields_seen < 1000:
            tag, value = varint(data, at)
            length, after = varint(data, value)
            number, wire = tag >> 3, tag & 7
            if number not in _TOP or wire not in (0, 2) or (number == _IR and not 1 <= length <= 100):
                return False
            seen.add(number)
            fields_seen += 1
            at = after + (length if wire else 0)
    except Stop:
        pass
    # Where the last field reaches past the end, it is a model that was cut short.
    return {_IR, _GRAPH} <= seen


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """One part of kind "onnx": its graph, with initializers and constants as tensors."""
    Model(reading, place).read(data)


class Model:
    """One ModelProto on its way into a part; counts what it makes, since small bytes may ask for many objects."""

    def __init__(self, reading: Reading, place: str) -> None:
        self.reading, self.place = reading, place
        self.tensors: dict[str, TensorSpec] = {}
        self.items = 0

    def read(self, data: memoryview) -> None:
        graph, graph_at, opset = None, 0, 0
        texts: dict[str, str] = {}
        for number, value, offset in fields(data):
            if number == _GRAPH:
                if graph is not None:
                    raise Stop("onnx.malformed", "a model with two graphs", offset)
                graph, graph_at = message(value), offset
            elif number == _OPSETS:
                opset = max(opset, self._opset(message(value), offset))
            elif number == _METADATA:
                texts.update(self._pair(message(value), offset))
            elif number in (_PRODUCER, _DOMAIN, _DOC):
                texts[{_PRODUCER: "producer", _DOMAIN: "domain", _DOC: "documentation"}[number]] = text(value)
            elif number == _FUNCTIONS:
                message_ = "the model defines an operator of its own"
                self.reading.note("onnx.custom-operator", message_, place=self.place, offset=offset)
            elif number not in _TOP:
                message_ = f"field {number} is not one of a model's"
                self.reading.note("archive.hidden", message_, place=self.place, offset=offset)
        check_script(texts, self.reading, self.place)
        self.reading.metadata.update(texts)
        if graph is None:
            raise Stop("onnx.malformed", "a model without a graph", 0)
        found, _ = self._graph(graph, graph_at, 0, opset)
        self.reading.parts.append(Part(name="", kind="onnx", tensors=self.tensors, config=texts, graph=found))

    def _count(self, offset: int, n: int = 1) -> None:
        self.items += n
        if self.items > self.reading.limits.members:
            raise Stop("archive.bomb", f"more than {self.reading.limits.members} items in one graph", offset)

    def _opset(self, data: memoryview, start: int) -> int:
        """The version of the standard operators, 0 for another set."""
        domain, version = "", 0
        for number, value, _ in fields(data, start):
            if number == 1:
                domain = text(value)
            elif number == 2:
                version = whole(value)
        if version > 1000:
            raise Stop("onnx.malformed", f"opset {version}", start)
        return version if domain in ("", "ai.onnx") else 0

    def _pair(self, data: memoryview, start: int) -> dict[str, str]:
        self._count(start)
        found = {number: text(value) for number, value, _ in fields(data, start) if number in (1, 2)}
        return {found.get(1, ""): found.get(2, "")}

    def _graph(self, data: memoryview, start: int, depth: int, opset: int = 0) -> tuple[Graph, dict[str, str]]:
        """A graph, and where its initializers are: name -> key of the part's tensors."""
        if depth > self.reading.limits.nesting:
            raise Stop("archive.bomb", "graphs nested too deep", start)
        nodes, inputs, outputs, initializers = [], {}, [], {}
        for number, value, offset in fields(data, start):
            if number == 1:
                nodes.append(self._node(message(value), offset, depth))
            elif number == 5:
                initializers.update(self._initializer(message(value), offset, initializers))
            elif number == 11:
                inputs.update([self._value(message(value), offset)])
            elif number == 12:
                outputs.append(self._value(message(value), offset)[0])
            elif number == 15:
                message_ = "sparse initializers are not read"
                self.reading.note("tensor.dtype", message_, place=self.place, offset=offset)
        # Before version 4 of the format, initializers are listed among the inputs.
        given = {name: shape for name, shape in inputs.items() if name not in initializers}
        return Graph(nodes=tuple(nodes), inputs=given, outputs=tuple(outputs), opset=opset), initializers

    def _initializer(self, data: memoryview, start: int, known: dict[str, str]) -> dict[str, str]:
        name, key = self._tensor(data, start, "")
        if name in known:
            raise Stop("onnx.malformed", f"two initializers are named {name!r}", start)
        return {name: key} if key else {}

    def _tensor(self, data: memoryview, start: int, fallback: str) -> tuple[str, str]:
        """Keep a tensor; gives its name and its key, which is the name where that is free."""
        self._count(start)
        try:
            name, spec = read_tensor(data, start, self.reading, self.place)
        except Stop as stop:
            if stop.rule == "archive.bomb":
                raise
            self.reading.note(stop.rule, stop.message, place=self.place, offset=stop.offset)
            return "", ""
        key = name or fallback
        while key in self.tensors:
            key += "'"
        if spec is None:
            return name, ""
        self.tensors[key] = spec
        return name, key

    def _value(self, data: memoryview, start: int) -> tuple[str, tuple[int, ...]]:
        """A graph input or output: its name, and its shape with -1 for what is open."""
        self._count(start)
        name, shape = "", ()
        for number, value, offset in fields(data, start):
            if number == 1:
                name = text(value)
            elif number == 2:
                shape = tuple(self._dims(message(value), offset, (1, 2, 1)))
        return name, shape

    def _dims(self, data: memoryview, start: int, path: tuple[int, ...]) -> list[int]:
        """TypeProto.tensor_type.shape.dim: down one field number at a time, then each dimension's value."""
        if not path:
            given = [signed(whole(value)) for number, value, _ in fields(data, start) if number == 1]
            return given[-1:] if given and given[-1] >= 0 else [-1]
        dims = []
        for number, value, offset in fields(data, start):
            if number == path[0]:
                self._count(offset)
                dims += self._dims(message(value), offset, path[1:])
        return dims

    def _node(self, data: memoryview, start: int, depth: int) -> Node:
        self._count(start)
        inputs, outputs, raw, names = [], [], [], {3: "", 4: "", 7: ""}
        for number, value, offset in fields(data, start):
            if number in (1, 2):
                self._count(offset)
                (inputs if number == 1 else outputs).append(text(value))
            elif number in names:
                names[number] = text(value)
            elif number == 5:
                raw.append((message(value), offset))
        name, op, domain = names.values()
        if domain not in _STANDARD:
            message_ = f"operator {domain}.{op} comes from outside ONNX"
            self.reading.note("onnx.custom-operator", message_, place=self.place, offset=start)
            op = f"{domain}.{op}"
        owner = (outputs or [name])[0]
        attributes = dict(self._attribute(value, offset, owner, depth) for value, offset in raw)
        return Node(op=op, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes, name=name)

    def _attribute(self, data: memoryview, start: int, owner: str, depth: int) -> tuple[str, Any]:
        """A name and a JSON value, by the one field that the attribute's type says counts."""
        self._count(start)
        name, kind, found = "", 0, {}
        for number, value, offset in fields(data, start):
            if number == 1:
                name = text(value)
            elif number == 20:
                kind = whole(value)
            elif number == 21:
                raise Stop("onnx.malformed", "an attribute of a function, outside one", offset)
            elif number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11):
                found.setdefault(number, []).append((value, offset))
        number = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11}.get(kind, 0)
        if not number and len(found) == 1:
            number = next(iter(found))
        return name, self._attribute_value(number, found.get(number, []), f"{owner}:{name}", depth)

    def _attribute_value(self, number: int, values: list[tuple[Any, int]], key: str, depth: int) -> Any:
        if number in (7, 8):
            self.reading.unpack(8 * sum(1 if isinstance(v, int) else len(v) for v, _ in values))
            read = floats if number == 7 else varints
            return [n for value, _ in values for n in read(value)]
        if number in (9, 10, 11):
            return [self._single(number, value, offset, key, depth) for value, offset in values]
        if not values:
            # A field at its default is not written.
            return {2: 0.0, 3: 0, 4: ""}.get(number)
        return self._single(number, *values[-1], key, depth)

    def _single(self, number: int, value: Any, offset: int, key: str, depth: int) -> Any:
        self._count(offset)
        if number == 2:
            return single(value)
        if number == 3:
            return signed(whole(value))
        if number in (4, 9):
            return text(value)
        if number in (5, 10):
            return {"tensor": self._tensor(message(value), offset, key)[1]}
        if number in (6, 11):
            graph, initializers = self._graph(message(value), offset, depth + 1)
            return {"graph": {**_plain(graph), "initializers": initializers}}
        return None


def _plain(graph: Graph) -> dict[str, Any]:
    """A subgraph as JSON values."""
    nodes = [{**vars(n), "inputs": list(n.inputs), "outputs": list(n.outputs)} for n in graph.nodes]
    inputs = {name: list(shape) for name, shape in graph.inputs.items()}
    return {"nodes": nodes, "inputs": inputs, "outputs": list(graph.outputs), "opset": graph.opset}
