"""A blind test for people: which of two pictures shows the person of the reference pictures? Written, and read again.

One HTML file without any script or network. It is an ordinary form that submits to itself: a browser then puts the
answers into the page's own address, which the rater copies and sends back. A page with a script would save that step,
and would ask people to run code from a file that they were sent. Which picture is right stands in another file.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import torch
from markupsafe import Markup
from torch import Tensor

from genvet.core.errors import BadInput
from genvet.core.printable import printable
from genvet.core.report import Measure
from genvet.core.rng import Rng
from genvet.files.pictures import png
from genvet.files.writing import write_bytes
from genvet.maths.paired import signed_ranks
from genvet.maths.quality import Estimate
from genvet.maths.ranks import share_by_label
from genvet.page.templates import template

TASK = "Which of the two shows the same person as the reference pictures?"
MOST_QUESTIONS = 500
MOST_TEXT = 1 << 20
"""Characters of an answer, and of a key."""
SIDES = ("a", "b")


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """Reference pictures, and two to choose from."""

    references: Tensor
    """(r, c, h, w) in [-1, 1]: real pictures of the person."""
    right: Tensor
    """(c, h, w): the picture whose share is counted, as an inversion that is claimed to show the person."""
    other: Tensor
    """(c, h, w): what it is compared with, of the same size."""
    kind: str = "inversion"
    """Counted apart. A few questions with a real picture of the person as the right one show that raters take care."""
    label: str = ""
    """Whom it is about; stands in the key alone."""


@dataclass(frozen=True)
class Choices:
    """How often people chose the right picture, of one kind of question."""

    kind: str
    share: Estimate
    """Over all raters. The unit of the exact 95 % interval is the question, however many people answered it."""
    p: float
    """Two-sided, of a share of one half: the exact sign test for one rater, signed ranks of questions for several."""
    questions: int
    raters: dict[str, Estimate]
    """Of each rater, with an exact interval over the questions."""

    def measure(self) -> Measure:
        """For a report."""
        note = f"{len(self.raters)} raters; p {self.p:.2g} of one half"
        value, low, high = self.share
        name = f"chosen.{self.kind}"
        return Measure(name=name, value=value, low=low, high=high, chance=0.5, n=self.questions, note=note)


def write(questions: Sequence[Question], folder: Path, rng: Rng, title: str = "Who is it?", task: str = TASK) -> Path:
    """Write `choices.html`, for raters, and `choices-key.json`, to be kept from them; gives the page's path.

    Questions and sides are in random order, of this seed. Raises BadInput where the two pictures differ in size, which
    would tell them apart.
    """
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise BadInput("no such page", expected=f"1 to {MOST_QUESTIONS} questions", got=str(len(questions)))
    for q in questions:
        if q.references.ndim != 4 or not len(q.references) or q.right.shape != q.other.shape:
            got = f"{tuple(q.references.shape)}, {tuple(q.right.shape)} and {tuple(q.other.shape)}"
            raise BadInput("no such question", expected="(r, c, h, w) and two pictures of one size", got=got)
    order = torch.randperm(len(questions), generator=rng.fork("questions").block()).tolist()
    swapped = torch.randint(2, (len(questions),), generator=rng.fork("sides").block()).tolist()
    shown, key = [], []
    for i in order:
        q, pictures = questions[i], [questions[i].right, questions[i].other]
        sides = [_picture(x) for x in (reversed(pictures) if swapped[i] else pictures)]
        references = [_picture(x) for x in q.references]
        shown.append({"references": references, "sides": list(zip(SIDES, sides, strict=True))})
        key.append({"question": i, "right": SIDES[swapped[i]], "kind": q.kind, "label": q.label})
    page = hashlib.sha256(repr(shown).encode()).hexdigest()[:12]
    text = template("choices.html").render(title=title, task=task, page=page, questions=shown)
    write_bytes(folder / "choices-key.json", json.dumps({"page": page, "questions": key}, indent=1).encode())
    return write_bytes(folder / "choices.html", text.encode())


def read(answers: Mapping[str, str], key: Path) -> tuple[Choices, ...]:
    """What people chose, for each kind of question: by rater the address that was sent back, and the key's path.

    Raises BadInput for an answer to another page, and for an unfinished one.
    """
    page, questions = _key(key)
    if not answers:
        raise BadInput("there are no answers", expected="an address from each rater", got="none")
    right = [q["right"] for q in questions]
    chosen = torch.tensor([_answer(text, page, right) for text in answers.values()]).double()
    kinds = [q["kind"] for q in questions]
    of_kind = {kind: chosen[:, [k == kind for k in kinds]] for kind in sorted(set(kinds))}
    return tuple(_counted(kind, rows, tuple(answers)) for kind, rows in of_kind.items())


def _counted(kind: str, right: Tensor, names: tuple[str, ...]) -> Choices:
    """Of answers (raters, questions), 1 where right."""
    raters, n = right.shape
    number = torch.arange(n)
    share = share_by_label(right.flatten(), number.repeat(raters))
    p = signed_ranks((right.mean(0) - 0.5).numpy())
    return Choices(
        kind, share, p, n, {name: share_by_label(row, number) for name, row in zip(names, right, strict=True)}
    )


def _answer(text: str, page: str, right: list[str]) -> list[bool]:
    """Whether each question was answered rightly, by an address or the part of it behind the question mark."""
    shown = printable(text.strip(), 80)
    query = urlsplit(text.strip()[:MOST_TEXT]).query or text.strip()[:MOST_TEXT]
    try:
        pairs = parse_qsl(query.partition("#")[0], strict_parsing=True, max_num_fields=2 * MOST_QUESTIONS)
    except ValueError:
        raise BadInput(
            f"no answers: {shown}", expected="the address of the page after its button was pressed"
        ) from None
    given = dict(pairs)
    if given.pop("page", None) != page or len(given) + 1 != len(pairs):
        raise BadInput(f"answers to another page: {shown}", expected=f"page={page}, and each question once")
    expected = {str(i) for i in range(1, len(right) + 1)}
    if given.keys() != expected or not set(given.values()) <= set(SIDES):
        missing = ", ".join(sorted(expected - given.keys(), key=int)[:9]) or "none"
        raise BadInput(
            f"not all questions are answered: {shown}", expected="a or b for each", got=f"missing: {missing}"
        )
    return [given[str(i)] == side for i, side in enumerate(right, 1)]


def _key(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The page's name and its questions, as `write` put them down."""
    try:
        if path.stat().st_size > MOST_TEXT:
            raise ValueError
        key = json.loads(path.read_bytes())
        questions = key["questions"]
        if not questions or not all(q["right"] in SIDES and isinstance(q["kind"], str) for q in questions):
            raise ValueError
        return str(key["page"]), questions
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(f"no key: {printable(path)}", expected="choices-key.json, as it was written") from None


def _picture(x: Tensor) -> Markup:
    return Markup(f"data:image/png;base64,{b64encode(png(x)).decode()}")  # noqa: S704 - base64 of our own making
