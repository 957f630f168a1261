"""Private generators of some of a file's records, and classifiers of others that judge what these are worth."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.data import Critic, Images, Labelled
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedClassifier
from genvet.files.classifiers import load_classifier, save_classifier
from genvet.reproduce.cells import Place, Step
from genvet.reproduce.experiment import Scale
from genvet.reproduce.leakage.networks import CHECKPOINTS, Data, Learned, labelled
from genvet.training.adversarial import Given
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.classifier import Given as Lessons
from genvet.training.classifier import Supervised
from genvet.training.dp_merf import DPMERF
from genvet.training.private_dcgan import PrivateDCGAN
from genvet.training.written import write

MERF = "dp_merf"


class Shielded(Learned):
    """A DCGAN that learned by a private recipe: `recipe` among its settings names another one than DP-SGD."""

    @property
    def merf(self) -> bool:
        return self.settings.get("recipe") == MERF

    @property
    def name(self) -> str:
        knobs = [f"{key}{value}" for key, value in sorted(self.settings.items()) if key != "recipe"]
        return "-".join(["private", *[MERF] * self.merf, self.data, str(self.members), str(self.seed), *knobs])

    @property
    def recipe(self) -> Recipe:
        knobs = {key: value for key, value in self.settings.items() if key != "recipe"}
        return DPMERF(**knobs) if self.merf else PrivateDCGAN(**knobs)

    def __call__(self, place: Place) -> Path:
        folder = place.cache / "parents" / self.name
        if not (folder / "generator.safetensors").is_file():
            learned = self.held(place, 0).learned
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = self.recipe(Given(learned), Rng(self.seed))
            write(trained, folder, {})
        return folder

    def critic(self, place: Place) -> Critic:
        if self.merf:  # it has none, and no attack that asks for one is made on it
            return Critic(torch.nn.Identity(), ())
        return super().critic(place)


class Judge(Step):
    """A classifier of records that no generator of the table learned from."""

    data: Data
    members: int
    """Of the generators: their reference's records are what it learns from."""
    others: int
    part: Literal["reference", "unseen"]
    """The reference's records for whoever labels or attacks, the unseen ones for whoever judges that."""
    family: Literal["cnn", "allconv"] = "cnn"
    seed: int
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        knobs = [f"{key}{value}" for key, value in sorted(self.settings.items())]
        return "-".join(["judge", self.family, self.part, self.data, str(self.members), str(self.seed), *knobs])

    def __call__(self, place: Place) -> Path:
        path = place.cache / "judges" / f"{self.name}.safetensors"
        if not path.is_file():
            held = Learned(data=self.data, members=self.members, seed=self.seed).held(place, self.others)
            records = held.reference if self.part == "reference" else held.unseen
            trained = taught(with_labels(place, self.data, records), self.family, self.settings, self.seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_classifier(trained, path)
        return path

    def classifier(self, place: Place) -> Classifier:
        return _classifier(self(place))


def taught(images: Labelled, family: Any, settings: dict[str, Any], seed: int) -> Classifier:
    """A fresh classifier of these images."""
    trained = Supervised(family=family, **settings)(Lessons(images), Rng(seed))
    assert isinstance(trained, TrainedClassifier)
    return trained.classifier


def with_labels(place: Place, data: Data, images: Images) -> Labelled:
    """Records of a file with their classes, by their numbers in it."""
    whole = labelled(place.data, data)
    rows = torch.tensor([int(name.partition("#")[2]) for name in images.names])
    return Labelled(images.x, images.names, labels=whole.labels[rows], classes=whole.classes)


def named(x: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Labelled:
    """Samples with the labels that somebody gave them."""
    return Labelled(x, tuple(f"sample {i}" for i in range(len(x))), labels=labels, classes=classes)


@lru_cache(maxsize=4)
def _classifier(path: Path) -> Classifier:
    return load_classifier(path)


MEMBERS: dict[Scale, int] = {"smoke": 40, "small": 8000, "paper": 25_000}
FEW: dict[Scale, int] = {"smoke": 20, "small": 256, "paper": 1024}
OTHERS: dict[Scale, int] = {"smoke": 10, "small": 1000, "paper": 5000}
PRIVATE: dict[Scale, dict[str, Any]] = {
    "smoke": {
        "steps": 1,
        "batch": 4,
        "capacity": 2,
        "latent": 4,
        "critic_steps": 2,
        "accountant": "rdp",
        "delta": 1e-3,
    },
    "small": {"steps": 600, "batch": 128, "capacity": 16, "critic_steps": 6, "rate": 5e-4, "average": 0.99},
    "paper": {"steps": 9000, "batch": 512, "capacity": 64, "critic_steps": 20, "rate": 5e-4},
}
PLAIN: dict[Scale, dict[str, Any]] = {
    "smoke": {"steps": 2, "batch": 4, "capacity": 2, "latent": 4},
    "small": {"steps": 3600, "batch": 128, "capacity": 16, "rate": 5e-4, "average": 0.99},
    "paper": {"steps": 45_000, "batch": 512, "capacity": 64, "rate": 5e-4},
}
MEAN: dict[Scale, dict[str, Any]] = {
    "smoke": {"steps": 1, "batch": 4, "capacity": 2, "latent": 4, "features": 16, "delta": 1e-3},
    "small": {"steps": 2000, "batch": 128, "capacity": 16, "features": 2000},
    "paper": {"steps": 20_000, "batch": 512, "capacity": 64, "features": 10_000},
}
LESSONS: dict[Scale, dict[str, Any]] = {
    "smoke": {"steps": 2, "batch": 8, "capacity": 2, "held_out": 0.2},
    "small": {"steps": 800, "batch": 64, "capacity": 8},
    "paper": {"steps": 10_000, "batch": 128, "capacity": 16},
}
