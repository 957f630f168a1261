"""The page for raters: blind and without script; and its answers read again."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest
import torch

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.pictures import png
from genvet.maths.statistics import clopper_pearson
from genvet.page.choices import Question, read, write


def question(i: int, kind: str = "inversion") -> Question:
    """White is right, black is wrong; the reference is grey."""
    white, black = torch.ones(1, 8, 8), -torch.ones(1, 8, 8)
    white[0, 0, 0], black[0, 0, 0] = i / 50, i / 50
    return Question(references=torch.zeros(2, 1, 8, 8), right=white, other=black, kind=kind, label=f"person {i}")


def written(folder: Path, n: int = 12, seed: int = 0) -> tuple[str, str, list[str]]:
    """The page, its name and which side is right, by the order of the page."""
    text = write([question(i, "real" if i % 4 == 3 else "inversion") for i in range(n)], folder, Rng(seed)).read_text()
    key = json.loads((folder / "choices-key.json").read_text())
    return text, key["page"], [q["right"] for q in key["questions"]]


def address(page: str, sides: list[str], before: str = "file:///home/rater/choices.html?") -> str:
    return f"{before}page={page}&" + "&".join(f"{i}={side}" for i, side in enumerate(sides, 1)) + "#done"


def test_the_page_is_blind_and_holds_no_script(tmp_path: Path) -> None:
    text, page, right = written(tmp_path)
    assert not re.search(r"<script|https?:|<[^>]* on\w+=", text) and "default-src &#39;none&#39;" in text
    said = re.sub(r"<style>.*?</style>|base64,[^\"]+", "", text, flags=re.DOTALL)
    assert not re.search(r"person \d|inversion|\breal\b", said)
    assert 2 <= right.count("a") <= 10  # both sides
    pictures = [b64decode(p) for p in re.findall(r'<label><img src="data:image/png;base64,([^"]+)"', text)]
    key = json.loads((tmp_path / "choices-key.json").read_text())["questions"]
    assert [k["question"] for k in key] != sorted(k["question"] for k in key)
    for (a, b), told in zip(zip(pictures[::2], pictures[1::2], strict=True), key, strict=True):
        q = question(told["question"])
        assert (a, b) == ((png(q.right), png(q.other)) if told["right"] == "a" else (png(q.other), png(q.right)))
    assert written(tmp_path)[0] == text and written(tmp_path, seed=1)[1] != page


def test_answers_are_counted_by_question_and_by_kind(tmp_path: Path) -> None:
    _, page, right = written(tmp_path, 40)
    key = tmp_path / "choices-key.json"
    kinds = [q["kind"] for q in json.loads(key.read_text())["questions"]]
    wrong = {i for i, kind in enumerate(kinds) if kind == "inversion"} - set(range(0, 40, 2))
    other = {"a": "b", "b": "a"}
    first = [other[s] if i in wrong else s for i, s in enumerate(right)]
    inverted, real = read({"me": address(page, first)}, key)
    hits = 30 - len(wrong)
    assert inverted.kind == "inversion" and inverted.share == (hits / 30, *clopper_pearson(hits, 30))
    assert real.share == (1.0, *clopper_pearson(10, 10)) and real.p == pytest.approx(2 / 2**10)
    assert inverted.measure().chance == 0.5 and inverted.measure().n == 30
    # A second rater who says the same is no second set of questions.
    both = read({"me": address(page, first), "you": address(page, first, before="")}, key)
    assert both[0].share == inverted.share and list(both[0].raters) == ["me", "you"]
    _, low, high = read({"me": address(page, ["a", "b"] * 20)}, key)[0].share
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda good: good.replace("page=", "page=0"), "another page"),
        (lambda good: good.replace("&3=", "&4="), "each question once"),
        (lambda good: re.sub("&3=.", "", good), "missing: 3"),
        (lambda good: re.sub("&3=.", "&3=c", good), "a or b"),
        (lambda good: "file:///home/rater/choices.html", "no answers"),
        (lambda good: "x" * 2_000_000, "no answers"),
        (lambda good: good + "\x1b[31m&&", "another page|no answers|not all"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, spoilt, told: str) -> None:
    _, page, right = written(tmp_path)
    with pytest.raises(BadInput, match=told) as caught:
        read({"me": spoilt(address(page, right).removesuffix("#done"))}, tmp_path / "choices-key.json")
    assert "\x1b" not in str(caught.value)


def test_what_is_no_page_and_no_key_is_refused(tmp_path: Path) -> None:
    large = Question(references=torch.zeros(1, 1, 8, 8), right=torch.zeros(1, 8, 8), other=torch.zeros(1, 9, 9))
    for questions, told in (([], "1 to 500"), ([large], "one size")):
        with pytest.raises(BadInput, match=told):
            write(questions, tmp_path, Rng(0))
    _, page, right = written(tmp_path)
    with pytest.raises(BadInput, match="no answers"):
        read({}, tmp_path / "choices-key.json")
    for spoilt in ("{", '{"page": "a", "questions": [{"right": "c", "kind": ""}]}', "[]", "[" * 100_000):
        (tmp_path / "key.json").write_text(spoilt)
        with pytest.raises(BadInput, match="no key"):
            read({"me": address(page, right)}, tmp_path / "key.json")
