"""The same in somebody's training script: it is parsed, and never run."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator

from genvet.training.privacy_linter import Breach, Rule

GENERATOR = re.compile(r"(net)?_?(g|gs|gen|generator)(_?(net|ema|model))?", re.I)
CRITIC = re.compile(r"disc|critic|^(net)?_?D$", re.I)
FENCED = re.compile(r"^```(?:python|py)\s*\n(.*?)^```", re.S | re.M)
MADE_PRIVATE = ("make_private", "make_private_with_epsilon")


def lint_source(text: str) -> tuple[Breach, ...]:
    """What breaks a private training in this Python, or in the Python of this Markdown, with the lines.

    >>> [b.rule for b in lint_source("e = PrivacyEngine()\\ne.make_private(module=netG)\\ne.get_privacy_spent(1e-5)")]
    ['private-generator', 'old-call']
    """
    found: list[Breach] = []
    for source, before in _sources(text):
        try:
            tree = ast.parse(textwrap.dedent(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = before + (getattr(error, "lineno", None) or 1)
            found.append(Breach("unreadable", f"line {line}"))
            continue
        found += [Breach(rule, f"line {before + line}") for line, rule in sorted(set(_breaches(tree)))]
    return tuple(found)


def _sources(text: str) -> list[tuple[str, int]]:
    """Each piece of Python, with the lines before it."""
    fenced = [(m.group(1), text[: m.start(1)].count("\n")) for m in FENCED.finditer(text)]
    return fenced or [(text, 0)]


Found = Iterator[tuple[int, Rule]]


def _breaches(tree: ast.Module) -> Found:
    yield from _engines(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and CRITIC.search(node.name):
            yield from _in_critic(node)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and _is_deviation(node.name):
            yield node.lineno, "minibatch-deviation"
        if isinstance(node, ast.For | ast.While | ast.FunctionDef):
            yield from _backwards(node.body)
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        if isinstance(node, ast.If) and any("best" in name.lower() for name in _names(node.test)):
            yield node.lineno, "selection"
        if isinstance(node, ast.Assign | ast.AugAssign) and _follows_scores(node):
            yield node.lineno, "adaptive-augmentation"


def _engines(tree: ast.Module) -> Found:
    """Who is made private, by the module that is handed over and by what that was made of."""
    made = {
        target.id: _name(node.value.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _name(n.func) in MADE_PRIVATE]
    calls.sort(key=lambda call: call.lineno)
    for call in calls:
        module = next((k.value for k in call.keywords if k.arg == "module"), call.args[0] if call.args else None)
        name = "" if module is None else _name(module)
        if GENERATOR.fullmatch(name) or GENERATOR.fullmatch(made.get(name, "")):
            yield call.lineno, "private-generator"
    for call in calls[1:]:
        yield call.lineno, "two-networks"


def _of_call(call: ast.Call) -> Found:
    name, given = _name(call.func), {k.arg: k.value for k in call.keywords}
    if name in ("get_privacy_spent", "attach") and (name != "attach" or "privacy" in ast.unparse(call.func).lower()):
        yield call.lineno, "old-call"
    if name == "PrivacyEngine" and (call.args or {"sample_rate", "alphas", "batch_size"} & set(given)):
        yield call.lineno, "old-call"
    if name == "grad" and _is(given.get("create_graph"), True):
        yield call.lineno, "double-backward"
    if name in MADE_PRIVATE and _is(given.get("poisson_sampling"), False):
        yield call.lineno, "no-poisson"
    if name in ("spectral_norm", "SpectralNorm"):
        yield call.lineno, "spectral-norm"
    if _is_deviation(name):
        yield call.lineno, "minibatch-deviation"


def _in_critic(node: ast.ClassDef) -> Found:
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        name = _name(call.func)
        if name.startswith(("BatchNorm", "SyncBatchNorm")):
            yield call.lineno, "batch-norm"
        first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in ("dim", "axis")), None)
        if name in ("std", "var") and _is(first, 0):
            yield call.lineno, "minibatch-deviation"


def _backwards(body: list[ast.stmt]) -> Found:
    """Two backward passes in a row, without a step or a fresh start between them."""
    open_ = False
    for statement in body:
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)] if isinstance(statement, ast.Expr) else []
        names = {_name(call.func) for call in calls}
        if "backward" in names and open_:
            yield statement.lineno, "several-backwards"
        if names & {"step", "zero_grad"}:
            open_ = False
        open_ = open_ or "backward" in names


def _follows_scores(node: ast.Assign | ast.AugAssign) -> bool:
    """A strength of augmentation that is set by the sign of something."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    named = any(re.search(r"aug|(^|_|\.)ada", ast.unparse(target), re.I) for target in targets)
    return named and any(isinstance(n, ast.Call) and _name(n.func) == "sign" for n in ast.walk(node.value))


def _is_deviation(name: str) -> bool:
    return bool(re.search(r"mini_?batch_?(std|dev|disc)|mb_?std", name, re.I))


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def _name(node: ast.expr) -> str:
    """The last part of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.AST) -> set[str]:
    return {
        n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)
    }
