"""Style generators that the tables look into: trained once, by what they learned from, their size and their seed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.core.technique import Recipe
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.files.training_set import load_training_set
from genvet.reproduce.cells import Place, Step
from genvet.reproduce.experiment import Scale
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.stylegan1 import StyleGAN1
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given
from genvet.training.written import write

Data = Literal["fashion_mnist", "mnist", "faces", "cifar10", "celeba"]
Net = Literal["stylegan1", "stylegan2"]
FILES: dict[Data, tuple[str, ...]] = {
    "fashion_mnist": ("fashion_mnist/train-images-idx3-ubyte.gz",),
    "mnist": ("mnist/train-images-idx3-ubyte.gz",),
    "faces": ("faces_orl/orl_faces.npz", "faces_yaleb/yaleb_cropped_64.npz"),
    "cifar10": ("cifar10/cifar10_lossless_train4000.npz",),
    "celeba": ("celeba",),
}
"""Below the folder of data sets; the last is a folder of pictures."""
CHECKPOINTS = 500


class Styled(Step):
    """A trained style generator with its critic."""

    data: Data
    """What it learns from."""
    net: Net = "stylegan2"
    """Its architecture."""
    size: Annotated[int, Field(ge=4, le=1024)] = 32
    """Pixels a side."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the recipe, where not its usual ones."""

    @property
    def name(self) -> str:
        """The folder that it is kept in; what differs from the usual recipe follows."""
        more = [f"{k}{v:g}" if isinstance(v, int | float) else f"{k}-{v}" for k, v in sorted(self.settings.items())]
        return "-".join([self.data, self.net, str(self.size), str(self.seed), *more])

    @property
    def recipe(self) -> Recipe:
        """What trains it, seed and data apart."""
        kind = StyleGAN1 if self.net == "stylegan1" else StyleGAN2
        usual = {"mirror": self.data not in ("fashion_mnist", "cifar10")}
        return kind(**{"size": self.size, **usual, **self.settings})

    def __call__(self, place: Place) -> Path:
        """The folder with its networks, trained there unless they are there already; goes on where it was stopped."""
        folder = place.cache / "parents" / self.name
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = self.recipe(Given(self.images(place)), Rng(self.seed))
            write(trained, folder, {})
        return folder

    def generator(self, place: Place) -> StyleGenerator:
        """The generator, with averaged weights."""
        loaded = load_saved(self(place) / "generator.safetensors")
        assert isinstance(loaded, StyleGenerator)
        return loaded

    def critic(self, place: Place) -> Critic:
        """The critic that it was trained with."""
        return load_critic(self(place) / "critic.safetensors")

    def images(self, place: Place) -> Images:
        """What it learns from, in its size."""
        return images(place.data, self.data, self.size)


@lru_cache(maxsize=2)
def images(root: Path, name: Data, size: int) -> Images:
    """All images of these data sets, square and in one size; in colour where one of them is."""
    paths = [root / file for file in FILES[name]]
    if missing := [path for path in paths if not path.exists()]:
        hint = f"--data names a folder that holds {', '.join(FILES[name])}"
        raise BadInput(f"there is no {printable(missing[0])}", hint=hint)
    sets = [load_training_set(path, size) for path in paths]
    channels = max(s.x.shape[1] for s in sets)
    x = torch.cat([s.x.expand(-1, channels, -1, -1) for s in sets])
    return Images(x, tuple(name for s in sets for name in s.names))


def parent(
    scale: Scale, seed: int = 1, size: int = 0, data: Data | None = None, net: Net | None = None, **settings: Any
) -> Styled:
    """The style generator of this scale; what is not given is the scale's own, and `settings` are of the recipe.

    Smoke: 8 pixels, a few steps. Small: a StyleGAN2 of Fashion-MNIST at 32 pixels, 2,500 steps of 32 images. Paper: a
    StyleGAN of CelebA at 128 pixels, as the paper has it.
    """
    usual: dict[Scale, tuple[Data, Net, int, dict[str, Any]]] = {
        "smoke": (
            *("fashion_mnist", "stylegan2", 8),
            {"steps": 3, "batch": 4, "latent": 8, "channel_base": 64, "channel_max": 8},
        ),
        "small": ("fashion_mnist", "stylegan2", 32, {"steps": 2500}),
        "paper": (
            *("celeba", "stylegan1", 128),
            {"steps": 300_000, "latent": 512, "channel_base": 16_384, "channel_max": 512},
        ),
    }
    of, kind, side, more = usual[scale]
    return Styled(data=data or of, net=net or kind, size=size or side, seed=seed, settings={**more, **settings})
