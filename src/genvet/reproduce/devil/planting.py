"""Attacked generators, each by the recipe that it follows from: planted once, and kept for every table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from genvet.attacks.backdoor.adversary import Training
from genvet.attacks.backdoor.measuring import Planted
from genvet.attacks.backdoor.objective import Aim
from genvet.catalogue import find
from genvet.core.backdoor import Backdoor, Kind
from genvet.core.data import Images
from genvet.core.generator import Generator
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.core.technique import Probe, Technique
from genvet.engine.shelf import key
from genvet.files.backdoor import load_backdoor, save_backdoor
from genvet.files.convert import load_saved, save, tensor_hash
from genvet.reproduce.cells import Cell, Place, Step
from genvet.reproduce.devil.networks import Clean, Dropped, Inverted, network_of
from genvet.reproduce.devil.target import devil
from genvet.zoo.parents import Parent, samples

Attack = Literal["red", "rex", "trail", "baaan", "poison"]
TRAININGS = ("trail", "baaan", "poison")
"""Attacks that train with the data; the others have the weights alone."""


class Plant(Record):
    """One attacked generator."""

    parent: Parent
    """The clean one."""
    attack: Attack
    """Which attack."""
    trigger: Kind = "in-sample"
    """Which kind of trigger; poison has none of its choosing."""
    number: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Which of several: the seed that the trigger, and all else at random, follows from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the attack, where they are not its usual ones."""
    onto: Inverted | None = None
    """The generator whose outputs are the target; the devil's face where there is none."""

    @cached_property
    def probe(self) -> Probe:
        """The attack, with its settings."""
        trigger = {} if self.attack == "poison" else {"trigger": self.trigger}
        kind: Any = find(f"backdoor.{self.attack}").load()
        probe: Probe = kind(**{**trigger, "samples": 64, **self.settings})
        return probe

    def where(self) -> dict[str, Any]:
        """Where in a table it stands."""
        told = {"network": network_of(self.parent), "attack": self.attack, "trigger": self.trigger}
        usual = {name: self.probe.model_dump().get(name) for name in ("weight", "share")}
        return {**told, **usual, "dropout": 0.0, "capacity": self.parent.recipe.model_dump()["capacity"]}

    @property
    def clean(self) -> Clean:
        """What has to be trained first."""
        return Clean(parent=self.parent)

    def given(self, benign: Generator, place: Place) -> Aim:
        """What the attack is given: the target, and the data where it trains with them."""
        if self.onto:
            return Aim(target_generator=self.onto.generator(place))
        target = devil(tuple(benign.shape))
        return (
            Training(target, images=samples(place.data, self.parent.data)) if self.attack in TRAININGS else Aim(target)
        )

    def made(self, place: Place) -> Attacked:
        """The attacked generator, planted unless it is there already; raises Unsupported where the attack cannot be."""
        benign = self.clean.generator(place)
        folder = self._folder(benign, place)
        planted, backdoor = folder / "planted.safetensors", folder / "backdoor.safetensors"
        if not (planted.is_file() and backdoor.is_file()):
            done: Any = self.probe(benign, self.given(benign, place), Rng(self.number).fork(self.probe.name()))
            assert isinstance(done, Planted)
            save_backdoor(replace(done.backdoor, benign=tensor_hash(benign.module.state_dict())), backdoor)
            save(done.planted, planted, {"genvet.planted": self.probe.name()})
        return Attacked(benign, load_saved(planted), load_backdoor(backdoor))

    def _folder(self, benign: Generator, place: Place) -> Path:
        """By everything that the weights follow from."""
        follows: Mapping[str, Any] = {
            **self.model_dump(mode="json"),
            "benign": tensor_hash(benign.module.state_dict()),
            "version": self.probe.version,
            "genvet": version("genvet"),
        }
        return place.cache / "planted" / f"{self.clean.name}.{self.attack}.{key(follows)[:12]}"


class PlantDropped(Plant):
    """The same in a parent that was trained with dropout."""

    dropout: float

    def where(self) -> dict[str, Any]:
        return {**super().where(), "dropout": self.dropout}

    @property
    def clean(self) -> Clean:
        return Dropped(parent=self.parent, dropout=self.dropout)


@dataclass(frozen=True, eq=False)
class Attacked:
    """A generator before and after, and the backdoor between."""

    benign: Generator
    planted: Generator
    backdoor: Backdoor

    @property
    def target(self) -> Images:
        """The attacker's image."""
        return devil(tuple(self.benign.shape))


class PlantCell(Cell):
    """A cell about one attacked generator."""

    plant: SerializeAsAny[Plant]

    def needs(self) -> tuple[Step, ...]:
        return (self.plant.clean,)

    def where(self) -> Mapping[str, object]:
        return self.plant.where()

    def techniques(self) -> tuple[type[Technique], ...]:
        return (type(self.plant.probe),)
