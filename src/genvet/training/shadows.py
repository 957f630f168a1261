"""Shadow models: one recipe again and again, each on other records; a finished one is kept, and never made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.files.convert import load_saved, tensor_hash
from genvet.files.critic import load_critic
from genvet.training.checkpoints import STATE, Folder, kept_by
from genvet.training.written import write

RECIPES = {
    "regularised": "Regularised",
    "adversarial": "Adversarial",
    "variational": "Variational",
    "dense": "Dense",
    "sngan": "SNGAN",
    "pggan": "PGGAN",
    "stylegan1": "StyleGAN1",
    "stylegan2": "StyleGAN2",
}
"""Of generators, all but those of sounds: the file, and its class."""
EVERY = 500
"""Steps from one checkpoint to the next."""
_folder: ContextVar[Path | None] = ContextVar("shadows", default=None)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Shadow models inside the block are kept below this folder, and taken from there."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def recipe(text: str) -> Recipe:
    """A recipe by `name:field=value,field=value`; raises BadInput where there is none.

    >>> recipe("adversarial:steps=200,capacity=8").capacity
    8
    """
    name, _, rest = text.partition(":")
    if name not in RECIPES:
        raise BadInput(f"no recipe of shadow models is called {printable(name, 40)}", expected=", ".join(RECIPES))
    kind = getattr(import_module(f"genvet.training.{name}"), RECIPES[name])
    pairs = [item.partition("=") for item in filter(None, (i.strip() for i in rest.split(",")))]
    try:
        made: Recipe = kind.model_validate({key: _value(value) for key, _, value in pairs})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise BadInput(f"this is no recipe: {printable(text, 100)}", got=printable(told, 200)) from None
    return made


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def drawn(people: Tensor, count: int, shadows: int, rng: Rng) -> Tensor:
    """Which of the records each shadow learns from, (shadows, n): about `count`, whole people, all equally often.

    >>> chosen = drawn(torch.arange(6), 3, 4, Rng(0))
    >>> chosen.sum(1).tolist(), chosen.sum(0).tolist()
    ([3, 3, 3, 3], [2, 2, 2, 2, 2, 2])
    """
    who, place = people.unique(return_inverse=True)
    size, queue, made, turns = place.bincount().tolist(), list[int](), [], 0
    for _ in range(shadows):
        mine, waiting, total = set[int](), list[int](), 0
        while total < count and len(mine) < len(who):
            if not queue:
                queue, turns = torch.randperm(len(who), generator=rng.block(turns)).tolist(), turns + 1
            k = queue.pop()
            if k in mine:  # it was left from the turn before: the next shadow has it
                waiting.append(k)
                continue
            mine.add(k)
            total += size[k]
        queue += waiting
        made.append(torch.isin(place, torch.tensor(sorted(mine))))
    return torch.stack(made)


@dataclass(frozen=True, eq=False)
class Shadow:
    """A model that learned from records of one's own choosing."""

    generator: Generator
    critic: Critic | None


def shadow(recipe: Recipe, images: Images, rng: Rng) -> Shadow:
    """What the recipe makes of these images, from the folder of `kept_in` where it was made before."""
    folder = _folder.get()
    told = {"recipe": recipe.name(), "version": recipe.version, **recipe.model_dump(mode="json")}
    text = json.dumps([told, rng.seed, rng.purpose, tensor_hash({"x": images.x})], sort_keys=True)
    place = None if folder is None else folder / hashlib.sha256(text.encode()).hexdigest()[:24]
    if place is not None and (place / "generator.safetensors").is_file():
        generator, critic = load_saved(place / "generator.safetensors"), place / "critic.safetensors"
        return Shadow(generator, load_critic(critic) if critic.is_file() else None)
    with kept_by(Folder(place / "resume", EVERY)) if place else nullcontext():
        trained = recipe(recipe.gift()(images), rng)
    assert isinstance(trained, TrainedGenerator)
    if place is not None:
        _write(trained, place)
    shape = tuple(trained.generator.shape)
    return Shadow(trained.generator, None if trained.critic is None else Critic(trained.critic, shape))


def _write(trained: TrainedGenerator, place: Path) -> None:
    """The generator goes last into its place: where it is, all is."""
    whole = place / "whole"
    whole.mkdir(parents=True, exist_ok=True)
    for path in reversed(write(trained, whole, {})):
        path.replace(place / path.name)
    whole.rmdir()
    (place / "resume" / STATE).unlink(missing_ok=True)
