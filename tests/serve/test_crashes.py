"""The service under kill -9: a few rounds of the program in benchmarks/, and what it finds where something is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

from sqlalchemy import update

from genvet.serve import keys
from genvet.serve.home import Home
from genvet.serve.store import CLIENTS


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.crash_service")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_what_was_answered_is_charged_once_and_logged(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any
) -> None:
    postgres = database.startswith("postgresql")
    if postgres:
        monkeypatch.setenv("GENVET_DATABASE", database)
    outcome = program.run(tmp_path, rounds=2, workers=1 + postgres, clients=4, seed=0)
    assert outcome.rounds == 2 and outcome.answered and not outcome.wrong, outcome.wrong


def test_a_free_answer_and_a_wrong_budget_would_be_found(tmp_path: Path, program: Any) -> None:
    home = Home(tmp_path / "home")
    store = home.store()
    home.ledger(store).close()
    asker = program.Asker("ann", keys.added(store, "ann", budget=100), 0)
    store.engine.dispose()
    program.checked(home, [asker], fine := program.Outcome(rounds=1))
    assert not fine.wrong

    asker.answered.append("0" * 64)
    program.checked(home, [asker], free := program.Outcome(rounds=1))
    assert any("not charged once" in said for said in free.wrong)

    asker.answered.clear()
    store = home.store()
    with store.writing() as connection:
        connection.execute(update(CLIENTS).values(used=4))
    store.engine.dispose()
    program.checked(home, [asker], spent := program.Outcome(rounds=1))
    assert spent.wrong == ["round 1: ann used 4, and the log has 0"]
