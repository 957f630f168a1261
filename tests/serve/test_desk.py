"""The operators' page: who may see it, what it says, and that a keyboard is enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import torch
from browser import CHROMIUM, Browser
from clocks import Clock
from fastapi import FastAPI

from genvet.serve import keys
from genvet.serve.desk import Desk
from genvet.serve.ledger import Ledger
from genvet.serve.page import router
from genvet.serve.reviews import Reviews
from genvet.serve.running import running
from genvet.serve.sessions import LASTING

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def desk(reviews: Reviews) -> Desk:
    """A service with an operator, two clients and three held images, of which one carries a hostile reason."""
    store, ledger = reviews.store, reviews.log
    assert isinstance(ledger, Ledger)
    keys.added(store, "ann", budget=1000)
    keys.added(store, "bob", budget=None, rate=2.5)
    rows = torch.linspace(-1, 1, 32)
    faces = (rows[:, None] * rows).sin().repeat(3, 1, 1)[None]
    with store.writing() as connection:
        reviews.hold(connection, 1, [faces, -faces], ["nearer to a protected image than the threshold", HOSTILE])
        reviews.hold(connection, 2, [faces.flip(3)], ["a latent that no honest client would draw"])
    ledger.append([{"kind": "answer", "client": "ann", "asked": 64, "answered": 61, "blocked": 2, "held": 1}])
    ledger.append([{"kind": "answer", "client": "bob", "asked": 8, "answered": 8}])
    ledger.append([{"kind": HOSTILE[:60], "client": HOSTILE, "what": HOSTILE}])
    return Desk(store, reviews, ledger, {"model": "generator.safetensors", "guards": "gaussian_noise, then ssim"})


@pytest.fixture
def key(desk: Desk) -> str:
    return keys.added(desk.store, "olga", role="operator")


@pytest.fixture
def url(desk: Desk) -> Iterator[str]:
    """The page on a real socket."""
    app = FastAPI(openapi_url=None)
    app.include_router(router(desk))
    with running(app) as url:
        yield url


@pytest.fixture
def web(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def entered(web: httpx.Client, key: str) -> httpx.Response:
    answer = web.post("/desk/in", data={"key": key})
    assert answer.status_code == 303 and answer.headers["location"] == "/desk", answer.text
    return answer


def word(page: str) -> str:
    """What the page's forms carry."""
    return re.findall(r'name="form" value="([^"]+)"', page)[0]


def test_who_has_no_operators_key_sees_nothing(web: httpx.Client, desk: Desk, key: str) -> None:
    client = keys.added(desk.store, "carl")
    for bad in ("", "genvet_" + "x" * 43, client):
        answer = web.post("/desk/in", data={"key": bad})
        assert answer.status_code == 401 and "no operator" in answer.text and "set-cookie" not in answer.headers
    for answer in (web.get("/desk"), web.get("/desk", headers={"Cookie": "genvet_desk=guess"})):
        assert answer.status_code == 401 and "data:image" not in answer.text and "ann" not in answer.text
    for path in ("/desk/held/1", "/desk/log", "/desk/out"):
        assert web.post(path, data={"form": "x", "decision": "approved"}).status_code == 401
    assert desk.reviews.count() == 3 and key not in web.get("/desk").text


def test_the_cookie_is_for_this_site_alone_and_ends(web: httpx.Client, desk: Desk, key: str, clock: Clock) -> None:
    cookie = entered(web, key).headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/desk", "Max-Age=28800"))
    assert key not in cookie and "Secure" not in cookie  # there is no encryption here
    assert web.get("/desk").status_code == 200
    clock.at += LASTING + 1
    assert web.get("/desk").status_code == 401
    entered(web, key)
    keys.revoked(desk.store, "olga")
    assert web.get("/desk").status_code == 401


def test_signing_out_ends_the_session_everywhere(web: httpx.Client, key: str) -> None:
    entered(web, key)
    kept = web.cookies["genvet_desk"]
    assert web.post("/desk/out", data={"form": word(web.get("/desk").text)}).status_code == 303
    assert web.get("/desk", headers={"Cookie": f"genvet_desk={kept}"}).status_code == 401


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({}, {}, 403),
        ({"form": "guess"}, {}, 403),
        (None, {"Origin": "https://evil.example"}, 403),
        (None, {"Sec-Fetch-Site": "cross-site"}, 403),
        (None, {"Content-Type": "text/plain"}, 415),
        (None, {"X": "long"}, 413),
    ],
)
def test_no_other_site_decides(
    web: httpx.Client, desk: Desk, key: str, form: dict[str, str] | None, headers: dict[str, str], status: int
) -> None:
    entered(web, key)
    given = {"decision": "approved", **({"form": word(web.get("/desk").text)} if form is None else form)}
    given |= {"x": "y" * 9000} if "X" in headers else {}
    answer = web.post("/desk/held/1", data=given, headers=headers)
    assert answer.status_code == status and "This was not done" in answer.text and desk.reviews.count() == 3


