"""Training on pictures that were anonymised first: what the generator is worth, and whose pictures it gives away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genvet.attacks.membership.critic_score import CriticScore, Given
from genvet.core.data import Images
from genvet.core.rng import Rng
from genvet.core.technique import Technique
from genvet.maths.full_reference import ssim
from genvet.maths.hiding import blurred, found_again, pixelated
from genvet.maths.quality import frechet
from genvet.nets.random_features import random_features
from genvet.nets.spaces import thumbnails
from genvet.reproduce.cells import Cell, Done, Numbers, Place, Step
from genvet.reproduce.experiment import Experiment, Line, Scale, Spread, Told, above, below, median, table
from genvet.reproduce.leakage import SOURCE
from genvet.reproduce.leakage.attacking import DIFFERS, Key, ahead, spread
from genvet.reproduce.leakage.networks import CHECKPOINTS, DATA, SEEDS, Data, Learned, learned
from genvet.training.adversarial import Given as Learnable
from genvet.training.checkpoints import Folder, kept_by
from genvet.training.written import write

Way = Literal["as they are", "blurred", "pixelated", "synthetic"]
WAYS: tuple[Way, ...] = ("as they are", "blurred", "pixelated", "synthetic")
STRENGTH, CELLS = 0.08, 7
"""Of pictures of 28 pixels: a Gaussian of 2.2 pixels, and cells of 4."""
MEMBERS: dict[Scale, int] = {"smoke": 8, "small": 256, "paper": 1024}
OTHERS: dict[Scale, int] = {"smoke": 12, "small": 1000, "paper": 10_000}
SAMPLES: dict[Scale, int] = {"smoke": 20, "small": 2000, "paper": 10_000}


class Relearned(Learned):
    """A DCGAN that learned from members which were changed first."""

    way: Way = "as they are"
    """How they were changed; `synthetic` puts samples in their place, of a generator of as many other records."""

    @property
    def name(self) -> str:
        plain = Learned(**{key: getattr(self, key) for key in Learned.model_fields}).name
        return plain if self.way == "as they are" else f"{plain}-{self.way}"

    def plain(self) -> Learned:
        """The same of unchanged members."""
        return Learned(**{key: getattr(self, key) for key in Learned.model_fields})

    def needs_first(self) -> tuple[Learned, ...]:
        """What has to be trained before it."""
        return (self.plain().beside(),) if self.way == "synthetic" else ()

    def __call__(self, place: Place) -> Path:
        if self.way == "as they are":
            return self.plain()(place)
        folder = place.cache / "parents" / self.name
        if not all((folder / f"{part}.safetensors").is_file() for part in ("generator", "critic")):
            members = self.held(place, 0).members
            x = self.changed(members.x, place)
            with kept_by(Folder(folder / "resume", CHECKPOINTS)):
                trained = self.recipe(Learnable(Images(x, members.names)), Rng(self.seed))
            write(trained, folder, {})
        return folder

    def changed(self, x: Tensor, place: Place) -> Tensor:
        """Pictures as this way leaves them; samples have nothing to do with them but their number."""
        if self.way == "synthetic":
            generator = self.plain().beside().generator(place)
            return generator.sample(len(x), Rng(self.seed, "standing in"))
        part = (0, 0, x.shape[3], x.shape[2])
        if self.way == "blurred":
            return torch.stack([blurred(one, part, STRENGTH) for one in x])
        return torch.stack([pixelated(one, part, CELLS) for one in x]) if self.way == "pixelated" else x


class Hidden(Cell):
    """What one generator is worth, and what it tells of the pictures as they were."""

    target: Relearned
    others: int
    samples: int

    @property
    def name(self) -> str:
        return f"{self.target.name}.{self.target.way.replace(' ', '-')}.anonymised.{self.others}.{self.samples}"

    def needs(self) -> tuple[Step, ...]:
        return (*self.target.needs_first(), self.target)

    def where(self) -> Mapping[str, object]:
        return {"data": self.target.data, "way": self.target.way}

    def techniques(self) -> tuple[type[Technique], ...]:
        return (CriticScore,)

    def __call__(self, place: Place) -> Numbers:
        held = self.target.held(place, self.others)
        members, others = held.members, held.non_members
        x = self.target.changed(members.x, place)
        told = {"likeness": float(ssim(x, members.x).mean()), "again": _again(x, members.x)}
        plain = self._attacked(members, others, place)
        told |= {"auc": plain[0], "auc.low": plain[1], "auc.permuted": plain[2]}
        if self.target.way in ("blurred", "pixelated"):
            mine, theirs = (Images(self.target.changed(some.x, place), some.names) for some in (members, others))
            told["auc.knowing"] = self._attacked(mine, theirs, place)[0]
        made = self.target.generator(place).sample(self.samples, Rng(self.target.seed, "quality"))
        real = random_features(others.x)
        told["frechet"] = frechet(real, random_features(made))
        told["frechet.data"] = frechet(real, random_features(x))
        return told

    def _attacked(self, members: Images, others: Images, place: Place) -> tuple[float, float, float]:
        """The area of the critic's score, its lower end, and that of permuted labels."""
        given = Given(members=members, non_members=others, critic=self.target.critic(place))
        found = CriticScore(samples=0)(self.target.generator(place), given, Rng(self.target.seed, "critic"))
        measures: dict[str, Any] = {m.name: m.value for m in found.measures()}
        return measures["auc"], found.first.interval.low, measures["auc.permuted"]


