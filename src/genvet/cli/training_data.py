"""What `genvet train` learns from: read in the recipe's size, with a part held out, or with canaries among it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.cli import screen
from genvet.core.errors import Unsupported
from genvet.core.printable import printable

if TYPE_CHECKING:
    from genvet.core.data import Images
    from genvet.core.technique import Recipe
    from genvet.files.holding_out import By
    from genvet.files.training_set import Broken


def load(recipe: Recipe, path: Path, device: str, broken: Broken = "refuse") -> Any:
    """What the recipe is given: its one kind of data, where the networks are to be."""
    import torch

    on = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    data = read(recipe, recipe.reads(), path, recipe.sample_shape(), broken)
    for left_out in data.skipped:
        screen.note(f"left out: {left_out}")
    return recipe.gift()(replace(data, x=data.x.to(on)))


def read(
    recipe: Recipe, kind: type[Images], path: Path, shape: tuple[int, ...] | None, broken: Broken = "refuse"
) -> Images:
    """Samples of one kind, in the size that the recipe works at; in this shape, where it takes any."""
    from genvet.core.data import Images, Labelled, Sounds
    from genvet.files.images import load_images
    from genvet.files.labelled import load_labelled
    from genvet.files.sounds import load_sounds
    from genvet.files.training_set import load_training_set

    side = recipe.side()
    if side is not None:
        return load_training_set(path, side, labels=kind is Labelled, broken=broken)
    readers: dict[type[Images], Any] = {Images: load_images, Labelled: load_labelled, Sounds: load_sounds}
    samples: Images = readers[kind](path, shape)
    return samples


def against(recipe: Recipe, path: Path, data: Images) -> Images:
    """Held-out samples of the shape that the network makes; their labels are of no account."""
    from genvet.core.data import Images, Sounds

    shape = tuple(data.x.shape[1:])
    held_out = read(recipe, Sounds if isinstance(data, Sounds) else Images, path, shape)
    held_out.fitting(shape)
    return held_out


def parted(given: Any, path: Path, share: float, by: By, folder: Path, seed: int) -> Any:
    """What it is to learn from, without the share that is held out; who is a member is written down."""
    from genvet.core.rng import Rng
    from genvet.files.holding_out import hold_out, write_split

    name, samples = pictures(given, "sounds are not held out")
    split = hold_out(samples, path, share, by, Rng(seed).fork("hold-out"))
    persons = "" if split.people is None else f" of {len(split.people[1].unique())} persons"
    told = write_split(split, folder / "split.npz")
    screen.note(f"held out: {len(split.non_members)} of {len(samples)} records{persons}; {told} tells which")
    return type(given)(**{name: split.members})


def sown(given: Any, canaries: int, folder: Path, seed: int) -> Any:
    """What it is to learn from, with about half of the canaries; which of them are in is written down."""
    from genvet.core.rng import Rng
    from genvet.files.holding_out import write_split
    from genvet.files.planting import with_canaries

    name, images = pictures(given, "sounds have no canaries")
    images, split = with_canaries(images, canaries, Rng(seed).fork("canaries"))
    told = write_split(split, folder / "canaries.npz")
    screen.note(f"canaries: {len(split.members)} of {canaries} take part; {told} tells which")
    return type(given)(**{name: images})


def pictures(given: Any, refusal: str) -> tuple[str, Images]:
    """The one kind of data that a recipe is given, by its name; raises Unsupported for sounds."""
    from genvet.core.data import Sounds

    ((name, samples),) = vars(given).items()
    if isinstance(samples, Sounds):
        raise Unsupported(refusal, hint="give the sounds to learn from alone")
    return name, samples


def about(path: Path, given: Any) -> dict[str, str]:
    """What the files say of the data: name, count, shape, and the rate of sounds; its fingerprint is in the record."""
    (samples,) = vars(given).values()
    told = {"name": printable(path.name, 100), "count": len(samples), "shape": list(samples.x.shape[1:])}
    rate = {"rate": samples.rate} if hasattr(samples, "rate") else {}
    return {"genvet.data": json.dumps({**told, **rate})}
