"""The page of `genvet explore` in a real browser: keys move sliders, sliders move pictures, all have names."""

from __future__ import annotations

import base64
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

from genvet.files.pictures import png
from genvet.serve.explorer import State

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
RESTED = "document.getElementById('now').getAttribute('aria-busy') === 'false'"
PICTURE = "document.getElementById('picture').src"
CONTROLS = {"slider", "spinbutton", "button", "combobox", "radio", "link"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    folder = Path(tempfile.mkdtemp())
    browser = Browser(folder)
    yield browser
    browser.close()
    shutil.rmtree(folder, ignore_errors=True)


def shown(browser: Browser) -> bytes:
    """The picture that the page shows, as a PNG file."""
    return base64.b64decode(browser.wait(f"{RESTED} && {PICTURE}").partition(",")[2])


def expected(server, state: dict) -> bytes:
    return png(server.site.explorer.show(State.parse(state)).x)


def test_the_address_holds_the_state(browser, server):
    browser.open(server.url + "#seed=3&psi=0.5&start=2&mix=9&d0=2&z12=-3")
    state = {"seed": 3, "psi": 0.5, "start": 2, "mix": 9, "moves": {0: 2}, "dims": {12: -3}}
    browser.wait(f"{RESTED} && document.getElementById('change').textContent !== '–'")
    assert shown(browser) == expected(server, state) != expected(server, {"seed": 3})
    assert browser.tell("document.getElementById('z12').value") == "-3"
    assert browser.tell("document.getElementById('title').textContent") == "a <b>model</b>"
    change = 100 * server.site.explorer.show(State.parse(state)).change
    assert browser.tell("document.getElementById('change').textContent") == f"{change:.2f} %"
    assert "seed-3.png" in browser.tell("document.getElementById('save').download")


def test_keys_move_sliders_and_sliders_move_pictures(browser, server):
    browser.open(server.url + "#seed=5")
    browser.open("about:blank")
    browser.open(server.url + "#seed=5")
    browser.wait(f"{RESTED} && {PICTURE}")
    assert shown(browser) == expected(server, {"seed": 5})
    for slider, name in (("d1", "moves"), ("z3", "dims")):
        browser.tell(f"document.getElementById('{slider}').focus()")
        for _ in range(20):
            browser.press("ArrowRight", 39)
        browser.wait(f"location.hash.includes('{slider}=2') && {RESTED}")
        assert shown(browser) == expected(server, {"seed": 5, name: {int(slider[1:]): 2.0}})
        browser.tell("document.getElementById('reset').click()")
        browser.wait(f"location.hash === '#seed=5' && {RESTED}")
        assert shown(browser) == expected(server, {"seed": 5})
    browser.wait("document.getElementById('said').textContent === 'Seed 5, mean change 0.00 %'")


def test_dragging_does_not_queue_up(browser, server, monkeypatch):
    browser.open("about:blank")
    browser.open(server.url + "#seed=5")
    browser.wait(f"{RESTED} && {PICTURE}")
    asked, show = [], server.site.explorer.show

    def slow(state):
        asked.append(state.moves.get(0))
        time.sleep(0.3)
        return show(state)

    monkeypatch.setattr(server.site.explorer, "show", slow)
    move = "d0.value = i / 10; d0.dispatchEvent(new Event('input'))"
    drag = f"for (let i = 1; i <= 30; i++) setTimeout(() => {{ {move} }}, 10 * i)"
    browser.tell(f"const d0 = document.getElementById('d0'); {drag}; 0")
    browser.wait(f"location.hash.includes('d0=3') && {RESTED}")
    assert asked[-1] == 3.0 and len(asked) < 15
    monkeypatch.undo()
    assert shown(browser) == expected(server, {"seed": 5, "moves": {0: 3.0}})


def test_every_control_is_named_and_reached_by_keys(browser, server):
    browser.open("about:blank")
    browser.open(server.url + "#seed=1")
    browser.wait(f"{RESTED} && {PICTURE}")
    nodes = [n for n in browser("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    found = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if n["role"]["value"] in CONTROLS]
    names = [name for _, name in found]
    assert all(names) and len([role for role, _ in found if role == "slider"]) == 1 + 1 + 10 + 6
    assert len({pair for pair in found if pair[0] in ("slider", "spinbutton")}) == sum(
        role in ("slider", "spinbutton") for role, _ in found
    )
    reached, first = [], browser.tell("document.activeElement.blur()")
    for _ in range(80):
        browser.press("Tab", 9)
        now = browser.tell("document.activeElement.id || document.activeElement.tagName")
        if now in reached or now == "BODY":
            break
        reached.append(now)
        seen = browser.tell("getComputedStyle(document.activeElement).outlineStyle")
        assert seen != "none", now
    sliders = browser.tell("[...document.querySelectorAll('input[type=range]')].map((x) => x.id)")
    assert set(sliders) <= set(reached) and first is None


def test_odd_addresses_are_told_and_not_shown(browser, server):
    browser.open("about:blank")
    browser.open(server.url + "#seed=1&z99=2")
    browser.wait("!document.getElementById('alert').hidden")
    assert "no dimension 99" in browser.tell("document.getElementById('alert').textContent")
    browser.tell("document.getElementById('reset').click()")
    browser.wait("document.getElementById('alert').hidden")


def test_it_fits_a_telephone(browser, server):
    browser("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    browser.open("about:blank")
    browser.open(server.url + "#seed=1&d0=1")
    browser.wait(f"{RESTED} && {PICTURE}")
    assert browser.tell("document.documentElement.scrollWidth") <= 360
    browser("Emulation.clearDeviceMetricsOverride")