def _again(x: Tensor, originals: Tensor) -> float:
    """The share of changed pictures whose nearest original is their own."""
    space = thumbnails(14)
    return float(found_again(space(x), space(originals)).double().mean())


def targets(scale: Scale, data: Data, way: Way) -> list[Relearned]:
    """Of all seeds."""
    plain = [learned(scale, MEMBERS[scale], seed, data) for seed in range(1, SEEDS[scale] + 1)]
    return [Relearned(**{key: getattr(one, key) for key in Learned.model_fields}, way=way) for one in plain]


MEASURES = {
    "auc": "AUC of the critic, on the pictures as they were",
    "auc.knowing": "AUC of the critic, on pictures changed as well",
    "auc.permuted": "AUC, labels permuted",
    "frechet": "Frechet distance of samples in random-conv-1",
    "frechet.data": "Frechet distance of the training pictures themselves",
    "again": "share of pictures found again among originals",
    "likeness": "structural similarity with the originals",
}


class Anonymised(Experiment):
    """Membership and quality of generators that learned from changed pictures."""

    title: ClassVar[str] = "Training on anonymised pictures"
    source: ClassVar[str] = f"{SOURCE}, sec. 2.3 and 3 (anonymisation: effectiveness, trade-offs)"

    def cells(self, scale: Scale) -> tuple[Cell, ...]:
        return tuple(self._cells(scale))

    def _cells(self, scale: Scale) -> Iterator[Hidden]:
        for seed in range(SEEDS[scale]):
            for data in DATA:
                for way in WAYS:
                    target = targets(scale, data, way)[seed]
                    yield Hidden(target=target, others=OTHERS[scale], samples=SAMPLES[scale])

    def told(self, scale: Scale, done: Done) -> Told:
        lines = [
            Line((data, way, words), None, spread(found), _chance(scale, measure))
            for data in DATA
            for way in WAYS
            for measure, words in MEASURES.items()
            if (found := _over(done, measure, way, data)) or measure != "auc.knowing"
        ]
        note = (
            "What is hidden is the whole picture: digits and garments have no faces. Samples stand in that come from a "
        )
        note += "generator of as many other records, which is not private itself."
        where = ("data", "training pictures", "measure")
        return Told((table(self.title, where, lines),), tuple(_claims(done)), (), (*DIFFERS, note))


def _chance(scale: Scale, measure: str) -> str:
    """What who knows nothing comes to."""
    if measure == "again":
        return f"chance {1 / MEMBERS[scale]:.2g}"
    return "chance 0.5" if measure.startswith("auc") else ""


def _over(done: Done, measure: str, way: Way, data: Data | None = None) -> dict[Key, float]:
    """One number of every cell of this way, by data and seed."""
    return {
        (cell.target.data, cell.target.seed): value
        for cell, numbers in done
        if isinstance(cell, Hidden) and cell.target.way == way and data in (None, cell.target.data)
        if (value := numbers.get(measure)) is not None
    }


def _claims(done: Done) -> Iterator[Any]:
    plain = _over(done, "auc", "as they are")
    for way in WAYS[1:]:
        less = ahead(plain, _over(done, "auc", way))
        yield above(f"{way} pictures give less away", less, 0, "fall of the critic's AUC")
    known = [ahead(_over(done, "auc.knowing", way), _over(done, "auc", way)) for way in WAYS[1:3]]
    more: Spread | None = known[0]
    yield above("who knows how it was done tells more", more, 0, "rise of AUC, blurred pictures")
    hidden = median(abs(v - 0.5) for v in _over(done, "auc", "synthetic").values())
    yield below("synthetic pictures give nobody away", hidden, 0.05, "AUC less 0.5")
    worse = [_ratio(_over(done, "frechet", way), _over(done, "frechet", "as they are")) for way in WAYS[1:]]
    least = min((one for one in worse if one), key=lambda one: one.value, default=None)
    yield above("anonymising costs quality", least, 1, "least rise of the Frechet distance, as a factor")


def _ratio(one: Mapping[Key, float], other: Mapping[Key, float]) -> Spread | None:
    return median(one[key] / other[key] for key in one if other.get(key))
