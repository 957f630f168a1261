"""Cells are kept, recalled by what they follow from, and one that fails stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genvet.core.errors import Unsupported
from genvet.reproduce.cells import Cell, Numbers, Place, Step, run
from genvet.reproduce.experiment import Spread, apart, claim, largest, mean, median


class Made(Step):
    """Counts how often it is made, in a file."""

    @property
    def name(self) -> str:
        return "made"

    def __call__(self, place: Place) -> None:
        file = place.cache / "made"
        file.write_text(file.read_text() + "x" if file.exists() else "x")


class Broken(Step):
    @property
    def name(self) -> str:
        return "broken"

    def __call__(self, place: Place) -> None:
        raise Unsupported("nothing to train on")


class Square(Cell):
    """Squares a number; -1 cannot be done, and 99 is interrupted."""

    number: float
    broken: bool = False

    @property
    def name(self) -> str:
        return f"square-{self.number:g}"

    def needs(self) -> tuple[Step, ...]:
        return (Broken(),) if self.broken else (Made(),)

    def __call__(self, place: Place) -> Numbers:
        if self.number == -1:
            raise Unsupported("no negative numbers")
        if self.number == -2:
            raise ZeroDivisionError("a fault")
        if self.number == 99:
            raise KeyboardInterrupt
        return {"square": self.number**2, "odd": float("nan")}


class Stopped(Square):
    """Interrupted, and in need of nothing."""

    def needs(self) -> tuple[Step, ...]:
        return ()

    def __call__(self, place: Place) -> Numbers:
        raise KeyboardInterrupt


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tmp_path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_cells_are_worked_out_once(place: Place, jobs: int) -> None:
    cells, folder = [Square(number=2), Square(number=3)], place.cache / "a" / "cells" / "smoke"
    first = run(cells, folder, place, jobs)
    assert first.complete and [numbers for _, numbers in first.done] == [
        {"square": 4.0, "odd": None},
        {"square": 9.0, "odd": None},
    ]
    kept = json.loads((folder / "square-3.json").read_text())
    assert kept["recipe"]["number"] == 3 and list(kept) == sorted(kept)
    assert run(cells, folder, place, allow=False).done == first.done
    assert (place.cache / "made").read_text() == "x", "what cells need is made once for all, and not for a recalled one"


def test_another_table_lends_its_cells_but_never_those_of_another_recipe(place: Place) -> None:
    run([Square(number=2)], place.cache / "a" / "cells" / "smoke", place)
    there = place.cache / "b" / "cells" / "smoke"
    assert run([Square(number=2)], there, place, allow=False).complete
    assert not there.exists(), "what only tells leaves nothing behind"
    assert run([Square(number=2)], there, place).complete and (there / "square-2.json").is_file()
    (there / "square-5.json").write_bytes((there / "square-2.json").read_bytes())
    assert run([Square(number=5)], there, place, allow=False).waiting == ["square-5"]
    assert run([Square(number=2)], place.cache / "c" / "cells" / "small", place, allow=False).waiting == ["square-2"]


def test_a_failure_stops_no_other_and_says_why(place: Place) -> None:
    cells = [Square(number=-1), Square(number=-2), Square(number=4, broken=True), Square(number=2)]
    outcome = run(cells, place.cache / "cells", place)
    assert outcome.failed == {
        "square--1": "no negative numbers",
        "square--2": "ZeroDivisionError: a fault",
        "square-4": "nothing to train on",
    }
    assert [cell.name for cell, _ in outcome.done] == ["square-2"] and not outcome.complete


def test_an_interrupted_run_keeps_what_it_has(place: Place) -> None:
    cells = [Square(number=1), Square(number=99), Square(number=3)]
    outcome = run(cells, place.cache / "cells", place)
    assert [cell.name for cell, _ in outcome.done] == ["square-1"]
    assert outcome.waiting == ["square-99", "square-3"] and not outcome.complete


def test_what_a_cell_needs_is_made_when_its_turn_comes(place: Place) -> None:
    assert not run([Stopped(number=1), Square(number=3)], place.cache / "others", place).complete
    assert not (place.cache / "made").exists(), "the first cell was interrupted, and what the second one needs waits"


def test_several_runs_as_one_number() -> None:
    assert median([3.0, None, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert largest([3.0, 1.0]) == Spread(3.0, 1.0, 3.0, 2)
    error = mean([1.0, 3.0])
    assert error is not None and (error.low, error.high) == (1.0, 3.0), "standard error of 1 and 3 is 1"
    assert mean([None]) is None and median([]) is None


def test_the_larger_of_two_can_be_told_where_their_ranges_are_apart() -> None:
    low, high, wide = Spread(1.0, 0.9, 1.1, 3), Spread(2.0, 1.5, 2.5, 3), Spread(1.5, 1.0, 2.0, 3)
    assert apart(low, high) and apart(high, low) and not apart(low, low)
    assert not apart(low, wide) and not apart(high, wide) and not apart(low, None)


def test_a_claim_rests_on_three_runs() -> None:
    few, enough = (Spread(1.0, 1.0, 1.0, n) for n in (2, 3))
    assert [claim("It is small", s, True, "paper 2").status for s in (None, few, enough)] == [
        "undecided",
        "undecided",
        "holds",
    ]
    assert claim("It is small", enough, False, "paper 0.5").status == "not"
    assert claim("It is small", enough, True, "its interval is wide", decided=False).status == "undecided"
