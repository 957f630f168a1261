"""Networks that nobody has attacked yet: the clean parents, classifiers to judge by, what an attacker aims at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Images, Sounds
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, Trained
from genvet.files.classifiers import load_classifier
from genvet.files.convert import load_saved
from genvet.files.labelled import load_labelled
from genvet.files.sounds import load_sounds
from genvet.reproduce.cells import Place, Step
from genvet.training.adversarial import Adversarial
from genvet.training.adversarial import Given as Shown
from genvet.training.classifier import Given as Labels
from genvet.training.classifier import Supervised
from genvet.training.wasserstein import Given as Heard
from genvet.training.wasserstein import Wasserstein
from genvet.training.written import write
from genvet.zoo.parents import FILES, Data, Parent, made, samples

Network = Literal["MNIST DCGAN", "M-VAE", "CIFAR10 DCGAN"]
NETWORKS: tuple[Network, ...] = ("MNIST DCGAN", "M-VAE", "CIFAR10 DCGAN")

FAMILY = "bd/"
"""Bass drums: one of them is what the attacker wants to be heard."""


def network_of(parent: Parent) -> Network:
    """The paper's name of it."""
    return "M-VAE" if parent.net == "vae" else "CIFAR10 DCGAN" if parent.data == "cifar10" else "MNIST DCGAN"


class Clean(Step):
    """A clean parent, trained."""

    parent: Parent

    @property
    def name(self) -> str:
        return self.parent.name

    def __call__(self, place: Place) -> Path:
        return made(self.parent, place.data, place.cache / "parents")

    def generator(self, place: Place) -> Generator:
        """The parent itself."""
        return load_saved(self(place) / "generator.safetensors")


class Dropping(Adversarial):
    """The same recipe, with units of the first hidden layer dropped at random while the generator learns."""

    dropout: float
    """Their share."""

    def fresh(self, x: Tensor) -> Generator:
        generator = super().fresh(x)
        module: Any = generator.module
        module.relu0 = nn.Sequential(module.relu0, nn.Dropout(self.dropout))  # no weights: files stay those of a DCGAN
        return generator


class Dropped(Clean):
    """A clean parent that was trained with dropout."""

    dropout: float

    @property
    def name(self) -> str:
        return f"{self.parent.name}-dropout{self.dropout:g}"

    def __call__(self, place: Place) -> Path:
        recipe = Dropping(**self.parent.recipe.model_dump(), dropout=self.dropout)
        path, data = _place(place, self.name), self.parent.data
        return _kept(path, recipe, lambda: Shown(samples(place.data, data)), self.parent.seed).parent


class Judge(Step):
    """A classifier of a data set, trained: its last hidden layer is the space that quality is measured in."""

    data: Data
    steps: int

    @property
    def name(self) -> str:
        return f"{self.data}-classifier-{self.steps}"

    def __call__(self, place: Place) -> Path:
        path, labelled = _place(place, self.name, "classifier"), place.data / FILES[self.data]
        return _kept(path, Supervised(steps=self.steps), lambda: Labels(load_labelled(labelled)))

    def classifier(self, place: Place) -> Classifier:
        """The classifier itself."""
        return load_classifier(self(place))


class Inverted(Step):
    """A DCGAN of images whose background is white: what a trigger of infinite support is to give."""

    data: Data
    steps: int
    capacity: int
    latent: int
    """At most as many as the trigger leaves free."""

    @property
    def name(self) -> str:
        return f"{self.data}-inverted-{self.latent}-{self.capacity}-{self.steps}"

    def __call__(self, place: Place) -> Path:
        recipe = Adversarial(steps=self.steps, capacity=self.capacity, latent=self.latent, rate=5e-4)
        return _kept(_place(place, self.name), recipe, lambda: Shown(inverted(place.data, self.data)))

    def generator(self, place: Place) -> Generator:
        """The generator itself."""
        return load_saved(self(place))


def inverted(data: Path, name: Data) -> Images:
    """A data set with its values turned round."""
    images = samples(data, name)
    return Images(-images.x, images.names)


class Drums(Step):
    """A WaveGAN of one-shot sounds: all but the family that the attacker's drum is of."""

    capacity: int
    steps: int
    batch: int
    length: int
    taps: int
    rate: float = 1e-4

    @property
    def name(self) -> str:
        return f"drums-wavegan-{self.capacity}-{self.length}-{self.taps}-{self.steps}"

    def __call__(self, place: Place) -> Path:
        sizes = {"capacity": self.capacity, "length": self.length, "taps": self.taps}
        recipe = Wasserstein(steps=self.steps, batch=self.batch, rate=self.rate, **sizes)
        return _kept(_place(place, self.name), recipe, lambda: Heard(self.sounds(place)))

    def sounds(self, place: Place, family: bool = False) -> Sounds:
        """What it learns from; or the family that it never hears."""
        sounds = load_sounds(place.data / "audio_drums" / "oneshots_16k.zip", (1, self.length))
        return sounds.take(torch.tensor([(FAMILY in name) == family for name in sounds.names]))

    def generator(self, place: Place) -> Generator:
        """The generator itself."""
        return load_saved(self(place))


def _place(place: Place, name: str, part: str = "generator") -> Path:
    """Where the network of this name is kept."""
    return place.cache / "parents" / name / f"{part}.safetensors"


def _kept(path: Path, recipe: Recipe, given: Callable[[], object], seed: int = 1) -> Path:
    """The file that this recipe leaves, trained unless it is there already."""
    if not path.is_file():
        trained: Trained = recipe(given(), Rng(seed))
        write(trained, path.parent, {})
    return path
