"""Images to train on: any data set, brought to one size, with a policy for pictures that are of no use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.files import members
from genvet.files.images import MOST_BYTES, load_images, octets, opened, pictures_in
from genvet.files.labelled import by_folder, load_labelled
from genvet.files.members import Member
from genvet.maths.fitting import fitted

Broken = Literal["refuse", "skip"]
TINY = 0.5
"""Of the wanted side: pictures that are smaller would be mostly made up."""
LISTED = 10


def load_training_set(path: str | Path, size: int, *, labels: bool = False, broken: Broken = "refuse") -> Images:
    """Square images in [-1, 1], (n, c, size, size), from whatever `load_images` reads, arrays of another size too.

    Grey where all pictures are, else in colour. Pictures that cannot be decoded, or have less than half of `size` a
    side, are refused all at once, or left out and listed in `skipped`. With `labels`, each image has its class.
    """
    file, part = members.split_slice(path)
    found = pictures_in(file)
    if found is None:
        images = load_labelled(path) if labels else load_images(path)
        return replace(images, x=fitted(images.x, size))
    images = _decoded(members.sliced(found, part, file), size, broken, file)
    return by_folder(images, file) if labels else images


def _decoded(found: Sequence[Member], size: int, broken: Broken, path: Path) -> Images:
    if not found:
        raise BadInput(f"no images in {printable(path)}", expected="PNG, JPEG, BMP or PPM files")
    if len(found) * size * size * 12 > MOST_BYTES:
        hint = f"take a slice: path#0:{MOST_BYTES // (size * size * 12)}"
        raise BadInput("too many images at once", expected=f"{MOST_BYTES >> 30} GiB", hint=hint)
    x, grey = torch.empty(len(found), 3, size, size, dtype=torch.uint8), True
    names: list[str] = []
    bad: list[str] = []
    for member in track(found, len(found), "reading images"):
        try:
            picture = opened(member)
            if min(picture.image.size) < TINY * size:
                raise BadInput(f"{member.name} has {picture.image.width}x{picture.image.height} pixels")
            x[len(names)] = octets(picture, (3, size, size))
        except BadInput as error:
            bad.append(error.message)
            continue
        names.append(member.name)
        grey = grey and picture.grey
    if bad and (broken == "refuse" or not names):
        told = "; ".join(bad[:LISTED]) + ("; ..." if len(bad) > LISTED else "")
        hint = f"give larger images or a smaller size; --broken skip leaves such pictures out ({len(names)} are fine)"
        what = f"{len(bad)} of {len(found)} pictures cannot be used: {told}"
        raise BadInput(what, expected=f"readable pictures of at least {int(TINY * size)} pixels a side", hint=hint)
    kept = x[: len(names), :1] if grey else x[: len(names)]
    return Images(kept.float().div_(127.5).sub_(1), tuple(names), skipped=tuple(bad))
