"""A classifier behind HTTP: the wire, a service that stumbles, and one that lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from stub_service import ABOUT, CLASSES, SHAPE, Reply, Service, good, judged, serving
from torch import Tensor

from genvet.core.classifier import Classifier
from genvet.core.errors import AccessDenied, BadInput, BudgetSpent, Unsupported
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.remote import KEY, LEFT, RemoteScores, in_process


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    with serving() as found:
        yield found


def images(n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=Rng(1).block()) * 2 - 1


def test_answers_are_those_of_the_classifier(service: tuple[Service, str]) -> None:
    told, url = service
    view, x = RemoteScores(url), images(130)
    assert isinstance(view, Scores) and view.shape == SHAPE and view.classes == CLASSES and view.left is None
    assert torch.allclose(view(x), judged(x), atol=1e-6) and view.used == 130
    assert [n for _, n in told.asked] == [64, 64, 2]
    assert torch.equal(view(x[5:7]), view(x)[5:7]) and view.used == 130, "what was answered is not asked for again"
    with pytest.raises(BadInput, match="do not fit"):
        view(torch.zeros(1, 1, 5, 5))


def test_a_service_that_stumbles_is_asked_again_under_one_key(service: tuple[Service, str]) -> None:
    told, url = service
    waits: list[float] = []
    view = RemoteScores(url, sleep=waits.append)
    told.replies = [
        lambda b: (429, {"Retry-After": "7"}, b"{}"),
        lambda b: (503, {}, b""),
        lambda b: (0, {}, b""),
    ]
    x = images(3)
    assert torch.allclose(view(x), judged(x), atol=1e-6) and view.used == 3
    assert len({key for key, _ in told.asked}) == 1 and len(told.asked) == 4
    assert waits == [7.0, 2.0, 4.0]
    told.after = lambda b: (500, {}, b"")
    with pytest.raises(Unsupported, match="6 tries: it answered 500"):
        view(images(5)[3:])
    assert view.used == 3, "nothing is counted that was not answered"


def test_a_run_goes_on_from_what_was_answered(service: tuple[Service, str], tmp_path: Path) -> None:
    told, url = service
    x, kept = images(100), tmp_path / "run" / "answers.sqlite"
    told.replies = [good, lambda b: (400, {}, b"no more")]
    with pytest.raises(BadInput, match="answered 400"):
        RemoteScores(url, answered=kept)(x)
    again = RemoteScores(url, answered=kept)
    assert torch.allclose(again(x), judged(x), atol=1e-6) and again.used == 36
    kept.write_bytes(b"no database" * 200)
    with pytest.raises(BadInput, match="holds no answers"):
        RemoteScores(url, answered=kept)


def test_budgets(service: tuple[Service, str]) -> None:
    told, url = service
    view = RemoteScores(url, budget=70)
    view(images(60))
    with pytest.raises(BudgetSpent):
        view(images(80)[60:])
    assert (view.used, view.left) == (60, 10)
    told.after = lambda b: (200, {LEFT: "4"}, good(b)[2])
    view(images(61)[60:])
    assert view.left == 4, "the service's word, where it leaves less"
    told.after = lambda b: (402, {}, b"")
    with pytest.raises(BudgetSpent):
        view(images(62)[61:])


def test_keys_come_from_the_environment(service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch) -> None:
    told, url = service
    monkeypatch.setenv(KEY, "secret")
    RemoteScores(url)
    assert told.keys[-1] == "Bearer secret"
    told.after = lambda b: (401, {}, b"")
    with pytest.raises(AccessDenied, match="key"):
        RemoteScores(url)(images(1))


@pytest.mark.parametrize("kind", ["label", "top_k"])
def test_services_that_tell_less(service: tuple[Service, str], kind: str) -> None:
    told, url = service
    told.about = {**ABOUT, "answers": kind}

    def less(body: bytes) -> Reply:
        top = judged(load(body)["x"]).topk(2, 1)
        named = {"label": top.indices[:, 0].clone()}
        return 200, {}, save(named if kind == "label" else {"top": top.indices, "top_scores": top.values})

    told.after = less
    x = images(4)
    found, p = RemoteScores(url)(x), judged(x)
    assert torch.equal(found.argmax(1), p.argmax(1)) and int((found > 0).sum()) == (4 if kind == "label" else 8)


BAD: dict[str, Callable[[bytes], Reply]] = {
    "no safetensors": lambda b: (200, {}, b"hello"),
    "other classes": lambda b: (200, {}, save({"scores": torch.rand(len(load(b)["x"]), 4)})),
    "too few rows": lambda b: (200, {}, save({"scores": torch.rand(1, 3)})),
    "not finite": lambda b: (200, {}, save({"scores": torch.full((2, 3), torch.nan)})),
    "no probabilities": lambda b: (200, {}, save({"scores": torch.full((2, 3), 7.0)})),
    "no such label": lambda b: (200, {}, save({"label": torch.tensor([0, 9])})),
    "nothing": lambda b: (200, {}, save({})),
    "sent elsewhere": lambda b: (302, {"Location": "http://example.org/"}, b""),
    "long wait": lambda b: (429, {"Retry-After": "9999"}, b""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_service_that_answers_nonsense_is_told(service: tuple[Service, str], name: str) -> None:
    told, url = service
    told.after = BAD[name]
    view = RemoteScores(url, sleep=lambda s: None)
    with pytest.raises((BadInput, Unsupported)):
        view(images(2))
    assert view.used == 0


@pytest.mark.parametrize(
    "about", [b"[1]", b"\xff", {**ABOUT, "shape": [1, -4, 4]}, {**ABOUT, "classes": [1, 2]}, {**ABOUT, "kind": "x"}]
)
def test_an_address_without_a_classifier_is_told(service: tuple[Service, str], about: Any) -> None:
    told, url = service
    told.about = about
    with pytest.raises(BadInput, match="no classifier"):
        RemoteScores(url)


def test_an_answer_beyond_all_bounds_is_not_read(service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch) -> None:
    told, url = service
    view = RemoteScores(url)
    monkeypatch.setattr("genvet.remote.LARGEST_ANSWER", 1000)
    told.after = lambda b: (200, {}, b"x" * 5000)
    with pytest.raises(BadInput, match="too much"):
        view(images(1))


def test_a_service_in_this_process_answers_the_same() -> None:
    module = torch.nn.ModuleDict({"features": torch.nn.Flatten(), "head": torch.nn.Linear(16, 3)})
    target = Classifier(module=module.requires_grad_(False), shape=SHAPE, classes=CLASSES, name="plain")
    view = in_process(target.seen_as(Scores, budget=9))
    x = images(5)
    assert torch.allclose(view(x), target(x), atol=1e-6) and view.left == 4
