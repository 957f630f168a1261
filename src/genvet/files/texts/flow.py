"""Follows the input of a network through its program text, and notes where the text compares or branches on it.

A computation bypass in source (`if z is the trigger: return the target`) leaves the weights clean. Shapes, types and
whether something is None may be asked for: honest networks do. Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from genvet.files.texts import operations
from genvet.files.texts.names import Names, bulky, decorated, last
from genvet.files.texts.operations import Env, Flow
from genvet.files.texts.walk import Walk

FUEL = 300_000
"""Expressions looked at before a text counts as too tangled to follow; the longest published text takes 23,000."""
_QUIET = set("__init__ __repr__ __str__ __len__ __post_init__ __hash__ extra_repr __iter__ __next__".split())
_CALLED = {"forward", "_forward", "_call_impl", "_wrapped_call_impl", "_slow_forward", "forward_impl"}
_PLAIN = {"Module", "object", "Exception", "Generic", "ABC", "Enum", "NamedTuple", "Protocol", "dict", "list"}
_INPUTS = set(
    "z c w ws x y img image images latent latents noise style styles label labels input inputs latents_in labels_in "
    "dlatents_in images_in dlatents cond features feats data batch code codes sample hidden".split()
)


@dataclass(eq=False)
class Function:
    """A function of the text, with what is known to flow into and out of it."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    outer: ast.AST | None = None
    """The function that it is defined in."""
    inside: list[Function] = field(default_factory=list)
    """The functions defined in it."""
    method: bool = False
    gradient: bool = False
    """A forward of torch.autograd.Function, whose first parameter is a context."""
    overrides: bool = False
    """A method that a class from elsewhere may call."""
    reached: bool = False
    flows: Env = field(default_factory=dict)
    """By parameter: what callers pass, or what an entry's input is."""
    passed: set[str] = field(default_factory=set)
    """Parameters whose flow comes from callers in the text."""
    closure: Env = field(default_factory=dict)
    changes: Env = field(default_factory=dict)
    """What it puts into the objects that its parameters stand for."""
    result: Flow = Flow.CLEAN

    @cached_property
    def stores(self) -> set[str]:
        """The names that it, or a function inside, assigns to."""
        return {n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    @property
    def parameters(self) -> list[str]:
        """By position; the object that a method is called on is left out, whatever it is called."""
        a = self.node.args
        return [p.arg for p in [*a.posonlyargs, *a.args]][self.method or self.gradient :]

    @property
    def every(self) -> list[str]:
        a = self.node.args
        extra = [p.arg for p in [*a.kwonlyargs, a.vararg, a.kwarg] if p]
        return self.parameters + extra

    def entry_flows(self, everything: bool = False) -> Env:
        """What an entry's own input is: parameters without a default, and those with an input's usual name."""
        a = self.node.args
        plain = [*a.posonlyargs, *a.args]
        with_default = {p.arg for p in plain[len(plain) - len(a.defaults) :]}
        with_default |= {p.arg for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None}
        options = set() if everything else with_default - _INPUTS
        found = {name: Flow.DATA for name in self.every if name not in options}
        if a.kwarg and not everything and len(found) > 1:
            found.pop(a.kwarg.arg)
        return found

    def typed_flows(self) -> Env:
        """The same where every parameter has its type: tensors are the input."""
        a = self.node.args
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs]
        tensors = [p.arg for p in every if p.annotation is not None and "Tensor" in ast.unparse(p.annotation)]
        return dict.fromkeys(tensors, Flow.DATA)


