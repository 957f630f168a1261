"""policy.toml: what a service answers, to whom, and what stands before the model; every number has bounds."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genvet.catalogue import find
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.queries import Queries
from genvet.core.technique import Guard

LARGEST = 64 << 10
"""Bytes of a policy."""


class Part(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Limits(Part):
    """What one request may ask for, and how many may wait."""

    images: Annotated[int, Field(ge=1, le=1024)] = 64
    """Queries in one request, and in one batch of the model."""
    megabytes: Annotated[float, Field(gt=0, le=64)] = 64
    """Of a request, and of an answer."""
    seconds: Annotated[float, Field(gt=0, le=600)] = 60
    """From the first byte of a request to its answer."""
    waiting: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Requests at once; more are sent away with a Retry-After."""
    each: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Of these, how many may be one client's: none keeps the others out."""
    join_ms: Annotated[float, Field(ge=0, le=1000)] = 4
    """How long the model waits for requests on their way that may join its batch."""


class Clients(Part):
    """What a new client gets, unless `genvet serve keys add` says otherwise."""

    budget: Annotated[int, Field(ge=0, le=10**12)] | None = 10_000
    """Queries."""
    rate: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Queries a second; without one, as many as the machine answers."""
    burst: Annotated[int, Field(ge=1, le=10**7)] | None = None
    """Queries at once; the rate unless given."""


class Latents(Part):
    """Whose latents are answered, and which are not: such queries are charged, and bring no image."""

    source: Literal["server", "client"] = "server"
    """`server` draws them itself; `client` lets clients send their own as well."""
    typical: bool = True
    """Look at each latent as a draw from the prior: its length, its largest coordinate, its distribution."""
    false_alarms: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    """Share of honest latents that may fail the look."""
    repeats: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Times that a client may ask for one latent, among its last `memory`."""
    neighbours: Annotated[int, Field(ge=0, le=10**6)] | None = None
    """Latents near an earlier one that a client may ask for, among its last `memory`: a search drifts."""
    memory: Annotated[int, Field(ge=1, le=65_536)] = 1024
    """Latents of a client that are remembered, by all workers together."""
    otherwise: Literal["block", "hold"] = "block"
    """What becomes of a latent that fails: nothing comes back, or a person decides."""


class Answers(Part):
    """What a classifier tells."""

    kind: Literal["scores", "top_k", "label"] = "scores"
    k: Annotated[int, Field(ge=1, le=100_000)] = 5


class Stands(BaseModel):
    """A guard: its name, its settings, and under `given` the files that it may be given, beside this one."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, Field(max_length=100)]
    given: dict[str, Annotated[str, Field(max_length=1000)]] = {}
    otherwise: Literal["block", "hold"] = "block"

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Policy(Part):
    """The whole file."""

    limits: Limits = Limits()
    clients: Clients = Clients()
    latents: Latents = Latents()
    answers: Answers = Answers()
    guards: Annotated[tuple[Stands, ...], Field(max_length=16)] = ()
    """The first stands nearest to the model."""


@dataclass(frozen=True)
class Asked:
    """A guard that is to stand, with its settings checked and its files named."""

    guard: Guard
    files: dict[str, Path]
    otherwise: Literal["block", "hold"]


def read(path: Path) -> Policy:
    """The policy of a file; raises BadInput where it cannot be read, or holds what it must not."""
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{printable(path)} is too large for a policy", expected=f"at most {LARGEST} bytes")
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {printable(path)}", got=error.strerror or type(error).__name__) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{printable(path)} does not parse", got=printable(error, 200)) from None
    try:
        return Policy.model_validate(held)
    except ValidationError as error:
        raise _unfit(error, path) from None


def guards(policy: Policy, folder: Path, view: type[Any]) -> list[Asked]:
    """What stands before a view of this kind, in order; raises BadInput with near names where there is no such guard.

    Files are beside the policy or below: `..`, absolute paths and links that lead out are refused.
    """
    return [_asked(one, folder, view) for one in policy.guards]


def _asked(one: Stands, folder: Path, view: type[Any]) -> Asked:
    kind: Any = find(printable(one.name, 100), "defence").load()
    if not issubclass(kind, Guard):
        raise BadInput(f"{kind.name()} is no guard", hint="it changes a model, once: genvet defend")
    if kind.guards() is not view:
        raise BadInput(f"{kind.name()} stands before {kind.guards().__name__}", expected=f"a guard of {view.__name__}")
    if one.otherwise == "hold" and view is not Queries:
        raise BadInput(f"{kind.name()} holds nothing", expected='otherwise = "block": a person decides about images')
    known = {f.name for f in fields(kind.gift())}
    for name in one.given:
        if name not in known:
            raise BadInput(f"{kind.name()} is given no {printable(name, 60)!r}", hint=_near(name, known))
    try:
        guard = kind(**one.settings)
    except ValidationError as error:
        raise _unfit(error, kind.name(), [*kind.model_fields, *(f"given.{name}" for name in known)]) from None
    return Asked(guard, {name: _within(folder, path) for name, path in one.given.items()}, one.otherwise)


def _within(folder: Path, named: str) -> Path:
    """A file that the policy names, with its `#a:b` slice."""
    path, mark, part = named.partition("#")
    whole = Path(os.path.realpath(folder / path.replace("\0", "/../")))
    if Path(path).is_absolute() or not whole.is_relative_to(os.path.realpath(folder)) or "\0" in named:
        raise BadInput(
            f"the policy names a file elsewhere: {printable(named, 100)}", expected="a file beside the policy, or below"
        )
    if not whole.exists():
        raise BadInput(f"there is no {printable(named, 100)} beside the policy")
    return whole.with_name(whole.name + mark + part)


def _unfit(error: ValidationError, where: Path | str, known: list[str] | None = None) -> BadInput:
    """What pydantic found, in words: the field, and the nearest one that there is."""
    said, hints = [], []
    for found in error.errors(include_url=False, include_context=False)[:5]:
        place = ".".join(map(str, found["loc"]))
        said.append(f"{printable(place, 80)}: {printable(found['msg'], 120)}")
        if found["type"] == "extra_forbidden":
            hints.append(_near(str(found["loc"][-1]), known or _fields(found["loc"][:-1])))
    return BadInput(f"{printable(where, 200)}: {'; '.join(said)}", hint=" ".join(dict.fromkeys(hints)))


def _fields(place: tuple[int | str, ...]) -> list[str]:
    """The fields of the table that this place is in."""
    part = Policy.model_fields.get(str(place[0])) if place else None
    kind = part.annotation if part else Policy
    return list(getattr(kind, "model_fields", {}))


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
