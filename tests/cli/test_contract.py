"""The command line is a contract: commands, options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from genvet import engine
from genvet.cli import main, options
from genvet.cli.app import build
from genvet.core.errors import BadInput, NoModel
from genvet.core.report import Finding, MadeBy, NotChecked, Report, Target, Verdict
from genvet.core.severity import Severity

COMMANDS = {
    "demo": {"--out", "--seed", "--config", "--debug"},
    "scan": {
        *("--file-only", "--net", "--part", "--targets", "--reference", "--reference-model", "--depth", "--fail-on"),
        *("--classifier", "--thresholds", "--out", "--seed", "--device", "--config", "--json", "--debug"),
    },
    "convert": {"--layout", "--net", "--part", "--config", "--debug"},
    "choices": {
        *("--private", "--against", "--answers", "--count", "--controls", "--seed", "--config", "--debug"),
    },
    "sample": {"--count", "--out", "--truncation", "--net", "--part", "--seed", "--device", "--config", "--debug"},
    "explore": {"--port", "--host", "--net", "--part", "--seed", "--device", "--config", "--debug"},
    "train": {
        *("--data", "--recipe", "--out", "--every", "--start", "--classifier", "--reference", "--broken", "--devices"),
        *("--hold-out", "--hold-by", "--canaries", "--seed", "--device", "--config", "--debug"),
    },
    "attack": {
        *("--guard", "--knowing", "--alone"),
        *("--out", "--net", "--part", "--json", "--seed", "--device", "--config", "--debug"),
    },
    "defend": {
        *("--backdoor", "--clean", "--count", "--depth", "--reference"),
        *("--out", "--net", "--part", "--json", "--seed", "--device", "--config", "--debug"),
    },
    "study": {"--out", "--net", "--part", "--json", "--seed", "--device", "--config", "--debug"},
    "audit-data": {
        *("--anonymise", "--into", "--key", "--generator"),
        *("--only", "--fail-on", "--out", "--json", "--seed", "--config", "--debug"),
    },
    "guard-test": {
        *("--budget", "--model", "--members", "--non-members", "--split", "--reference", "--attacker", "--alone"),
        *("--compare", "--fail-on", "--out", "--net", "--part", "--json", "--seed", "--device", "--config", "--debug"),
    },
    "threat-model": {"--out", "--json", "--config", "--debug"},
    "serve": {
        *("--policy", "--host", "--port", "--workers", "--certificate", "--certificate-key"),
        *("--out", "--net", "--part", "--device", "--config", "--debug"),
    },
    "serve keys add": {"--policy", "--budget", "--rate", "--burst", "--operator", "--out", "--config", "--debug"},
    "serve keys list": {"--out", "--config", "--debug"},
    "serve keys revoke": {"--out", "--config", "--debug"},
    "serve verify": {"--out", "--head", "--noted", "--json", "--config", "--debug"},
    "reproduce": {
        *(
            "--scale",
            "--data",
            "--out",
            "--cells",
            "--cache",
            "--population",
            "--jobs",
            "--kept",
            "--json",
            "--config",
            "--debug",
        ),
    },
    "zoo build": {"--scale", "--data", "--jobs", "--out", "--config", "--debug"},
    "zoo score": {
        *("--cells", "--depth", "--jobs", "--json", "--name", "--write", "--out", "--seed", "--config", "--debug"),
    },
    "lint": {"--json", "--config", "--debug"},
    "list": {"--json", "--config", "--debug"},
}


def report(severity: str = "info", complete: bool = True, text: str = "all quiet") -> Report:
    gap = NotChecked(technique="output.brute_force", reason="not_requested" if complete else "interrupted")
    return Report(
        target=Target(path=text, sha256="0" * 64, size=1, format="safetensors"),
        verdict=Verdict(
            severity=Severity(severity), loading="nothing", behaviour=text, unchecked="-", complete=complete
        ),
        findings=(
            Finding(
                technique="file", version=1, access="ModelFile", config={}, severity=Severity(severity), summary=text
            ),
        ),
        checked=(),
        not_checked=(gap,),
        made_by=MadeBy(genvet="0.1.0", python="3.11", torch="2.13", machine="m", command="c"),
        made_at="2026-01-02T03:04:05+00:00",
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Puts a ready report, or an error, in the engine's place; gives the options that it was called with."""

    def put(outcome: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def scan(path: Path, **options: Any) -> Report:
            calls.append({"path": path, **options})
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(engine, "scan", scan)
        return calls

    return put


def test_the_commands_and_their_options_are_these(run: Run) -> None:
    app = build()
    commands = {name for name in app if not name.startswith("-")}
    assert commands == {command.split()[0] for command in COMMANDS}
    for command, wanted in COMMANDS.items():
        arguments = reduce(getitem, command.split(), app).assemble_argument_collection()
        found = {name for argument in arguments for name in argument.names if name.startswith("--")}
        assert found == wanted, command


@pytest.mark.parametrize(
    ("severity", "complete", "fail_on", "code"),
    [
        *[
            ("info", True, "high", 0),
            ("medium", True, "high", 0),
            ("high", True, "high", 1),
            ("critical", True, "high", 1),
        ],
        *[("medium", True, "medium", 1), ("high", True, "critical", 0), ("info", True, "info", 1)],
        *[("info", False, "high", 2), ("high", False, "high", 1), ("high", False, "critical", 2)],
    ],
)
def test_exit_codes(run: Run, scans: Any, severity: str, complete: bool, fail_on: str, code: int) -> None:
    scans(report(severity, complete))
    assert run("scan", "m.pt", "--fail-on", fail_on)[0] == code


def test_options_reach_the_engine_and_reports_are_written(run: Run, scans: Any, tmp_path: Path) -> None:
    calls = scans(report())
    words = "--net dcgan --part G --targets t --reference r --depth quick --seed 7 --device cpu --file-only".split()
    code, out, err = run("scan", "a/my model.pt", *words)
    assert code == 0 and "all quiet" in out and "genvet-scan-my_model/report.html" in err
    wanted = {"net": "dcgan", "part": "G", "targets": Path("t"), "reference": Path("r"), "depth": "quick", "seed": 7}
    wanted |= {"device": "cpu", "file_only": True, "out": Path("genvet-scan-my_model"), "path": Path("a/my model.pt")}
    assert {k: calls[0][k] for k in wanted} == wanted
    assert {p.name for p in (tmp_path / "genvet-scan-my_model").iterdir()} == {
        "report.json",
        "report.html",
        "report.sarif",
    }


def test_json_prints_the_report_alone(run: Run, scans: Any) -> None:
    scans(report("high"))
    code, out, err = run("scan", "m.pt", "--json")
    assert code == 1 and Report.model_validate_json(out) == report("high")
    assert "report.html" in err


def test_a_config_file_gives_options_and_the_command_line_goes_first(run: Run, scans: Any, tmp_path: Path) -> None:
    calls = scans(report("medium"))
    (tmp_path / "c.toml").write_text('seed = 3\ndepth = "quick"\nfail-on = "medium"\nfile-only = true\n')
    assert run("scan", "m.pt", "--config", "c.toml", "--seed", "9")[0] == 1
    assert (calls[0]["seed"], calls[0]["depth"], calls[0]["file_only"]) == (9, "quick", True)
    (tmp_path / "c.json").write_text(json.dumps({"seed": 4}))
    assert run("scan", "m.pt", "--config=c.json")[0] == 0 and calls[1]["seed"] == 4
    (tmp_path / "t.toml").write_text('seed = 5\n[techniques."output.brute_force"]\nsamples = 64\n')
    assert run("scan", "m.pt", "--config", "t.toml")[0] == 0
    assert calls[2]["settings"] == {"output.brute_force": {"samples": 64}} and calls[2]["seed"] == 5
    assert run("scan", "m.pt", "--config", "t.toml", "--classifier", "c.safetensors")[0] == 0
    assert calls[3]["settings"]["output.reconstruct"] == {"also": "features"} and len(calls[3]["settings"]) == 2
    (tmp_path / "bad.json").write_text(json.dumps({"sead": 4}))
    (tmp_path / "text.json").write_text("no json")
    for name in ("bad.json", "text.json", "none.json", "c.yaml"):
        code, _, err = run("scan", "m.pt", "--config", name)
        assert code == 2 and err, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scan", "m.pt", "--dpeth", "quick"), "--depth"),
        (("scan", "m.pt", "--depth", "slow"), "quick"),
        (("scna", "m.pt"), "scan"),
        (("scan",), "MODEL"),
        (("scan", "m.pt", "--seed", "x"), "--seed"),
        (("list", "atack"), "attack"),
        (("sample", "m.pt", "--count", "0"), "--count"),
    ],
)
def test_bad_usage_is_told_with_a_suggestion(run: Run, words: tuple[str, ...], said: str) -> None:
    code, out, err = run(*words)
    assert code == 2 and said in err and not out and "Traceback" not in err


