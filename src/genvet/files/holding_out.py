"""Parting data into what is learned from and what is not: by persons, where it is known whom records show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from genvet.core.data import Images, Split
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.files import members
from genvet.files.labelled import by_folder
from genvet.files.splits import persons_in
from genvet.files.writing import write_bytes

By = Literal["person", "folder", "record"]


def hold_out(images: Images, path: Path, share: float, by: By, rng: Rng) -> Split:
    """Members, and about `share` of the records as non-members, drawn at random: whole persons, where they are known.

    `person` takes the npz's word for whom records show, and single records where it says nothing; `folder` takes every
    folder of pictures for a person; `record` does not ask. Raises BadInput where there is only one person.
    """
    people = whom(images, path, by)
    who = torch.arange(len(images)) if people is None else people
    persons, counts = who.unique(return_counts=True)
    if len(persons) < 2:
        what = f"{printable(path)} cannot be parted: all of it is one {'record' if people is None else 'person'}"
        raise BadInput(what, expected="two or more", hint="--hold-by record parts pictures of one person, too")
    order = torch.randperm(len(persons), generator=rng.block())
    many = int((counts[order].cumsum(0) < share * len(who)).sum()) + 1
    out = torch.isin(who, persons[order[: min(many, len(persons) - 1)]])
    sides = None if people is None else (people[~out], people[out])
    return Split(images.take(~out), images.take(out), sides)


def whom(images: Images, path: Path, by: By) -> Tensor | None:
    """The person that each record shows, as numbers (n,); None where nobody says, or nobody asks."""
    if by == "record":
        return None
    file, part = members.split_slice(path)
    if by == "folder":
        return by_folder(images, file).labels
    known = persons_in(file)
    return None if known is None else known[part]


def write_split(split: Split, path: Path) -> Path:
    """An npz that `load_split` reads: the images in 8 bits, who is a member, and whom each shows."""
    both = torch.cat([split.members.x, split.non_members.x]).cpu()
    x = ((both.clamp(-1, 1) + 1) * 127.5).round().byte()
    if x.shape[1] in (1, 3):
        x = x[:, 0] if x.shape[1] == 1 else x.permute(0, 2, 3, 1)
    arrays = {"images": x.numpy(), "member": np.arange(len(both)) < len(split.members)}
    if split.people is not None:
        arrays["subject"] = torch.cat(split.people).numpy()
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return write_bytes(path, packed.getvalue())
