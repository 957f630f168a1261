"""Characters as identities: who is private, the priors that saw public ones alone, and the classifiers under attack."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.files.omniglot import Characters, divided, load_omniglot
from genvet.nets.classifiers import FamilyName
from genvet.reproduce.cells import Place, Step
from genvet.reproduce.experiment import Scale
from genvet.training.adversarial import Adversarial
from genvet.training.adversarial import Given as Plain
from genvet.training.bido import BiDO
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given, Supervised
from genvet.training.mid import MID
from genvet.training.robust import Robust
from genvet.training.stylegan1 import StyleGAN1
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given as Styled
from genvet.training.written import write
from genvet.zoo.parents import samples

Architecture = Literal["stylegan1", "stylegan2", "dcgan"]
RECIPES: dict[Architecture, Any] = {"stylegan1": StyleGAN1, "stylegan2": StyleGAN2, "dcgan": Adversarial}
Defence = Literal["none", "smoothing", "mid", "bido", "robust", "shuffled"]
DEFENCES: dict[Defence, tuple[Any, dict[str, Any]]] = {
    "none": (Supervised, {}),
    "smoothing": (Supervised, {"smoothing": -0.05}),
    "mid": (MID, {}),
    "bido": (BiDO, {}),
    "robust": (Robust, {"epsilon": 0.1, "moves": 2, "steps": 800}),
    "shuffled": (Supervised, {"shuffled": True}),
}
"""The recipe of each, and its settings; the last is the null control, which knows no character."""
BRIEF: dict[str, Any] = {"steps": 1500, "rate": 2e-3, "shift": 0.1, "turn": 12.0, "zoom": 0.2}
LONG: dict[str, Any] = {"steps": 3000, "rate": 1e-3, "shift": 0.1, "turn": 15.0, "zoom": 0.25, "decay": 0.05}
LESSONS: dict[FamilyName, dict[str, Any]] = {
    **{"resnet": BRIEF, "vgg": BRIEF, "cnn": {**BRIEF, "rate": 1e-3}},
    **{"allconv": LONG, "mixer": LONG},
}
"""With which each family knows nine of ten drawings by other hands, the cnn seven."""
CHECKPOINTS = 500


class Prior(Step):
    """A generator of public characters, with its critic."""

    net: Architecture = "stylegan2"
    """Its architecture."""
    size: Annotated[int, Field(ge=4, le=1024)]
    """Pixels a side."""
    private: Annotated[int, Field(ge=2)]
    """How many characters are private: none of their alphabets is public."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""
    part: Literal["all", "even", "odd"] = "all"
    """Of the public drawings: every second one makes another training set."""
    domain: Literal["characters", "mnist", "fashion_mnist"] = "characters"
    """What it learns from: public characters; digits, which are drawn as well; or garments, which are not."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the recipe, where not its usual ones."""

    @property
    def name(self) -> str:
        """The folder that it is kept in."""
        more = [f"{k}{v:g}" if isinstance(v, int | float) else f"{k}-{v}" for k, v in sorted(self.settings.items())]
        parts = [self.domain, self.net, str(self.size), str(self.private), self.part, str(self.seed)]
        return "-".join([*parts, *more])

    def __call__(self, place: Place) -> Path:
        """The folder with its networks, trained there unless they are there already."""
        folder = place.cache / "parents" / self.name
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            size = {} if self.net == "dcgan" else {"size": self.size}
            given = (Plain if self.net == "dcgan" else Styled)(self.images(place))
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = RECIPES[self.net](**size, **self.settings)(given, Rng(self.seed))
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
        if self.domain != "characters":
            return samples(place.data, self.domain)
        public = characters(place.data, self.size, self.private).public
        rows = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[self.part]
        return Images(public.x[rows], public.names[rows])


class Target(Step):
    """A classifier of private characters: under attack, or asked what it makes of the images."""

    family: FamilyName = "resnet"
    """Its architecture."""
    size: Annotated[int, Field(ge=4, le=1024)]
    """Pixels a side."""
    private: Annotated[int, Field(ge=2)]
    """Its classes."""
    defence: Defence = "none"
    """How it is trained to give little away."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the recipe, where not its usual ones."""

    @property
    def name(self) -> str:
        """The folder that it is kept in."""
        more = [f"{k}{v:g}" if isinstance(v, int | float) else f"{k}-{v}" for k, v in sorted(self.settings.items())]
        parts = ["characters", self.family, str(self.size), str(self.private), str(self.seed)]
        return "-".join([*parts, *([] if self.defence == "none" else [self.defence]), *more])

    @property
    def recipe(self) -> Recipe:
        """14 drawings a character to learn from, moved, turned and scaled at random; 6 to test with."""
        usual: dict[str, Any] = {"split": "last", "held_out": 0.3, "batch": 64}
        kind, knobs = DEFENCES[self.defence]
        recipe: Recipe = kind(**{"family": self.family, **usual, **LESSONS[self.family], **knobs, **self.settings})
        return recipe

    def __call__(self, place: Place) -> Path:
        """Its file, trained unless it is there already."""
        path = place.cache / "parents" / self.name / "classifier.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            drawings = characters(place.data, self.size, self.private).drawings
            with kept_by(Folder(path.parent / "resume", CHECKPOINTS)):
                trained = self.recipe(Given(drawings), Rng(self.seed))
            assert isinstance(trained, TrainedClassifier)
            save_classifier(trained.classifier, path)
        return path

    def classifier(self, place: Place) -> Classifier:
        """With averaged weights."""
        return load_classifier(self(place))


@lru_cache(maxsize=2)
def characters(root: Path, size: int, private: int) -> Characters:
    """Omniglot's characters below the folder of data sets, so many of them private."""
    paths = sorted((root / "omniglot").glob("*.zip"))
    if not paths:
        hint = "--data names a folder that holds omniglot/, with its archives"
        raise BadInput(f"there is no omniglot in {printable(root)}", hint=hint)
    return divided(load_omniglot(paths, size), private=private)


SIZES: dict[Scale, dict[str, Any]] = {
    "smoke": {"size": 8, "private": 4},
    "small": {"size": 32, "private": 60},
    "paper": {"size": 64, "private": 60},
}


def prior(scale: Scale, seed: int = 1, net: Architecture = "stylegan2", **more: Any) -> Prior:
    """The prior of this scale."""
    tiny: dict[str, Any] = {"steps": 3, "batch": 4, "latent": 8}
    tiny |= {"capacity": 2} if net == "dcgan" else {"channel_base": 64, "channel_max": 8}
    small: dict[str, Any] = {"steps": 3000} if net != "dcgan" else {"steps": 3000, "capacity": 16, "rate": 5e-4}
    settings = {"smoke": tiny, "small": small, "paper": {"steps": 100_000}}[scale]
    return Prior(net=net, seed=seed, settings=settings, **{**SIZES[scale], **more})


def target(
    scale: Scale, seed: int = 1, family: FamilyName = "resnet", defence: Defence = "none", **more: Any
) -> Target:
    """The classifier of this scale."""
    # Even the smallest has to know its classes: one that does not is refused as a target.
    usual: dict[str, Any] = {"steps": 60, "batch": 16, "capacity": 4, "rate": 5e-3} if scale == "smoke" else {}
    return Target(family=family, seed=seed, defence=defence, settings={**usual, **more}, **SIZES[scale])
