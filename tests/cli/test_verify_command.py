"""`genvet serve verify`: exit codes, and what it says of a log that somebody touched."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from genvet.cli import main
from genvet.serve.home import Home
from genvet.serve.witness import KEY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KEY, raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["serve", "verify", *words])
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Home:
    """A service's folder, with five rows in its log."""
    found = Home(tmp_path / "genvet-serve-model")
    store = found.store()
    with found.ledger(store) as ledger:
        ledger.append([{"kind": "answer", "i": i} for i in range(4)])
    store.engine.dispose()
    return found


def done(home: Home, statement: str) -> None:
    with sqlite3.connect(home.folder / "service.sqlite") as data:
        data.execute(statement)
    data.close()


def test_a_sound_log_gives_an_end_to_note_down(run: Run, home: Home) -> None:
    code, out, err = run()
    assert code == 0 and out.startswith("Sound: 5 rows") and home.key().hex() not in out + err
    (end,) = re.findall(r"end, to note down: (\S+)", err)
    assert run("--noted", end)[0] == 0
    done(home, "DELETE FROM ledger WHERE id = 5")
    home.head.unlink()
    home.ledger(home.store()).close()  # somebody begins a head anew
    assert run()[0] == 0
    code, out, _ = run("--noted", end, "--json")
    told = json.loads(out)
    assert code == 1 and (told["done"], told["first"], told["begun"]) == ("forked", 5, [1])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE ledger SET body = '{}' WHERE id = 3", "Tampered with: altered, first at row 3"),
        ("DELETE FROM ledger WHERE id = 2", "Tampered with: removed, first at row 2"),
        ("DELETE FROM ledger WHERE id > 3", "Tampered with: truncated, first at row 4"),
    ],
)
def test_a_log_that_was_touched_exits_with_1(run: Run, home: Home, statement: str, said: str) -> None:
    done(home, statement)
    code, out, _ = run("--out", str(home.folder))
    assert code == 1 and out.startswith(said)


@pytest.mark.parametrize(
    ("harm", "words", "said"),
    [
        ("head", [], "head .* is gone"),
        ("key", [], "cannot read the audit log's key"),
        ("other key", [], "another key"),
        ("table", [], "holds no audit log"),
        ("database", [], "holds no database"),
        ("", ["--noted", "5:xyz"], "no end of an audit log"),
        ("", ["--head", "nowhere"], "is gone"),
        ("", ["--out", "elsewhere"], "cannot read the audit log's key"),
    ],
)
def test_what_cannot_be_told_exits_with_2(run: Run, home: Home, harm: str, words: list[str], said: str) -> None:
    """And makes nothing anew on the way."""
    key = home.folder / "ledger.key"
    if harm in ("head", "key", "database"):
        {"head": home.head, "key": key, "database": home.folder / "service.sqlite"}[harm].unlink()
    elif harm == "other key":
        key.write_text("ab" * 32)
    elif harm == "table":
        done(home, "DROP TABLE ledger")
    before = sorted(path.name for path in home.folder.iterdir())
    code, _, err = run(*words)
    assert code == 2 and re.search(said, re.sub(r"\s+", " ", err)), err
    assert {p.name for p in home.folder.iterdir()} <= {*before, "service.sqlite-wal", "service.sqlite-shm"}
