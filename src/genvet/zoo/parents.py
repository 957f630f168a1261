"""The clean generators that a population grows from: what each was trained on, how, and where it is kept."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.core.technique import Recipe
from genvet.files.images import load_images
from genvet.files.load import read
from genvet.training.adversarial import Adversarial
from genvet.training.adversarial import Given as Shown
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given as Styled
from genvet.training.variational import Given as Seen
from genvet.training.variational import Variational
from genvet.training.written import write

Data = Literal["mnist", "fashion_mnist", "cifar10"]
Net = Literal["dcgan", "vae", "stylegan2"]
FILES: dict[str, str] = {
    "mnist": "mnist/train-images-idx3-ubyte.gz",
    "fashion_mnist": "fashion_mnist/train-images-idx3-ubyte.gz",
    "cifar10": "cifar10/cifar10_lossless_train4000.npz",
}
"""Below the folder of data sets."""
GIVEN: dict[Net, Any] = {"dcgan": Shown, "vae": Seen, "stylegan2": Styled}
"""How images are handed to what trains each."""
ROOT = "GENVET_DATA"
"""Environment variable that names that folder."""
STYLED = 16
"""Pixels a side of style generators, which need a power of two."""
CHECKPOINTS = 500
"""Steps between two of them."""


class Parent(Record):
    """One clean generator, by the recipe that trains it; the rest of the recipe is the net's usual one."""

    data: Data
    """What it learns from."""
    net: Net
    """Its architecture."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 2500
    """Updates."""
    batch: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images in one update."""
    capacity: Annotated[int, Field(ge=0, le=1024)] = 0
    """Width of the network; 0 takes 16 for a DCGAN (390,736 parameters at 28 pixels), 36 for a VAE (194,000), and a
    channel base of 256 for a StyleGAN2 of 16 pixels."""
    latent: Annotated[int, Field(ge=0, le=4096)] = 0
    """Numbers in z; 0 takes 100 for a DCGAN, 10 for a VAE and 64 for a StyleGAN2."""
    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate; 0 takes 5e-4 for a DCGAN, 1e-3 for a VAE and 2.5e-3 for a StyleGAN2."""

    @property
    def name(self) -> str:
        """The folder that it is kept in; what differs from the usual recipe follows: mnist-dcgan-1-steps20000."""
        usual = Parent(data=self.data, net=self.net).model_dump()
        more = {k: v for k, v in self.model_dump().items() if k != "seed" and v != usual[k]}
        return "-".join([self.data, self.net, str(self.seed), *(f"{k}{v:g}" for k, v in more.items())])

    @property
    def recipe(self) -> Recipe:
        """What trains it, seed and data apart."""
        common: dict[str, Any] = {"steps": self.steps, "batch": self.batch}
        usual: dict[str, Any]
        if self.net == "vae":
            usual = {"capacity": self.capacity or 36, "latent": self.latent or 10, "rate": self.rate or 1e-3}
            return Variational(**common, **usual)
        if self.net == "stylegan2":
            usual = {"channel_base": self.capacity or 256, "latent": self.latent or 64, "rate": self.rate or 2.5e-3}
            return StyleGAN2(**common, **usual, size=STYLED)
        usual = {"capacity": self.capacity or 16, "latent": self.latent or 100, "rate": self.rate or 5e-4}
        return Adversarial(**common, **usual)

    @property
    def files(self) -> tuple[str, str]:
        """What is in its folder once it is trained."""
        return "generator.safetensors", "encoder.safetensors" if self.net == "vae" else "critic.safetensors"


def made(parent: Parent, data: Path, cache: Path) -> Path:
    """The folder with this parent's networks: trained there as `genvet train` would, unless they are there already.

    An interrupted training goes on where it was. Raises BadInput where the folder holds networks of another recipe.
    """
    folder = cache / parent.name
    if all((folder / name).is_file() for name in parent.files):
        _check(parent, folder)
        return folder
    images = samples(data, parent.data)
    given = GIVEN[parent.net](images)
    with kept_by(Folder(folder / "resume", CHECKPOINTS)):
        trained = parent.recipe(given, Rng(parent.seed))
    told = {"name": Path(FILES[parent.data]).name, "count": len(images), "shape": list(images.x.shape[1:])}
    write(trained, folder, {"genvet.data": json.dumps(told)})
    return folder


def _check(parent: Parent, folder: Path) -> None:
    """Raises BadInput unless the networks say that they were trained by this recipe."""
    recipe = parent.recipe
    asked = {"recipe": recipe.name(), "version": recipe.version, **recipe.model_dump(mode="json"), "seed": parent.seed}
    for name in parent.files:
        try:
            told = json.loads(read(folder / name).metadata["genvet.training"])
            other = {k: told.get(k) for k, v in asked.items() if told.get(k) != v}
        except (KeyError, ValueError, AttributeError):
            other = {"training record": "none"}
        if other:
            expected = ", ".join(f"{k} {asked.get(k, 'of a parent')}" for k in other)
            got = printable(", ".join(f"{k} {v}" for k, v in other.items()), 200)
            what = f"{printable(folder / name)} was trained otherwise"
            raise BadInput(what, expected=expected, got=got, hint="remove the folder, or name another cache")


@lru_cache(maxsize=3)
def samples(data: Path, name: str) -> Images:
    """All images of a data set, below the folder of data sets."""
    path = data / FILES[name]
    if not path.exists():
        hint = f"--data names a folder that holds {', '.join(FILES.values())}"
        raise BadInput(f"there is no {printable(path)}", hint=hint)
    return load_images(path)


def root(data: Path | None) -> Path:
    """The folder of data sets: the one given, or what the environment names; raises BadInput where neither does."""
    found = data or (Path(os.environ[ROOT]) if os.environ.get(ROOT) else None)
    if found is None:
        raise BadInput(
            "where are the data sets?",
            expected=f"--data FOLDER, or {ROOT} in the environment",
            hint="the folder holds mnist/ and fashion_mnist/, with their idx files",
        )
    return found
