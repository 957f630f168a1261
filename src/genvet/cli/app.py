"""All commands, and the one place where errors become exit codes.

0: done, and nothing at or above --fail-on. 1: a finding at or above it. 2: could not run, bad usage, or incomplete.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError
from cyclopts.config import Dict

from genvet.cli import outcome, screen
from genvet.cli.attack import command as attack
from genvet.cli.audit_data import audit_data
from genvet.cli.choices import choices
from genvet.cli.convert import convert
from genvet.cli.defend import command as defend
from genvet.cli.demo import demo
from genvet.cli.explore import explore
from genvet.cli.flowing_help import FlowingHelp
from genvet.cli.guard_test import guard_test
from genvet.cli.lint import lint
from genvet.cli.listing import listing
from genvet.cli.options import TECHNIQUES, early, options_from
from genvet.cli.reproduce import reproduce
from genvet.cli.sample import sample
from genvet.cli.scan import scan
from genvet.cli.serve import app as serve
from genvet.cli.study import command as study
from genvet.cli.threat_model import threat_model
from genvet.cli.train import command as train
from genvet.cli.zoo import app as zoo
from genvet.core.errors import GenVetError

BY_NAME = ("train", "attack", "defend", "study", "zoo")
"""Commands whose next word decides which options there are."""
PLAIN = (
    *("demo", "scan", "convert", "sample", "choices", "explore", "audit-data", "lint", "guard-test", "threat-model"),
    *("serve", "reproduce", "list"),
)
COMMANDS = (*BY_NAME, *PLAIN)
EXITS = "Exit codes: 0 nothing at or above --fail-on, 1 a finding at or above it, 2 could not run, or incomplete."


def build(words: Sequence[str] = ()) -> App:
    """The application, with nothing heavy imported; commands take the fields of the technique that `words` name."""
    app = App(
        name="genvet",
        help="Vets deep generative models: is this generator safe to deploy, release or serve?",
        help_epilogue=EXITS,
        version=lambda: version("genvet"),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
        help_formatter=FlowingHelp(),
    )
    app.command(demo)
    app.command(scan)
    app.command(convert)
    app.command(sample)
    app.command(choices)
    app.command(explore)
    app.command(train(words), name="train")
    app.command(attack(words), name="attack")
    app.command(defend(words), name="defend")
    app.command(study(words), name="study")
    app.command(audit_data)
    app.command(lint)
    app.command(serve())
    app.command(guard_test)
    app.command(threat_model)
    app.command(reproduce)
    app.command(zoo())
    app.command(listing, name="list")
    return app


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; every error ends here, as words on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with unswept() if argv is None else nullcontext():
            app = build(words)
        app.config = settings(words)
        code = app(words, exit_on_error=False, print_error=False)
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        screen.complain(in_words(error), f"{helping(words)} lists what there is")
    except GenVetError as error:
        if "--debug" in words:
            raise
        screen.complain(error.message, error.hint)
    except KeyboardInterrupt as stop:
        screen.complain(" ".join(["interrupted", *map(str, stop.args)]))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has left
    except OSError as error:
        if "--debug" in words:
            raise
        screen.complain(f"cannot read or write: {error}", "check the room on the disk and the rights on the folder")
    except Exception as error:
        if "--debug" in words:
            raise
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's own is a RuntimeError
            screen.complain("there is not enough memory", "take a smaller network, or fewer samples at a time")
        else:
            screen.complain(f"{type(error).__name__}: {error}", "this is a fault of GenVet; --debug shows where")
    return outcome.INCOMPLETE


@contextmanager
def unswept() -> Iterator[None]:
    """For the imports of a process of our own: they leave no garbage, and to look for some takes half as long again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def in_words(error: CycloptsError) -> str:
    """What is wrong with the usage; for the fields of a technique by their options."""
    cause = error.__cause__
    if type(cause).__name__ != "ValidationError":  # pydantic's; importing it would make --help wait
        return str(error)
    return "; ".join(f"--{'-'.join(map(str, e['loc']))}: {e['msg']}; got {e['input']}" for e in cause.errors())  # type: ignore[union-attr]


def helping(words: Sequence[str]) -> str:
    """The command that lists the options which these words may have meant.

    >>> helping(["attack", "red", "model.safetensors", "--step", "3"])
    'genvet attack red --help'
    """
    named = words[: 2 if words[0] in BY_NAME else 1] if words and words[0] in COMMANDS else []
    shown = [word for word in named if word[:1].isalpha() and word.replace("-", "_").isidentifier()]
    return " ".join(["genvet", *shown, "--help"])


def settings(words: list[str]) -> list[Dict]:
    """The file that --config names: its keys are the command's options, and the command line goes before it."""
    named = early(words, "--config")
    if not named:
        return []
    options = {key: value for key, value in options_from(Path(named[-1])).items() if key != TECHNIQUES}
    return [Dict(options, use_commands_as_keys=False, source=named[-1])]
