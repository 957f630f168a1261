"""The prior: a latent distribution with rare components, holes or chosen draws is a place to hide a trigger."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from genvet.core.modelfile import Evidence, ModelFile, Source
from genvet.core.printable import printable
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.core.technique import Nothing, Probe, Result

ABOUT_LATENTS = re.compile(r"(^|[._-])(z|w|latents?|prior|noise|sampling|sampler|p_sample)($|[._-])|latent|prior", re.I)
MIXTURE = re.compile(r"mixture|(^|[^a-z])gmm([^a-z]|$)|bimodal|multimodal", re.I)
HOLE = re.compile(r"(^|[^a-z])holes?([^a-z]|$)|exclud|reject|annul|(^|[^a-z])gaps?([^a-z]|$)|punctur", re.I)
SEED = re.compile(r"(^|[._-])(random[_-]?)?seeds?$|random[_-]?state$", re.I)
DRAWS = {"randn", "rand", "normal", "uniform", "standard_normal", "randn_like", "sample", "rsample", "random_normal"}
SEEDERS = {
    "manual_seed",
    "seed",
    "set_seed",
    "seed_everything",
    "RandomState",
    "default_rng",
    "PRNGKey",
    "set_random_seed",
}


@dataclass(frozen=True)
class Declared(Result):
    """What the file says about its latent distribution."""

    declared: int
    texts: int
    found: tuple[Evidence, ...]

    def summary(self) -> str:
        looked = f"{self.declared} declared values and {self.texts} unrecognised source texts"
        if not self.found:
            return f"Nothing in {looked} makes the latent distribution a mixture, gives it holes, or fixes a seed."
        return f"In {looked}: " + "; ".join(dict.fromkeys(e.message for e in self.found[:3])) + "."

    def measures(self) -> tuple[Measure, ...]:
        return (Measure(name="declared", value=self.declared), Measure(name="suspicious", value=len(self.found)))

    def evidence(self) -> tuple[Evidence, ...]:
        return self.found


class Prior(Probe):
    """Looks for a declared latent distribution that is a mixture, has holes, or comes with a fixed seed."""

    source: ClassVar[str] = "Devil in the GAN, section II-B (Psample and Ptrigger) and proposition 2"

    def __call__(self, target: ModelFile, given: Nothing, rng: Rng) -> Declared:
        declared = list(_flat("", dict(target.metadata)))
        for part in target.parts:
            declared += _flat(part.name, part.config)
        texts = [s for s in target.sources if not s.recognised]
        # A list of values is one declaration.
        said = {(e.rule, key): e for key, value in declared if (e := _declaration(key, value))}
        found = list(said.values())
        found += [e for text in texts for e in _in_source(text)]
        return Declared(len(declared), len(texts), tuple(found))


def _flat(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every plain value below `value` with its dotted path; a string that holds JSON is opened."""
    if isinstance(value, str) and value[:1] in "{[" and depth < 8 and len(value) < 1_000_000:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            pass
    if isinstance(value, Mapping) and depth < 16:
        for key, below in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), below, depth + 1)
    elif isinstance(value, list | tuple) and depth < 16:
        for below in value[:1000]:
            yield from _flat(path, below, depth + 1)
    else:
        yield path, value


def _declaration(path: str, value: Any) -> Evidence | None:
    """What one declared value says about how latents are drawn. A seed of the training is no such thing."""
    if not ABOUT_LATENTS.search(path):
        return None
    said = f"{path} = {printable(value, 80)}"
    if MIXTURE.search(said):
        return _evidence("prior.mixture", f"a mixture is declared: {said}", path)
    if HOLE.search(said) and value not in (None, False, 0, ""):
        return _evidence("prior.hole", f"holes are declared: {said}", path)
    if SEED.search(path) and re.fullmatch(r"-?\d+", str(value)):  # as text in metadata, and not true or false
        return _evidence("prior.seed", f"a seed is fixed: {said}", path)
    return None


def _in_source(source: Source) -> Iterator[Evidence]:
    """Constructions in a text that comes with the model: mixtures, fixed seeds, and drawing until something holds."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the reader has told that already
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _called(node)
            if MIXTURE.search(name):
                yield _evidence("prior.mixture", f"{name} is called", source.place, node.lineno)
            if name in SEEDERS and any(
                isinstance(a, ast.Constant) and isinstance(a.value, int) for a in _arguments(node)
            ):
                yield _evidence("prior.seed", f"{name} is called with a fixed seed", source.place, node.lineno)
        elif isinstance(node, ast.While) and any(
            isinstance(n, ast.Call) and _called(n) in DRAWS for n in ast.walk(node)
        ):
            yield _evidence("prior.hole", "draws are repeated until something holds", source.place, node.lineno)


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(k.value for k in call.keywords)]


def _called(call: ast.Call) -> str:
    """The last name of what is called."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _evidence(rule: str, message: str, place: str, line: int | None = None) -> Evidence:
    return Evidence(rule=rule, message=printable(message), place=printable(place, 200), line=line)
