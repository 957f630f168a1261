"""The page for raters in a real browser: keys alone answer everything, and the address then holds the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, Browser

from genvet.core.rng import Rng
from genvet.page.choices import Question, read, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def test_keys_alone_answer_everything(tmp_path: Path) -> None:
    white = torch.ones(1, 8, 8)
    questions = [Question(references=i / 8 * white[None], right=white, other=-i / 8 * white) for i in range(5)]
    page, key = write(questions, tmp_path, Rng(0)), tmp_path / "choices-key.json"
    right = [q["right"] for q in json.loads(key.read_text())["questions"]]
    assert set(right) == {"a", "b"}
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page.as_uri())
        browser.wait("document.querySelector('button') && document.readyState === 'complete'")
        assert browser.tell("getComputedStyle(document.getElementById('done')).display") == "none"
        for side in right:  # Tab enters the next pair; the space chooses A, an arrow goes on to B
            browser.press("Tab", 9)
            browser.press(" ", 32) if side == "a" else browser.press("ArrowRight", 39)
        browser.press("Tab", 9)
        browser.press(" ", 32)
        sent = browser.wait("location.hash === '#done' && document.readyState === 'complete' && location.href", 20)
        shown = [f"getComputedStyle(document.querySelector('{part}')).display" for part in ("#done", "form")]
        assert [browser.tell(one) for one in shown] == ["block", "none"]
        names = "[...document.querySelectorAll('input[type=radio]')].every(one => one.labels[0].innerText.trim())"
        assert browser.tell(names) and browser.tell("[...document.images].every(one => one.alt)")
    finally:
        browser.close()
    (found,) = read({"me": sent}, key)
    assert found.share.value == 1 and found.questions == 5
