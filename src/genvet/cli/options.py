"""Options that several commands share, written once."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from genvet.core.errors import BadInput
from genvet.core.printable import printable

TECHNIQUES = "techniques"
"""Key of a --config file that holds settings of techniques, by name."""
Device = Literal["auto", "cpu", "cuda"]
Flag = Parameter(negative="")
"""An option that is there or not: no --no-... twin."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Debugging:
    """What every command takes."""

    config: Path | None = None
    """JSON or TOML file with options (the command line goes first), and settings of techniques under `techniques`."""
    debug: Annotated[bool, Flag] = False
    """Show a traceback when something fails."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common(Debugging):
    """What every command takes that runs a network."""

    seed: int = 0
    """Everything drawn at random follows from it."""
    device: Device = "auto"
    """Where the network runs."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Opening(Common):
    """What every command takes that works on one generator."""

    net: str | None = None
    """The architecture, where the weights leave it open."""
    part: str | None = None
    """The generator to take, where the file holds several; the average of weights (EMA) unless given."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reporting(Opening):
    """The same, for a command that leaves a report."""

    json: Annotated[bool, Flag] = False
    """Print the report alone, as JSON, on stdout; everything else goes to stderr."""


DEBUGGING, COMMON, OPENING, REPORTING = Debugging(), Common(), Opening(), Reporting()


def output_folder(command: str, about: Path) -> Path:
    """Where a command writes unless told otherwise: ./genvet-<command>-<stem>."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", about.resolve().stem if about.suffix else about.resolve().name).strip(".")
    return Path(f"genvet-{command}-{stem or 'model'}")


def command_line() -> str:
    """What was typed, for the report."""
    return shlex.join(["genvet", *(printable(word) for word in sys.argv[1:])])


def early(words: Sequence[str], option: str) -> list[str]:
    """What the command line gives for an option that must be known before the rest can be parsed.

    >>> early(["train", "--recipe", "a", "--recipe=b"], "--recipe")
    ['a', 'b']
    """
    apart = [after for word, after in pairwise([*words, ""]) if word == option]
    return apart + [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]


def options_from(path: Path) -> dict[str, Any]:
    """What a JSON or TOML file of options holds; raises BadInput where it cannot be read."""
    readers = {".json": json.loads, ".toml": tomllib.loads}
    if path.suffix not in readers:
        raise BadInput("--config takes JSON or TOML", expected="a name that ends in .json or .toml", got=str(path))
    try:
        options = readers[path.suffix](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}", got=error.strerror or str(error)) from None
    except ValueError as error:
        raise BadInput(f"{path} does not parse", got=str(error)) from None
    if not isinstance(options, dict):
        raise BadInput(f"{path} holds no options", expected="names and values")
    return options


def technique_settings(config: Path | None) -> dict[str, dict[str, Any]]:
    """Settings of techniques by name, from the file that --config names."""
    settings = options_from(config).get(TECHNIQUES, {}) if config else {}
    if not isinstance(settings, dict) or not all(isinstance(knobs, dict) for knobs in settings.values()):
        raise BadInput(f"{TECHNIQUES!r} of {config} does not fit", expected="{name: {setting: value}}")
    return settings


def with_fields(
    command: Callable[..., int], technique: type[Any] | None, given: Sequence[inspect.Parameter] = ()
) -> Callable[..., int]:
    """A command with the fields of a technique in place of its `settings`, and these options in place of `given`.

    Without a technique, as in the list of commands, it has neither.
    """
    plain = inspect.signature(command, eval_str=True)

    def bound(*arguments: Any, **options: Any) -> int:
        if given:
            options["given"] = {p.name: options.pop(p.name, None) for p in given}
        return command(*arguments, **options)

    parameters = [p for name, p in plain.parameters.items() if name not in ("settings", "given")] + [*given]
    if technique:
        fields = plain.parameters["settings"]
        parameters.append(fields.replace(annotation=Annotated[technique, Parameter(name="*")], default=technique()))
    bound.__doc__ = command.__doc__
    bound.__signature__ = plain.replace(parameters=parameters)  # type: ignore[attr-defined]
    bound.__annotations__ = {p.name: p.annotation for p in parameters}
    return bound
