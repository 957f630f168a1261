"""What names in a program text stand for: imports resolved, builtins told from what the text binds anew.

Runs in the child process: standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

BULK = 8
"""Numbers in one literal that make it a stored picture or trigger rather than a setting."""


@dataclass
class Names:
    """Everything a text binds, whatever the scope: a name bound twice stands for all it was ever bound to."""

    definitions: set[str] = field(default_factory=set)
    """Names of functions and classes."""
    imports: dict[str, set[str]] = field(default_factory=dict)
    """Alias -> dotted names of what was imported under it."""
    bound: set[str] = field(default_factory=set)
    """Names bound by anything else: definitions, assignments, parameters, loops."""
    members: set[str] = field(default_factory=set)
    """Names of methods, and of attributes that something is assigned to."""
    stored: set[str] = field(default_factory=set)
    """Names of attributes that something is assigned to."""
    behaviours: set[str] = field(default_factory=set)
    """Those of them that may run code: methods, class attributes, attributes that a function is assigned to."""

    @classmethod
    def of(cls, tree: ast.AST) -> Names:
        names = cls()
        for node in ast.walk(tree):
            names._add(node)
        for node in ast.walk(tree):
            names._behave(node)
        return names

    def _add(self, node: ast.AST) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    self._import(alias.asname or alias.name.partition(".")[0], alias.name, bool(alias.asname))
            case ast.ImportFrom():
                for alias in node.names:
                    self._import(alias.asname or alias.name, f"{node.module or ''}.{alias.name}", True)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.bound.add(node.name)
                self.definitions.add(node.name)
                if isinstance(node, ast.ClassDef):
                    self.members |= {n.name for n in node.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
                    self.members |= set(_targets(node.body))
                    self.behaviours |= self.members
            case ast.Name(ctx=ast.Store() | ast.Del()):
                self.bound.add(node.id)
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                self.members.add(node.attr)
                self.stored.add(node.attr)
            case ast.arg():
                self.bound.add(node.arg)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.bound.add(name)

    def _behave(self, node: ast.AST) -> None:
        """Attributes that could hold a function, or that belong to something else than self."""
        match node:
            case ast.Assign(value=value):
                stored = [t for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Attribute)]
            case ast.AnnAssign(target=ast.Attribute() as target, value=ast.expr() as value):
                stored = [target]
            case _:
                return
        runs = any(
            isinstance(n, ast.Lambda) or (isinstance(n, ast.Name) and n.id in self.definitions) for n in ast.walk(value)
        )
        self.behaviours |= {
            t.attr for t in stored if runs or not (isinstance(t.value, ast.Name) and t.value.id == "self")
        }

    def _import(self, alias: str, dotted: str, whole: bool) -> None:
        self.imports.setdefault(alias, set()).add(dotted if whole else dotted.partition(".")[0])

    def builtin(self, name: str) -> bool:
        """Whether nothing in the text gives this name another meaning."""
        return name not in self.bound and name not in self.imports

    def dotted(self, node: ast.expr) -> str:
        """`np.random.rand` as `numpy.random.rand`; "" where it is no chain of names."""
        match node:
            case ast.Name():
                homes = self.imports.get(node.id, set())
                return next(iter(homes)) if len(homes) == 1 and node.id not in self.bound else node.id
            case ast.Attribute():
                inner = self.dotted(node.value)
                return f"{inner}.{node.attr}" if inner else ""
        return ""

    def imported(self, node: ast.expr) -> bool:
        """Whether a chain of names begins at something imported."""
        return root(node) in self.imports


def root(node: ast.expr) -> str:
    """The name that a chain of attributes, subscripts and calls begins with; "" where it begins otherwise."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def last(node: ast.expr) -> str:
    """The last name of a chain: `square` of `(a - b).square`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def number(node: ast.AST) -> float | None:
    """The value of a number, signed or a power or product of numbers; None for anything else."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return float(value) if abs(value) < 1e300 else float("inf")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            plain = number(inner)
            return plain if plain is None or isinstance(node.op, ast.UAdd) else -plain
        case ast.BinOp(op=ast.Pow() | ast.Mult() | ast.Div(), left=left, right=right):
            a, b = number(left), number(right)
            return None if a is None or b is None else _combine(node.op, a, b)
    return None


def _combine(op: ast.operator, a: float, b: float) -> float | None:
    try:
        value = a**b if isinstance(op, ast.Pow) else a * b if isinstance(op, ast.Mult) else a / b
    except (OverflowError, ZeroDivisionError):
        return float("inf")
    return value if isinstance(value, float) else None


def numbers(node: ast.AST) -> list[complex]:
    """The numbers written out in a display, such as `[[1, -2.5], [3, 4]]`."""
    found, todo = [], [node]
    while todo:
        match todo.pop():
            case ast.Constant(value=int() | float() | complex() as value):
                found.append(complex(value) if abs(value) < 1e300 else complex("inf"))
            case ast.List(elts=inner) | ast.Tuple(elts=inner) | ast.Set(elts=inner) | ast.Dict(values=inner):
                todo += inner
            case ast.Call(args=inner):
                todo += inner
            case ast.UnaryOp(operand=one):
                todo.append(one)
    return found


def bulky(node: ast.expr) -> bool:
    """A literal that holds a trigger or a picture: many numbers, or long text or bytes."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bytes) and len(node.value) >= 64
    if not isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Call)):
        return False
    found = numbers(node)
    return len(found) >= BULK and len(set(found)) > BULK // 2  # not the zeros and ones of a padding


def decorated(node: ast.AST, name: str) -> bool:
    """Whether a function has this decorator, wherever its name comes from."""
    decorators = getattr(node, "decorator_list", [])
    return any(last(d) == name for d in decorators)


def _targets(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (t.id for t in targets if isinstance(t, ast.Name))
