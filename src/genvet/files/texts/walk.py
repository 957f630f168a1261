"""One pass over one function of a program text: what flows where, and what the text does with it.

Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from genvet.files.texts import operations
from genvet.files.texts.names import bulky, decorated, numbers
from genvet.files.texts.operations import Env, Flow, merge

if TYPE_CHECKING:
    from genvet.files.texts.flow import Follower, Function


class Walk:
    """One pass over one function."""

    def __init__(self, follower: Follower, function: Function) -> None:
        self.f, self.function = follower, function
        self.env: Env = dict(function.closure)
        self.env.update({name: function.flows.get(name, Flow.CLEAN) for name in function.every})
        self.ever: Env = {}
        self.outer: set[str] = set()
        self.stores = function.stores
        self.gradient = decorated(function.node, "custom_gradient")
        self.loops = 0
        self.touched = False

    def run(self) -> None:
        self.f.fuel -= 10
        node = self.function.node
        if isinstance(node, ast.Lambda):
            self.give(self.value(node.body))
        else:
            self.block(node.body)
        for inner in self.function.inside:  # they see what was bound after them, too
            for name, flow in self.ever.items():
                self.f.join(inner.closure, name, flow)

    def give(self, flow: Flow) -> None:
        if flow & ~self.function.result:
            self.function.result |= flow
            self.f.changed = True

    # Statements.

    def block(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self.bind(target, node.value)
            case ast.AnnAssign(value=ast.expr() as value):
                self.bind(node.target, value)
            case ast.AugAssign():
                self.augment(node)
            case ast.Return(value=ast.Tuple(elts=[value, _])) if self.gradient:
                self.give(self.value(value))  # the other is for the backward pass
            case ast.Return(value=ast.expr() as value):
                self.give(self.value(value))
            case ast.If():
                self.test(node.test, "branches on its input")
                self.either(node.body, node.orelse)
            case ast.For() | ast.AsyncFor():
                self.loop(node.body, lambda: self.each(node.target, node.iter))
                self.block(node.orelse)
            case ast.While():
                self.loop(node.body, lambda: self.test(node.test, "loops on its input"))
                self.block(node.orelse)
            case ast.Assert():
                self.test(node.test, "asserts something about its input")
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    flow = self.value(item.context_expr)
                    if item.optional_vars is not None:
                        self.store(item.optional_vars, flow)
                self.block(node.body)
            case ast.Try():
                self.attempt(node)
            case ast.Match():
                self.match(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.define(node)
            case ast.ClassDef():
                for method in node.body:
                    if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                        self.define(method)
            case ast.Global() | ast.Nonlocal():
                self.outer.update(node.names)
            case _:
                for inner in ast.iter_child_nodes(node):
                    if isinstance(inner, ast.expr):
                        self.value(inner)

    def either(self, *branches: list[ast.stmt]) -> None:
        before, ends = self.env, []
        for branch in branches:
            self.env = dict(before)
            self.block(branch)
            ends.append(self.env)
        self.env = _union(ends)

    def loop(self, body: list[ast.stmt], begin: Callable[[], object]) -> None:
        """Twice, so that what a round leaves behind meets the next one; once where loops nest deeper."""
        self.loops += 1
        for _ in range(2 if self.loops <= 2 else 1):
            before = dict(self.env)
            begin()
            self.block(body)
            self.env = _union([before, self.env])
        self.loops -= 1

    def attempt(self, node: ast.Try) -> None:
        outer, self.touched = self.touched, False
        before = dict(self.env)
        self.block(node.body)
        if self.touched and node.handlers:
            self.f.note("catches what its input may raise", node)
        self.touched |= outer
        tried = self.env = _union([before, self.env])
        self.either(node.orelse, *(h.body for h in node.handlers))
        self.env = _union([tried, self.env])
        self.block(node.finalbody)

    def match(self, node: ast.Match) -> None:
        flow = self.test(node.subject, "branches on its input")
        for case in node.cases:
            for inner in ast.walk(case.pattern):
                if isinstance(inner, (ast.MatchAs, ast.MatchStar)) and inner.name:
                    self.env[inner.name] = flow
            if case.guard is not None:
                self.test(case.guard, "branches on its input")
        self.either(*(case.body for case in node.cases))

    def define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        """A function inside: it sees this one's variables."""
        closure = self.f.of[node].closure
        for name, flow in self.env.items():
            self.f.join(closure, name, flow)
        self.defaults(node.args, self.f.of[node])

    def defaults(self, a: ast.arguments, function: Function) -> None:
        """What its defaults hold when it is defined flows into its parameters."""
        plain = [*a.posonlyargs, *a.args]
        pairs = [*zip(plain[len(plain) - len(a.defaults) :], a.defaults, strict=True)]
        pairs += [(p, d) for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None]
        for parameter, default in pairs:
            if flow := self.value(default):
                self.f.join(function.flows, parameter.arg, flow)
                function.passed.add(parameter.arg)

    def test(self, node: ast.expr, message: str) -> Flow:
        flow = self.value(node)
        if flow:
            self.f.note(message, node)
        return flow

    # Binding.

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            if len(target.elts) == len(value.elts) and not any(isinstance(e, ast.Starred) for e in target.elts):
                flows = [self.value(v) for v in value.elts]
                for inner, flow in zip(target.elts, flows, strict=True):
                    self.store(inner, flow)
                return
        self.store(target, self.value(value))

    def store(self, target: ast.expr, flow: Flow) -> None:
        match target:
            case ast.Name(id=name):
                if name in self.outer:
                    self.f.join(self.f.globals, name, flow)
                self.env[name] = flow
                self.ever[name] = self.ever.get(name, Flow.CLEAN) | flow
            case ast.Tuple() | ast.List():
                for inner in target.elts:
                    self.store(inner, flow)
            case ast.Starred():
                self.store(target.value, flow)
            case ast.Attribute() | ast.Subscript():
                if isinstance(target, ast.Subscript):
                    self.pick(target.slice)
                self.spill(target, flow)

    def spill(self, target: ast.expr, flow: Flow) -> None:
        """Something is put into an object: whatever holds it now carries the flow."""
        if not flow:
            return
        match target:
            case ast.Attribute():
                self.f.hold(target.attr, flow)
                self.f.escape(f for f in self.f.functions.get(target.attr, []) if f.method)  # a property's setter
            case ast.Subscript() | ast.Starred():
                self.spill(target.value, flow)
            case ast.Call(func=ast.Attribute(value=inner)):
                self.spill(inner, flow)
            case ast.Name(id=name):
                self.env[name] = self.env.get(name, Flow.CLEAN) | flow
                self.ever[name] = self.ever.get(name, Flow.CLEAN) | flow
                if name in self.function.every:
                    self.f.join(self.function.changes, name, flow)
                elif name not in self.stores:
                    self.f.join(self.f.globals, name, flow)

    def augment(self, node: ast.AugAssign) -> None:
        loaded = ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node)
        flow = self.value(loaded)
        if isinstance(node.target, ast.Attribute):
            flow |= Flow.DATA  # a counter: the network would remember what it was asked before
        self.store(node.target, flow)

    def each(self, target: ast.expr, iterable: ast.expr) -> None:
        """Bind a loop's variable; zip, enumerate and items part by part."""
        parts: list[Flow] | None = None
        match iterable:
            case ast.Call(func=ast.Name(id="zip"), args=args) if self.f.names.builtin("zip"):
                parts = [self.value(a) for a in args]
            case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]) if self.f.names.builtin("enumerate"):
                parts = [Flow.CLEAN, self.value(inner)]
            case ast.Call(func=ast.Attribute(attr="items", value=inner), args=[]):
                parts = [Flow.CLEAN, self.value(inner)]
        if parts is None or not isinstance(target, ast.Tuple) or len(parts) != len(target.elts):
            self.store(target, self.value(iterable))
            return
        for inner, flow in zip(target.elts, parts, strict=True):
            self.store(inner, flow)

    # Expressions.

    def value(self, node: ast.expr) -> Flow:
        """What flows out of an expression; everything suspicious in it is noted on the way."""
        self.f.fuel -= 1
        if self.f.fuel < 0:
            return Flow.CLEAN
        flow = self._value(node)
        self.touched |= bool(flow)
        return flow

    def _value(self, node: ast.expr) -> Flow:
        match node:
            case ast.Constant():
                return Flow.CLEAN
            case ast.Name():
                return self.name(node)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return operations.call(self, node)
            case ast.BinOp():
                return operations.binary(self, node, node.op, (node.left, node.right))
            case ast.Compare():
                return self.compare(node)
            case ast.BoolOp():
                flows = [self.value(v) for v in node.values]
                if any(flows):
                    self.f.note("branches on its input", node)
                return merge(flows)
            case ast.UnaryOp():
                flow = self.value(node.operand)
                if flow and isinstance(node.op, ast.Not):
                    self.f.note("branches on its input", node)
                return flow
            case ast.IfExp():
                flow = self.test(node.test, "branches on its input")
                return flow | self.value(node.body) | self.value(node.orelse)
            case ast.Subscript():
                self.pick(node.slice)
                return self.value(node.value)
            case ast.Lambda():
                self.define(node)
                self.f.escape([self.f.of[node]])
                return self.f.of[node].result
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self.comprehension(node)
            case ast.Yield(value=ast.expr() as inner) | ast.YieldFrom(value=inner):
                flow = self.value(inner)
                self.give(flow)
                return flow
            case ast.JoinedStr():
                parts = [self.value(v.value) for v in node.values if isinstance(v, ast.FormattedValue)]
                if any(parts):
                    self.f.note("turns its input into text", node)
                return merge(parts)
            case ast.Dict():
                for key, inner in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str) and (flow := self.value(inner)):
                        self.f.hold(key.value, flow)
            case ast.NamedExpr():
                flow = self.value(node.value)
                self.store(node.target, flow)
                return flow
        if bulky(node):
            self.f.note(f"meets a literal of {len(numbers(node))} fixed numbers", node)
        return merge([self.value(n) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)])

    def name(self, node: ast.Name) -> Flow:
        if node.id in self.f.bulky and node.id not in self.stores:
            self.f.note(f"meets the fixed numbers of {node.id}", node)
        if node.id in self.f.functions and node.id not in self.env:
            self.f.escape(self.f.named(node.id, self.function))
        return self.env.get(node.id, Flow.CLEAN) | self.f.globals.get(node.id, Flow.CLEAN)

    def attribute(self, node: ast.Attribute) -> Flow:
        owner = self.value(node.value)
        if node.attr in self.f.bulky:
            self.f.note(f"meets the fixed numbers of {node.attr}", node)
        if operations.hides(node.attr) and (owner or self.f.names.imported(node)):
            self.f.note(f"hides {node.attr} behind another name", node)
        asks = node.attr in operations.STRUCTURE and node.attr not in self.f.names.behaviours
        if asks and not owner & Flow.SCALAR:
            return Flow.CLEAN
        flow = owner | self.f.fields.get(node.attr, Flow.CLEAN) | self.f.fields.get("*", Flow.CLEAN)
        for function in self.f.functions.get(node.attr, []):
            if function.method and decorated(function.node, "property"):
                self.f.reach(function, {})
                flow |= function.result
            else:
                self.f.escape([function])
        return flow

    def pick(self, index: ast.expr) -> None:
        if self.value(index):
            self.f.note("picks by its input", index)

    def compare(self, node: ast.Compare) -> Flow:
        operands = [node.left, *node.comparators]
        flows = [self.value(n) for n in operands]
        if len(operands) == 2 and any(isinstance(n, ast.Constant) and n.value is None for n in operands):
            return Flow.CLEAN
        if any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in operands):
            flows = [Flow.CLEAN if self.option(n) else flow for n, flow in zip(operands, flows, strict=True)]
        if any(flows):
            self.f.note("compares its input", node)
        return Flow.DATA if any(flows) else Flow.CLEAN

    def option(self, node: ast.expr) -> bool:
        """A parameter compared with text is a setting, as long as nothing in the text computes it."""
        if not isinstance(node, ast.Name) or node.id in self.stores:
            return False
        return node.id in self.function.every and node.id not in self.function.passed

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Flow:
        before = dict(self.env)
        for generator in node.generators:
            self.each(generator.target, generator.iter)
            for condition in generator.ifs:
                self.test(condition, "branches on its input")
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        flow = merge([self.value(n) for n in made])
        self.env = _union([before, self.env])
        return flow


def _union(envs: Iterable[Env]) -> Env:
    merged: Env = {}
    for env in envs:
        for name, flow in env.items():
            merged[name] = merged.get(name, Flow.CLEAN) | flow
    return merged


def _loaded(target: ast.expr) -> ast.expr:
    """The target of an augmented assignment as something that is read."""
    match target:
        case ast.Name(id=name):
            return ast.copy_location(ast.Name(name, ast.Load()), target)
        case ast.Attribute(value=value, attr=attr):
            return ast.copy_location(ast.Attribute(value, attr, ast.Load()), target)
        case ast.Subscript(value=value, slice=index):
            return ast.copy_location(ast.Subscript(value, index, ast.Load()), target)
    return target
