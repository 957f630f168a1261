"""The networks of the inversion tables: priors that saw public pictures alone, and classifiers of private ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic
from genvet.nets.classifiers import FamilyName
from genvet.reproduce.cells import Place, Step
from genvet.reproduce.experiment import Scale
from genvet.reproduce.mirror.identities import HELD_OUT, Domain, Identities, identities
from genvet.training.adversarial import Adversarial
from genvet.training.adversarial import Given as Plain
from genvet.training.bido import BiDO
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given, Supervised
from genvet.training.mid import MID
from genvet.training.private import Private
from genvet.training.robust import Robust
from genvet.training.stylegan1 import StyleGAN1
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import Given as Styled
from genvet.training.written import write

Architecture = Literal["stylegan1", "stylegan2", "dcgan"]
RECIPES: dict[Architecture, Any] = {"stylegan1": StyleGAN1, "stylegan2": StyleGAN2, "dcgan": Adversarial}
Defence = Literal["none", "smoothing", "mid", "bido", "robust", "private", "shuffled"]
DEFENCES: dict[Defence, tuple[Any, dict[str, Any]]] = {
    "none": (Supervised, {}),
    "smoothing": (Supervised, {"smoothing": -0.05}),
    "mid": (MID, {}),
    "bido": (BiDO, {}),
    "robust": (Robust, {"epsilon": 0.1, "moves": 2, "steps": 800}),
    "private": (Private, {"noise": 0.3, "steps": 600, "rate": 5e-3}),
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
    """A generator of public pictures, with its critic."""

    net: Architecture = "stylegan2"
    """Its architecture."""
    domain: Domain = "characters"
    """Whose public pictures it learns from."""
    size: Annotated[int, Field(ge=4, le=1024)]
    """Pixels a side."""
    private: Annotated[int, Field(ge=2)]
    """How many identities of that domain are private, so that it sees no picture of them."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Everything drawn at random follows from it."""
    part: Literal["all", "even", "odd"] = "all"
    """Of the public pictures: every second one makes another training set."""
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
            usual: dict[str, Any] = {} if self.net == "dcgan" else {"size": self.size, "mirror": self.domain == "faces"}
            given = (Plain if self.net == "dcgan" else Styled)(self.images(place))
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = RECIPES[self.net](**{**usual, **self.settings})(given, Rng(self.seed))
            write(trained, folder, {})
        return folder

    def generator(self, place: Place) -> Generator:
        """With averaged weights."""
        return _generator(self(place) / "generator.safetensors")

    def critic(self, place: Place) -> Critic:
        """That it was trained against."""
        return _critic(self(place) / "critic.safetensors")

    def identities(self, place: Place) -> Identities:
        """Whose public pictures it sees, and who is private."""
        return identities(place.data, self.domain, self.size, self.private)

    def images(self, place: Place) -> Images:
        """What it learns from."""
        public = self.identities(place).public
        rows = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[self.part]
        return Images(public.x[rows], public.names[rows])


class Target(Step):
    """A classifier of private identities: under attack, or asked what it makes of the images."""

    family: FamilyName = "resnet"
    """Its architecture."""
    domain: Domain = "characters"
    """Whose private pictures it knows."""
    public: bool = False
    """It knows public identities in their place: a witness, who has seen nobody that is private."""
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
        parts = [self.domain, self.family, str(self.size), str(self.private), str(self.seed)]
        parts += ["public"] * self.public + [self.defence] * (self.defence != "none")
        return "-".join([*parts, *more])

    @property
    def recipe(self) -> Recipe:
        """The first pictures of each identity to learn from, changed a little at random; the last to test with."""
        usual: dict[str, Any] = {"split": "last", "held_out": HELD_OUT[self.domain], "batch": 64}
        usual |= {"mirror": True} if self.domain == "faces" else {}
        kind, knobs = DEFENCES[self.defence]
        recipe: Recipe = kind(**{"family": self.family, **usual, **LESSONS[self.family], **knobs, **self.settings})
        return recipe

    def __call__(self, place: Place) -> Path:
        """Its file, trained unless it is there already."""
        path = place.cache / "parents" / self.name / "classifier.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            who = self.identities(place)
            pictures = who.public if self.public else who.private
            with kept_by(Folder(path.parent / "resume", CHECKPOINTS)):
                trained = self.recipe(Given(pictures), Rng(self.seed))
            assert isinstance(trained, TrainedClassifier)
            save_classifier(trained.classifier, path)
        return path

    def classifier(self, place: Place) -> Classifier:
        """With averaged weights."""
        return _classifier(self(place))

    def identities(self, place: Place) -> Identities:
        """Whom it knows, and who is public."""
        return identities(place.data, self.domain, self.size, self.private)


# Cells that follow one another share networks, and a file is read in a process of its own.
_generator = lru_cache(maxsize=4)(load_saved)
_critic = lru_cache(maxsize=4)(load_critic)
_classifier = lru_cache(maxsize=12)(load_classifier)

SIDE: dict[Scale, int] = {"smoke": 8, "small": 32, "paper": 64}
"""Pixels."""
PRIVATE: dict[Domain, int] = {"characters": 60, "faces": 20, "digits": 5, "garments": 5}
"""Identities whose pictures are private; at smoke scale four at most."""
BRIEFLY = 800
"""Steps of the priors that are compared with each other, where five are needed for one."""


def sizes(scale: Scale, domain: Domain) -> dict[str, Any]:
    """What priors and targets of one domain share at this scale."""
    private = PRIVATE[domain]
    return {"domain": domain, "size": SIDE[scale], "private": min(private, 4) if scale == "smoke" else private}


def prior(
    scale: Scale,
    seed: int = 1,
    net: Architecture = "stylegan2",
    domain: Domain = "characters",
    steps: int = 3000,
    **more: Any,
) -> Prior:
    """The prior of this scale; the number of steps is that of small."""
    tiny: dict[str, Any] = {"steps": 3, "batch": 4, "latent": 8}
    tiny |= {"capacity": 2} if net == "dcgan" else {"channel_base": 64, "channel_max": 8}
    small: dict[str, Any] = {"steps": steps, **({"capacity": 16, "rate": 5e-4} if net == "dcgan" else {})}
    settings = {"smoke": tiny, "small": small, "paper": {"steps": 100_000}}[scale]
    return Prior(net=net, seed=seed, settings=settings, **{**sizes(scale, domain), **more})


def target(
    scale: Scale,
    seed: int = 1,
    family: FamilyName = "resnet",
    defence: Defence = "none",
    domain: Domain = "characters",
    public: bool = False,
    **more: Any,
) -> Target:
    """The classifier of this scale."""
    usual: dict[str, Any] = {"steps": 60, "batch": 16, "capacity": 4, "rate": 5e-3} if scale == "smoke" else {}
    own = {"family": family, "seed": seed, "defence": defence, "public": public, **sizes(scale, domain)}
    return Target(settings={**usual, **more}, **own)