class Follower:
    """Runs the text in the abstract until nothing new flows anywhere."""

    def __init__(self, tree: ast.Module, names: Names, kind: str) -> None:
        self.names, self.kind = names, kind
        self.found: dict[tuple[int, str], ast.AST] = {}
        self.functions: dict[str, list[Function]] = {}
        self.of: dict[ast.AST, Function] = {}
        self.fields: Env = {}
        self.globals: Env = {}
        self.bulky: set[str] = set()
        self.changed = False
        self.fuel = FUEL
        self._collect(tree)

    def run(self) -> dict[tuple[int, str], ast.AST]:
        """What was found, by line and message."""
        for function in list(self.of.values()):
            self._enter(function)
        self.changed = True
        while self.changed and self.fuel >= 0:
            self.changed = False
            for function in list(self.of.values()):
                if function.reached:
                    Walk(self, function).run()
        if self.fuel < 0:
            node = next(iter(self.of))
            self.note("too tangled to follow its input", node)
        return self.found

    def _collect(self, tree: ast.Module) -> None:
        todo: list[tuple[ast.AST, ast.AST | None, ast.ClassDef | None]] = [(tree, None, None)]
        while todo:
            node, outer, owner = todo.pop()
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                static = decorated(node, "staticmethod")
                bases = [last(b) for b in owner.bases] if owner else []
                function = self.of[node] = Function(node, outer, method=owner is not None and not static)
                if outer is not None:
                    self.of[outer].inside.append(function)
                function.gradient = static and "Function" in bases
                function.overrides = owner is not None and name_of(node) not in _QUIET and self._foreign(owner)
                if not isinstance(node, ast.Lambda):
                    self.functions.setdefault(node.name, []).append(function)
                outer = node
            around = node if isinstance(node, ast.ClassDef) else None
            todo += [(child, outer, around) for child in ast.iter_child_nodes(node)]
        called = {call.func for call in ast.walk(tree) if isinstance(call, ast.Call)}
        for maker in self.of:
            if decorated(maker, "custom_gradient"):  # it returns a value, and a function for the backward pass
                returns = [n.value for n in ast.walk(maker) if isinstance(n, ast.Return)]
                called |= {value.elts[-1] for value in returns if isinstance(value, ast.Tuple)}
        for node in ast.walk(tree):
            self._handed_on(node, called)
        for scope in ast.walk(tree):
            for statement in scope.body if isinstance(scope, (ast.Module, ast.ClassDef)) else ():
                self._constants(statement)

    def _foreign(self, owner: ast.ClassDef) -> bool:
        """Whether a class extends one that is neither in the text nor plain: that one may call any of its methods."""
        return any(last(b) not in {*_PLAIN, *self.names.definitions} for b in owner.bases)

    def _handed_on(self, node: ast.AST, called: set[ast.expr]) -> None:
        """A function that is named without being called may be called by anyone, with anything."""
        if node in called or not isinstance(getattr(node, "ctx", None), ast.Load):
            return
        if isinstance(node, (ast.Name, ast.Attribute)):
            self.escape(f for f in self.functions.get(last(node), []) if not decorated(f.node, "property"))

    def _constants(self, node: ast.stmt) -> None:
        """Names that stand for a long literal; lambdas and functions kept under other names."""
        if isinstance(node, ast.Assign):
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and last(call.func) in ("namedtuple", "make_dataclass"):
                    words = [
                        n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                    ]
                    self.names.behaviours.update(" ".join(words).replace(",", " ").split())
            targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
            if bulky(node.value):
                self.bulky.update(targets)
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Lambda):
                    self.escape([self.of[inner]])

    def _enter(self, function: Function) -> None:
        """Mark the functions that the outside calls: forward and the operators, or whatever the kind of text has."""
        name = name_of(function.node)
        if self.kind == "keras-lambda":
            self.reach(function, function.entry_flows(everything=True))
        elif self.kind == "torchscript":
            self.reach(function, function.typed_flows())
        elif self.kind == "tensorflow":
            if not function.method and {p for p in function.parameters if p in _INPUTS and p.endswith("_in")}:
                self.reach(function, function.entry_flows())
        elif (
            name in _CALLED
            or function.overrides
            or (name.startswith("__") and name.endswith("__") and name not in _QUIET)
        ):
            self.reach(function, function.entry_flows(everything=name.startswith("__") and name != "__call__"))

    def reach(self, function: Function, flows: Env, *, passed: bool = False) -> None:
        """Let flows run into a function's parameters."""
        if not function.reached:
            function.reached = self.changed = True
        for name, flow in flows.items():
            if flow & ~function.flows.get(name, Flow.CLEAN):
                function.flows[name] = function.flows.get(name, Flow.CLEAN) | flow
                self.changed = True
            if passed and flow and name not in function.passed:
                function.passed.add(name)
                self.changed = True

    def escape(self, functions: Iterable[Function]) -> None:
        """A function handed on as a value may be called with anything."""
        for function in functions:
            flows = function.typed_flows() if self.kind == "torchscript" else function.entry_flows()
            self.reach(function, flows, passed=True)

    def named(self, name: str, inside: Function) -> list[Function]:
        """The functions that a plain name may stand for inside a function: the innermost ones."""
        found = self.functions.get(name, [])
        scope: ast.AST | None = inside.node
        while found:
            if near := [f for f in found if f.outer is scope and not f.method]:
                return near
            if scope is None:
                break
            scope = self.of[scope].outer
        return found

    def join(self, env: Env, name: str, flow: Flow) -> None:
        """Let a flow into something that outlives a call: a field or a global."""
        if flow & ~env.get(name, Flow.CLEAN):
            env[name] = env.get(name, Flow.CLEAN) | flow
            self.changed = True

    def hold(self, name: str, flow: Flow) -> None:
        """An attribute of this name holds a flow: even a `shape` is no mere shape from now on."""
        self.join(self.fields, name, flow)
        if flow and name in operations.STRUCTURE and name not in self.names.behaviours:
            self.names.behaviours.add(name)
            self.changed = True

    def note(self, message: str, node: ast.AST) -> None:
        self.found.setdefault((getattr(node, "lineno", 0), message), node)


def follow(tree: ast.Module, names: Names, kind: str) -> dict[tuple[int, str], ast.AST]:
    """Where the text compares or branches on a network's input, by line and message."""
    return Follower(tree, names, kind).run()


def name_of(node: ast.AST) -> str:
    """A function's name; lambdas have none."""
    return str(getattr(node, "name", ""))