def test_errors_are_words_unless_debugging(run: Run, scans: Any) -> None:
    scans(BadInput("the file is empty", hint="fetch it again"))
    code, out, err = run("scan", "m.pt")
    assert code == 2 and not out and "the file is empty" in err and "fetch it again" in err and "Traceback" not in err
    with pytest.raises(BadInput):
        main(["scan", "m.pt", "--debug"])
    scans(ZeroDivisionError("a fault"))
    code, _, err = run("scan", "m.pt")
    assert code == 2 and "fault of GenVet" in err and "Traceback" not in err


def test_an_interruption_is_no_success(run: Run, scans: Any) -> None:
    scans(KeyboardInterrupt())
    code, out, err = run("scan", "m.pt")
    assert code == 2 and not out and "interrupted" in err


def test_texts_from_files_are_no_markup_and_no_escape_codes(run: Run, scans: Any) -> None:
    scans(report("high", text="[red]x[/red] \x1b[31m \u202e [link=http://x]y[/link] :skull:"))
    _, out, err = run("scan", "m.pt")
    assert "[red]x[/red] \\x1b[31m \\u202e" in out and ":skull:" in out and "[link=http://x]" in out
    assert not {"\x1b", "\u202e"} & set(out + err)


def test_a_folder_gives_an_index_and_the_worst_verdict(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()

    def scan_folder(path: Path, *, out: Path, **options: Any) -> Iterator[engine.Scanned]:
        yield engine.Scanned(path / "a.pt", out / "001", report=report("low"))
        yield engine.Scanned(path / "b.pkl", out / "002", report=report("critical"))
        yield engine.Scanned(path / "c.bin", out / "003", error=BadInput("the file is empty"))

    monkeypatch.setattr(engine, "scan_folder", scan_folder)
    code, out, err = run("scan", "models")
    assert code == 1 and out.index("b.pkl") < out.index("a.pt") < out.index("c.bin") and "the file is empty" in out
    page = (tmp_path / "genvet-scan-models" / "index.html").read_text()
    assert "001/report.html" in page and "not scanned" in page and "index.html" in err
    assert (tmp_path / "genvet-scan-models" / "002" / "report.sarif").is_file()
    assert run("scan", "models", "--fail-on", "critical", "--json")[0] == 1
    code, out, _ = run("scan", "models", "--json")
    assert [f["file"] for f in json.loads(out)["files"]] == ["a.pt", "b.pkl", "c.bin"]


def test_a_folder_with_an_unread_file_is_incomplete(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    unread = [engine.Scanned(tmp_path / "models" / "c.bin", None, error=BadInput("the file is empty"))]
    monkeypatch.setattr(engine, "scan_folder", lambda path, **options: iter(unread))
    assert run("scan", str(tmp_path / "models"))[0] == 2


def test_what_is_plainly_no_model_is_passed_by(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    passed = engine.Scanned(tmp_path / "models" / "README", None, error=NoModel("README is no model file"))
    read = engine.Scanned(tmp_path / "models" / "m.pt", tmp_path / "o" / "002", report=report())
    for scans, wanted in (([passed, read], 0), ([passed], 2)):
        monkeypatch.setattr(engine, "scan_folder", lambda path, scans=scans, **options: iter(scans))
        code, out, err = run("scan", str(tmp_path / "models"), "--out", str(tmp_path / "o"))
        assert code == wanted and "README" in out and "passed by" in err


def test_a_scan_that_could_not_run_leaves_no_empty_folder(run: Run, tmp_path: Path) -> None:
    for content in ("", "hello, this is plain text\n"):
        (tmp_path / "t.txt").write_text(content)
        code, out, err = run("scan", "t.txt")
        assert code == 2 and not out and "t.txt" in err
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"]


def test_an_interruption_ends_the_round_through_a_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    cut = engine.Scanned(tmp_path / "models" / "a.pt", tmp_path / "o" / "001", report=report("info", complete=False))

    def scan_folder(path: Path, **options: Any) -> Iterator[engine.Scanned]:
        yield cut
        pytest.fail("went on after the interruption")

    monkeypatch.setattr(engine, "scan_folder", scan_folder)
    code, _, err = run("scan", "models", "--out", str(tmp_path / "o"))
    assert code == 2 and "interrupted" in err and (tmp_path / "o" / "001" / "report.html").is_file()


def test_output_folders_are_named_after_the_command_and_the_stem() -> None:
    names = {"a/m.pt": "m", "a/b c;d.tar.gz": "b_c_d.tar", "/x/models/": "models", "..pkl": "model"}
    for path, stem in names.items():
        assert options.output_folder("scan", Path(path)) == Path(f"genvet-scan-{stem}")


def test_help_and_list_do_not_wait_for_torch() -> None:
    for words in (["--help"], ["list"], ["scan", "--help"], ["--version"]):
        code = (
            "import sys\nfrom genvet.cli import main\n"
            f"try: main({words})\nexcept SystemExit as stop: assert stop.code == 0, stop.code\n"
            "heavy = {'torch', 'numpy', 'matplotlib', 'sklearn', 'pydantic', 'jinja2'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_sentences_of_the_help_flow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines end where the terminal does, and not where a docstring's do: of options, and of a technique's fields."""
    monkeypatch.setenv("COLUMNS", "300")
    for words, sentence in (
        (("train", "dcgan"), "which gives the class score; fixed random convolutions unless given."),
        (
            ("defend", "prune"),
            "or the largest Lipschitz constant of a channel, where a backdoor may amplify",
        ),
    ):
        with pytest.raises(SystemExit):
            main((*words, "--help"))
        assert sentence in capsys.readouterr().out


def test_python_m_genvet_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "genvet", "list", "--json"], check=True, capture_output=True, text=True
    )
    assert {"file", "backdoor.red"} <= {entry["name"] for entry in json.loads(done.stdout)}
