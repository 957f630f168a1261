"""Targets, and thefts of them: every table of the stealing paper is made of these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from genvet import engine
from genvet.attacks.extraction.stolen import Stolen
from genvet.catalogue import find
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Recipe, Technique, TrainedGenerator
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.files.training_set import load_training_set
from genvet.maths.gaussians import Grid
from genvet.reproduce.cells import Cell, Numbers, Place, Step
from genvet.reproduce.stylegan.networks import FILES, images
from genvet.training import shadows
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.written import write

Data = Literal["gaussians", "fashion_mnist", "mnist", "cifar10", "celeba", "lsun_church"]
GRID = Grid().scaled(0.4)
"""25 Gaussians with a standard deviation of 0.05 at distance 1, in units of 0.4: they lie within [-1, 1]."""
POINTS = 50_000
CHECKPOINTS = 500
Attack = Literal["fidelity", "accuracy_mh", "accuracy_white_box"]


class Target(Step):
    """A generator to steal, with its critic."""

    data: Data
    """What it learns from."""
    recipe: str
    """What trains it, with its fields: pggan:steps=3000,capacity=8."""
    size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Pixels a side."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""

    @property
    def name(self) -> str:
        """The folder that it is kept in."""
        return f"{self.data}-{self.size}-{slug(self.recipe)}-{self.seed}"

    @property
    def trains(self) -> Recipe:
        """The recipe, at this size."""
        found = shadows.recipe(self.recipe)
        return found.model_copy(update={"size": self.size}) if "size" in type(found).model_fields else found

    def __call__(self, place: Place) -> Path:
        """The folder with its networks, trained there unless they are there already; goes on where it was stopped."""
        folder = place.cache / "parents" / self.name
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            recipe = self.trains
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = recipe(recipe.gift()(self.images(place)), Rng(self.seed))
            write(trained, folder, {})
        return folder

    def generator(self, place: Place) -> Generator:
        """With averaged weights."""
        return load_saved(self(place) / "generator.safetensors")

    def critic(self, place: Place) -> Critic:
        """That it was trained against."""
        return load_critic(self(place) / "critic.safetensors")

    def images(self, place: Place) -> Images:
        """What it learns from."""
        return learned(place.data, self.data, self.size, self.seed if self.data == "gaussians" else 0)


@lru_cache(maxsize=2)
def learned(root: Path, data: Data, size: int, seed: int) -> Images:
    """A data set at this size; points are drawn, each seed its own."""
    if data == "gaussians":
        return Images(GRID.sample(POINTS, Rng(seed, "points")).view(-1, 1, 1, 2), ("",) * POINTS)
    if data in FILES:
        return images(root, data, size)
    if not (root / data).exists():
        raise BadInput(f"there is no {printable(root / data)}", hint=f"--data names a folder that holds {data}")
    return load_training_set(root / data, size)


class Theft(Cell):
    """One theft: what it came to, measured against the target and the data that this learned from."""

    target: Target
    attack: Attack = "fidelity"
    attacker: str
    """The recipe of the attacker's network."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the attack, where not its usual ones."""
    real: Annotated[int, Field(ge=0)] = 0
    """Real samples that the attacker has: the first of those that the target learned from."""
    guard: str = ""
    """What stands before the target, by name; and its settings."""
    guard_settings: dict[str, Any] = Field(default_factory=dict)
    knowing: str = ""
    """A word of the way in which the attacker undoes the guard; empty for one who does not know of it."""

    @property
    def name(self) -> str:
        behind = [self.guard, *_told(self.guard_settings)] if self.guard else []
        parts = [self.target.name, self.attack, slug(self.attacker), *_told(self.settings), *behind]
        return "-".join(
            [*parts, *([f"real{self.real}"] if self.real else []), *([self.knowing] if self.knowing else [])]
        )

    def needs(self) -> tuple[Step, ...]:
        return (self.target,)

    def techniques(self) -> tuple[type[Technique], ...]:
        recipes = (type(self.target.trains), type(shadows.recipe(self.attacker)))
        return (_kind(self.attack, "attack"), *recipes, *((_kind(self.guard, "defence"),) if self.guard else ()))

    def where(self) -> Mapping[str, object]:
        asked = self.settings.get("queries") or self.settings.get("refined") or 0
        about = {"data": self.target.data, "net": net_of(self.target.recipe), "seed": self.target.seed}
        about |= {"attack": self.attack, "attacker": net_of(self.attacker), "guard": self.guard, "asked": asked}
        about |= {"knowing": self.knowing}
        return {**about, "prior": self.settings.get("prior", "declared"), **_row(self.settings)}

    def __call__(self, place: Place) -> Numbers:
        return numbers(self.stolen(place))

    def kept(self, place: Place) -> Path:
        """The folder with the stolen generator and its critic, stolen unless they are there already."""
        folder = self._folder(place)
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            self.stolen(place)
        return folder

    def stolen(self, place: Place) -> Stolen:
        """The theft itself; what was stolen is kept."""
        probe: Probe = _kind(self.attack, "attack")(**self.settings, attacker=self.attacker)
        generator, guards = self.target.generator(place), self._guards()
        images = self.target.images(place)
        have: dict[str, Any] = {"reference": images, "undefended": generator}
        if self.attack != "fidelity":
            some = Images(images.x[: self.real], images.names[: self.real])
            have |= {"critic": self.target.critic(place), "real": some}
        folder = self._folder(place)
        with kept_by(Folder(folder / "resume", CHECKPOINTS)):
            result, _ = engine.measured(
                probe, generator, probe.gift()(**have), seed=self.target.seed, guards=guards, knowing=self.knowing
            )
        assert isinstance(result, Stolen)
        record = json.loads(result.stolen.metadata["genvet.training"])
        write(TrainedGenerator(generator=result.stolen, critic=result.critic, record=record), folder, {})
        return result

    def _folder(self, place: Place) -> Path:
        return place.cache / "thefts" / self.name

    def _guards(self) -> tuple[engine.Standing, ...]:
        if not self.guard:
            return ()
        kind: Any = _kind(self.guard, "defence")
        return (engine.Standing(kind(**self.guard_settings)),)


def numbers(result: Stolen) -> dict[str, float | None]:
    """All measures by name, and what chance gives beside them."""
    found: dict[str, float | None] = {}
    for measure in result.measures():
        found[measure.name] = measure.value
        if measure.chance is not None:
            found[f"{measure.name}.null"] = measure.chance
    return found


def net_of(recipe: str) -> str:
    """The name of a recipe, without its fields.

    >>> net_of("pggan:steps=3")
    'pggan'
    """
    return recipe.partition(":")[0]


def slug(text: str) -> str:
    """A recipe as part of a file's name.

    >>> slug("pggan:steps=3,rate=0.001")
    'pggan-steps3-rate0.001'
    """
    return text.replace("=", "").replace(":", "-").replace(",", "-")


def _told(settings: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}{value:g}" if isinstance(value, int | float) else f"{key}-{value}" for key, value in settings.items()
    ]


def _row(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What tells refinements apart."""
    return {key: settings.get(key, usual) for key, usual in (("sampler", "metropolis"), ("calibration", "isotonic"))}


def _kind(name: str, kind: str) -> Any:
    return find(name, kind).load()
