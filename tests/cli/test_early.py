"""What cannot be written is told before the work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genvet.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "a file"], "cannot make the output folder a file"),
        (["--write", "a file/thresholds.json"], "cannot make the output folder a file"),
        (["--write", "a file"], "a file is not a table of thresholds"),
    ],
)
def test_a_score_that_could_not_be_written(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genvet.zoo.scoring.rows", never)
    Path("a file").write_text("rubbish")
    Path("models").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["zoo", "score", "models", *words])
    assert stop.value.code == 2 and told in capsys.readouterr().err


def test_tables_that_lack_their_data_say_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "devil/table-2", "--out", str(tmp_path / "out"), "--cells", str(tmp_path / "cells")]
    for more, told in (("--kept", "cells: not worked out yet"), ("--data=nowhere", "there is no folder nowhere")):
        with pytest.raises(SystemExit) as stop:
            main([*words, more])
        err = capsys.readouterr().err
        assert stop.value.code == (0 if more == "--kept" else 2)
        assert err.count(told) == 1 and "Traceback" not in err
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<h4 class="title">Table II' in page and "What it rests on" in page and "0 bytes" not in page
