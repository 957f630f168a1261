"""Omniglot's handwritten characters as identities: private ones of some alphabets, public ones of all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from genvet.core.data import Labelled
from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.files.labelled import load_labelled

PRIVATE = ("Balinese", "Early_Aramaic", "Tagalog")
"""Small alphabets, so that most characters are public; Greek and Latin, which share shapes, are on one side."""
LEARNED = 14
"""Drawings of a private character to learn from; whoever drew those drew none of the others."""


@dataclass(frozen=True, eq=False)
class Characters:
    """Drawings of private characters, to learn from and to test with, and of public ones, which share no alphabet."""

    drawings: Labelled
    """All of the private ones: a classifier's recipe with `split="last", held_out=0.3` holds out those to test with."""
    private: Labelled
    test: Labelled
    public: Labelled


def load_omniglot(paths: Sequence[str | Path], side: int = 32) -> Labelled:
    """All drawings of these archives, (n, 1, side, side), white on black; an alphabet of several of them is taken once.

    A class is named like Greek/character01; drawings of one class follow one another, in the order of who drew them.
    """
    taken: dict[str, tuple[str, torch.Tensor]] = {}
    for path in paths:
        images = load_labelled(path, (1, side, side))
        for name, label, x in zip(images.names, images.labels.tolist(), images.x, strict=True):
            title = images.classes[label]
            taken.setdefault(f"{title}/{Path(name).name}", (title, x))
    if not taken:
        raise BadInput("no drawings", expected="Omniglot's archives, such as images_background_small1.zip")
    names = sorted(taken)
    classes = tuple(sorted({title for title, _ in taken.values()}))
    number = {title: i for i, title in enumerate(classes)}
    labels = torch.tensor([number[taken[name][0]] for name in names])
    x = -torch.stack([taken[name][1] for name in names])  # ink is 1, as in MNIST
    return Labelled(x, tuple(names), labels=labels, classes=classes)


def divided(
    images: Labelled, alphabets: Sequence[str] = PRIVATE, private: int = 60, learned: int = LEARNED
) -> Characters:
    """So many characters of these alphabets are private, those of others public; BadInput where there are too few."""
    of_alphabet = [name.partition("/")[0] for name in images.classes]
    ours = [i for i, alphabet in enumerate(of_alphabet) if alphabet in alphabets][:private]
    theirs = [i for i, alphabet in enumerate(of_alphabet) if alphabet not in alphabets]
    if len(ours) < private or not theirs:
        expected, got = f"{private} private characters, and some public ones", f"{len(ours)} and {len(theirs)}"
        raise BadInput(f"{printable(', '.join(alphabets), 200)} do not do", expected=expected, got=got)
    drawings = [(images.labels == label).nonzero()[:, 0] for label in ours]
    if min(map(len, drawings)) <= learned:
        raise BadInput("too few drawings of a character", expected=f"more than {learned}", got=str(len(drawings[0])))
    to_learn = torch.cat([rows[:learned] for rows in drawings])
    to_test = torch.cat([rows[learned:] for rows in drawings])
    public = torch.cat([(images.labels == label).nonzero()[:, 0] for label in theirs])
    return Characters(*(chosen(images, rows) for rows in (torch.cat(drawings), to_learn, to_test, public)))


def chosen(images: Labelled, rows: torch.Tensor) -> Labelled:
    """Some of them, as `take` does, with the classes that are among those alone."""
    some = images.take(rows)
    kept, labels = some.labels.unique(return_inverse=True)
    return replace(some, labels=labels, classes=tuple(images.classes[i] for i in kept.tolist()))
