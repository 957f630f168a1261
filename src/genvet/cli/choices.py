"""`genvet choices`: do people recognise whom an inversion shows? A page for raters, and what they answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging
from genvet.core.errors import BadInput
from genvet.core.printable import printable

if TYPE_CHECKING:
    from torch import Tensor

    from genvet.core.data import Labelled
    from genvet.core.rng import Rng
    from genvet.files.inverted import InvertedImages
    from genvet.page.choices import Choices, Question

KEY, RESULT = "choices-key.json", "choices.json"
REFERENCES = 3
"""Real images above each question, where a class has enough."""
LARGEST = 1 << 24
"""Bytes of a file of answers."""


def choices(
    run: Path,
    /,
    *,
    private: Path | None = None,
    against: Path | None = None,
    answers: Path | None = None,
    count: Annotated[int, Parameter(validator=Number(gte=1, lte=400))] = 60,
    controls: Annotated[int, Parameter(validator=Number(gte=0, lte=100))] = 6,
    seed: int = 0,
    common: Debugging = DEBUGGING,
) -> int:
    """Ask people, blindly: which of two pictures shows the same class as these real ones? Then read their answers.

    With --private, writes choices.html for raters, and choices-key.json to be kept from them. The page holds no script:
    answers end up in its address, which raters send back. With --answers, tells how often they chose rightly.

    Parameters
    ----------
    run: Path
        The folder that an inversion left.
    private: Path
        Real images of the target's classes that it was not trained on: those that raters compare with.
    against: Path
        Another inversion's folder: its image of the same label is then the other picture. Otherwise the other picture
        is of another label, of this very inversion, and chance is exactly one half.
    answers: Path
        A text file with one rater a line: the address that was sent back, with a name before it or without.
    count: int
        Questions about inversions, at most.
    controls: int
        Questions with real images on both sides, which show that raters take care.
    seed: int
        Which questions, in which order and which side is right follow from it.
    """
    from genvet.core.rng import Rng
    from genvet.files.inverted import load_inverted
    from genvet.page.choices import TASK, write

    if answers is not None:
        return told(run, answers)
    if private is None:
        raise BadInput("raters need real images to compare with", expected="--private, or --answers to read theirs")
    found, rng = load_inverted(run), Rng(seed).fork("choices")
    other = None if against is None else matching(load_inverted(against), found)
    real = real_images(private, found)
    asked = questions(found, other, real, count, rng) + checks(found, real, controls, rng.fork("controls"))
    task = TASK.replace("person", "person or thing")
    path = write(asked, run, rng, "Which one is it?", task)
    screen.note(f"{len(asked)} questions for raters: {path}")
    screen.note(f"which is right, to be kept from them: {run / KEY}")
    return 0


def questions(
    found: InvertedImages, other: InvertedImages | None, real: Labelled, count: int, rng: Rng
) -> list[Question]:
    """One for each label: its inversion, beside that of another label or that of another run."""
    import torch

    from genvet.nets.first_guesses import shown
    from genvet.page.choices import Question

    m = len(found.labels)
    if other is None and m < 2:
        raise BadInput("one label has nothing to be confused with", expected="two labels or more, or --against")
    order = torch.randperm(m, generator=rng.fork("labels").block())
    # Shown once as the right one and once as the other: nobody can tell them apart by how often they come.
    beside = found.x[order.roll(1)] if other is None else other.x[order]
    shape = tuple(real.x.shape[1:])
    asked: list[Question] = []
    for i, x in list(zip(order.tolist(), beside, strict=True))[:count]:
        references, name = of_label(real, int(found.labels[i]))[:REFERENCES], found.classes[int(found.labels[i])]
        right, wrong = (shown(image[None], shape)[0] for image in (found.x[i], x))
        kind = "inversion" if other is None else f"{found.attack} rather than {other.attack}"
        asked.append(Question(references=references, right=right, other=wrong, kind=kind, label=name))
    return asked


def checks(found: InvertedImages, real: Labelled, count: int, rng: Rng) -> list[Question]:
    """Real images on both sides: the class's next one, and one of another class."""
    import torch

    from genvet.page.choices import Question

    labels = found.labels[torch.randperm(len(found.labels), generator=rng.block())].tolist()
    asked: list[Question] = []
    for label, wrong in zip(labels, [*labels[1:], *labels[:1]], strict=True):
        mine = of_label(real, label)
        if label != wrong and len(mine) > 1 and len(asked) < count:
            kept = mine[: min(REFERENCES, len(mine) - 1)]
            name = found.classes[label]
            other = of_label(real, wrong)[-1]
            asked.append(Question(references=kept, right=mine[-1], other=other, kind="real", label=name))
    return asked


def real_images(path: Path, found: InvertedImages) -> Labelled:
    """Under the classes of the run; raises BadInput where a label has none."""
    from genvet.core.data import Labelled
    from genvet.files.labelled import load_labelled
    from genvet.nets.fitness import named_alike

    images = load_labelled(path)
    labels = named_alike(found.classes, images)
    missing = [found.classes[k] for k in found.labels.tolist() if not bool((labels == k).any())]
    if missing:
        raise BadInput(f"there is no private image of the class {printable(missing[0], 60)}")
    return Labelled(images.x, images.names, labels=labels, classes=found.classes)


def of_label(real: Labelled, label: int) -> Tensor:
    return real.x[real.labels == label]


def matching(other: InvertedImages, found: InvertedImages) -> InvertedImages:
    """The other run's images in the order of this one's labels; raises BadInput where it has others."""
    from dataclasses import replace

    place = {int(k): i for i, k in enumerate(other.labels)}
    if other.classes != found.classes or not set(found.labels.tolist()) <= set(place):
        raise BadInput("the other inversion is of other labels", hint="give both the same --labels")
    rows = [place[k] for k in found.labels.tolist()]
    return replace(other, x=other.x[rows], labels=found.labels)


def told(run: Path, answers: Path) -> int:
    """Say how often raters were right, with interval and chance, and keep it beside the key."""
    from genvet.files.writing import write_bytes
    from genvet.page.choices import read

    found = read(raters(answers), run / KEY)
    for one in found:
        screen.note(in_words(one))
    path = write_bytes(run / RESULT, (json.dumps([plain(one) for one in found], indent=1) + "\n").encode())
    screen.note(f"choices: {path}")
    return 0


def raters(path: Path) -> dict[str, str]:
    """The address that each rater sent back; raises BadInput for two of one name."""
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{printable(path)} is too large", expected=f"at most {LARGEST} bytes")
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {printable(path)}", got=printable(error, 100)) from None
    named = [(" ".join(words[:-1]).rstrip(":") or f"rater {i}", words[-1]) for i, words in enumerate(lines, 1)]
    if len(dict(named)) < len(named):
        raise BadInput("two raters have one name", hint="name each of them once, before the address")
    return dict(named)


def in_words(one: Choices) -> str:
    """Such as: inversion: chosen in 71% (58% to 82%) of 60 questions by 3 raters; chance 50%, p 0.0012."""
    value, low, high = one.share
    by = f"{one.questions} questions by {len(one.raters)} raters"
    return f"{printable(one.kind)}: chosen in {value:.0%} ({low:.0%} to {high:.0%}) of {by}; chance 50%, p {one.p:.2g}"


def plain(one: Choices) -> dict[str, Any]:
    """For JSON: the share of all, and of each rater."""
    ends = ("value", "low", "high")
    each = {printable(name): dict(zip(ends, share, strict=True)) for name, share in one.raters.items()}
    return {**one.measure().model_dump(mode="json"), "kind": printable(one.kind), "p": one.p, "raters": each}