def test_a_person_decides(web: httpx.Client, desk: Desk, key: str) -> None:
    entered(web, key)
    page = web.get("/desk").text
    assert page.count("<img") == 3 and "3 wait for a decision" in page
    answer = web.post("/desk/held/2", data={"form": word(page), "decision": "rejected"})
    assert answer.status_code == 303 and answer.headers["location"] == "/desk?told=rejected#queue"
    assert "is erased" in web.get("/desk?told=rejected").text and desk.reviews.count() == 2
    again = web.post("/desk/held/2", data={"form": word(page), "decision": "approved"})
    assert again.status_code == 409 and "rejected already, by olga" in again.text
    assert web.post("/desk/held/1", data={"form": word(page), "decision": "shrug"}).status_code == 422


def test_what_stands_out_is_told_and_plain_answers_are_not(web: httpx.Client, key: str) -> None:
    entered(web, key)
    page = web.get("/desk").text
    assert "blocked 2, held 1 of 64" in page and "of 8" not in page
    assert "1,000" in page and "no limit" in page and "generator.safetensors" in page


def test_a_log_that_was_tampered_with_is_shouted(web: httpx.Client, desk: Desk, key: str) -> None:
    entered(web, key)
    form = {"form": word(web.get("/desk").text)}
    assert "Sound: 4 rows" in web.post("/desk/log", data=form).text
    with desk.store.writing() as connection:
        connection.exec_driver_sql("UPDATE ledger SET body = '{}' WHERE id = 2")
    page = web.post("/desk/log", data=form).text
    assert re.search(r'role="alert">Tampered with: altered, first at row 2', page)
    with desk.store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM ledger WHERE id > 2")
    assert re.search(r'role="alert">row 4 of the audit log is not as it was written', web.get("/desk").text)


class Watch(HTMLParser):
    """Everything on a page that runs, loads, or cannot be reached or read without a mouse or eyes."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.ids: set[str] = set()
        self.named: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.ids.add(of.get("id", ""))
        self.named |= {of.get("for", ""), *of.get("aria-labelledby", "").split(), of.get("href", "")[1:]}
        if tag in ("script", "iframe", "object", "embed", "link", "base") or any(name[:2] == "on" for name in of):
            self.wrong.append(f"runs: {tag} {of}")
        if "src" in of and not of["src"].startswith("data:"):
            self.wrong.append(f"loads: {of['src']}")
        if "href" in of and not of["href"].startswith(("#", "/desk")):
            self.wrong.append(f"leads out: {of['href']}")
        if "style" in of or int(of.get("tabindex", "0")) > 0 or (tag == "img" and not of.get("alt")):
            self.wrong.append(f"{tag} {of}")
        if tag == "input" and of.get("type") != "hidden" and not of.get("id"):
            self.wrong.append(f"no label: {of}")


def test_nothing_runs_or_loads_and_everything_has_a_name(web: httpx.Client, key: str) -> None:
    pages = [web.get("/desk"), web.post("/desk/in", data={"key": "no"}), web.post("/desk/log", data={})]
    entered(web, key)
    pages.append(web.get("/desk"))
    for page in pages:
        watch = Watch()
        watch.feed(page.text)
        assert watch.wrong == [] and watch.named - {"", "desk"} <= watch.ids
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert "&lt;script&gt;" in pages[-1].text and "\u202e" not in pages[-1].text and "\\u202e" in pages[-1].text


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_keyboard_is_enough(url: str, desk: Desk, key: str, tmp_path: Path) -> None:
    """Sign in, go to the second held image by Tab, reject it, verify the log: no mouse, and the focus is seen."""
    browser = Browser(tmp_path / "profile")
    focus = "document.activeElement.innerText || document.activeElement.name || ''"
    try:
        browser.open(f"{url}/desk")
        browser.wait("document.activeElement.id === 'key'")
        browser("Input.insertText", text=key)
        enter(browser)
        browser.wait("document.title.startsWith('Service')")
        assert browser.tell("getComputedStyle(document.querySelector('main')).maxWidth") != "none"  # the style applies
        tabbed(browser, "document.activeElement.className === 'skip'")
        assert browser.tell("document.activeElement.getBoundingClientRect().left") >= 0
        order = tabbed(browser, "document.activeElement.closest('li.card')?.innerText.includes('Image 2')")
        assert order[:5] == ["Held images (3)", "Budgets", "Findings", "Sign out olga", "Verify every row"]
        assert order[5:8] == ["Approve", "Reject", "Approve"]
        tabbed(browser, f"({focus}) === 'Reject'")
        assert browser.tell("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
        enter(browser)
        browser.wait("document.body.innerText.includes('The image was rejected')")
        assert browser.tell("location.hash") == "#queue" and [h.id for h in desk.reviews.waiting()] == [1, 3]
        assert "Approve" in tabbed(browser, f"({focus}) === 'Approve'")[-1:]  # the next decision is a key away
        browser.open(f"{url}/desk")
        tabbed(browser, f"({focus}) === 'Verify every row'")
        enter(browser)
        browser.wait("document.body.innerText.includes('Sound: 5 rows')")
    finally:
        browser.close()


def enter(browser: Browser) -> None:
    for kind in ("keyDown", "keyUp"):
        browser("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")


def tabbed(browser: Browser, until: str, most: int = 40) -> list[str]:
    """Press Tab until something holds; gives what had the focus on the way."""
    passed: list[str] = []
    for _ in range(most):
        browser.press("Tab", 9)
        passed.append(str(browser.tell("document.activeElement.innerText || document.activeElement.name || ''")))
        if browser.tell(f"Boolean({until})"):
            return passed
    raise AssertionError(passed)
