"""`genvet choices`: from a run's folder to a page for raters, and from their answers to a share with its interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genvet.cli import main
from genvet.files.inverted import save_inverted
from genvet.maths.statistics import clopper_pearson

CLASSES = tuple("abcdefgh")


def genvet(*words: Any) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def run(folder: Path, attack: str = "inversion.mirror", shift: float = 0.0, labels: int = 8) -> Path:
    """Images of one grey a class, and as many real ones a little off."""
    greys = torch.linspace(-1, 0.8, 8)[:labels] + shift
    x = greys[:, None, None, None].expand(-1, 1, 8, 8)
    save_inverted({"x": x, "labels": torch.arange(labels)}, folder, attack, "{}", CLASSES)
    return folder


@pytest.fixture
def private(tmp_path: Path) -> Path:
    greys = (np.linspace(0, 0.9, 8) * 255).astype(np.uint8)
    x = np.repeat(greys, 5)[:, None, None] + np.zeros((1, 8, 8), np.uint8)
    x[:, 0, 0] = np.arange(40)
    folder = tmp_path / "private"
    for i, image in enumerate(x):
        (folder / CLASSES[i // 5]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / CLASSES[i // 5] / f"{i}.png")
    return folder


def key(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    told = json.loads((folder / "choices-key.json").read_text())
    return told["page"], told["questions"]


def address(page: str, sides: list[str]) -> str:
    return f"file:///x/choices.html?page={page}&" + "&".join(f"{i}={s}" for i, s in enumerate(sides, 1)) + "#done"


def test_a_page_is_written_and_answers_are_counted(
    tmp_path: Path, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "run")
    assert genvet("choices", folder, "--private", private, "--controls", 3) == 0
    page, asked = key(folder)
    assert [q["kind"] for q in asked].count("inversion") == 8 and [q["kind"] for q in asked].count("real") == 3
    assert {q["label"] for q in asked if q["kind"] == "inversion"} == set(CLASSES)
    text = (folder / "choices.html").read_text()
    assert "same person or thing as the reference" in text and "<script" not in text and "mirror" not in text
    other = {"a": "b", "b": "a"}
    right = [q["right"] for q in asked]
    wrong_twice, missed = [], 0
    for q in asked:
        miss = q["kind"] == "inversion" and missed < 2
        wrong_twice.append(other[q["right"]] if miss else q["right"])
        missed += miss
    (tmp_path / "answers.txt").write_text(f"Ann: {address(page, right)}\n{address(page, wrong_twice)}\n")
    assert genvet("choices", folder, "--answers", tmp_path / "answers.txt") == 0
    told = {one["kind"]: one for one in json.loads((folder / "choices.json").read_text())}
    inversion = told["inversion"]
    assert inversion["value"] == 14 / 16 and inversion["chance"] == 0.5 and inversion["n"] == 8
    assert inversion["raters"]["Ann"]["value"] == 1 and inversion["raters"]["rater 2"]["value"] == 6 / 8
    assert inversion["raters"]["rater 2"]["low"] == clopper_pearson(6, 8).low
    assert told["real"]["value"] == 1
    said = capsys.readouterr()
    assert "chosen in 88%" in said.out + said.err and "chance 50%" in said.out + said.err


def test_another_inversion_is_the_other_picture(tmp_path: Path, private: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two", "inversion.gmi", 0.1)
    assert genvet("choices", one, "--private", private, "--against", two, "--controls", 0, "--count", 5) == 0
    assert [q["kind"] for q in key(one)[1]] == ["inversion.mirror rather than inversion.gmi"] * 5


def test_every_image_is_as_often_right_as_it_is_the_other_one(tmp_path: Path, private: Path) -> None:
    from genvet.cli.choices import questions, real_images
    from genvet.core.rng import Rng
    from genvet.files.inverted import load_inverted

    found = load_inverted(run(tmp_path / "run"))
    asked = questions(found, None, real_images(private, found), 60, Rng(0))
    grey = [[round(float(x.mean()), 3) for x in (q.right, q.other)] for q in asked]
    assert sorted(a for a, _ in grey) == sorted(b for _, b in grey) and all(a != b for a, b in grey)
    for q in asked:  # the references are the class's own real images
        assert abs(float(q.references[:, :, 4:].mean()) - float(q.right.mean())) < 0.05 and len(q.references) == 3


def test_bad_input_is_told(tmp_path: Path, private: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    for words, said in [
        ((folder,), "raters need real images"),
        ((tmp_path / "empty", "--private", private), "is no inversion's folder"),
        ((run(tmp_path / "single", labels=1), "--private", private), "nothing to be confused with"),
        ((folder, "--private", private, "--against", tmp_path / "single"), "of other labels"),
        ((folder, "--answers", tmp_path / "none.txt"), "cannot read"),
    ]:
        assert genvet("choices", *words) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    (folder / "inverted.safetensors").write_bytes(b"nonsense")
    assert genvet("choices", folder, "--private", private) == 2
    few = tmp_path / "few"
    few.mkdir()
    for name in "ab":
        (private / name).rename(few / name)
    assert genvet("choices", run(tmp_path / "again"), "--private", private) == 2
    assert "no private image of the class" in " ".join(capsys.readouterr().err.split())
