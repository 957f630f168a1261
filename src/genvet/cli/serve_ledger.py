"""`genvet serve verify`: whether a service's audit log is as it was written."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from genvet.cli import screen
from genvet.cli.options import DEBUGGING, Debugging, Flag
from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from genvet.serve.home import Home
    from genvet.serve.tampering import Verdict
    from genvet.serve.witness import Head

SEVERAL = Parameter(negative="")


def verify(
    *,
    out: Path | None = None,
    head: Annotated[list[Path] | None, SEVERAL] = None,
    noted: Annotated[list[str] | None, SEVERAL] = None,
    json: Annotated[bool, Flag] = False,
    common: Debugging = DEBUGGING,
) -> int:
    """Read the whole audit log, and say whether it is as it was written; exit code 1 where it is not.

    Whoever can write to the database alone can alter, insert, remove, reorder or cut off no row without showing. The
    end that is printed, noted down elsewhere, also shows what was done by whoever can change the head.

    Parameters
    ----------
    out: Path
        The service's folder, where there are several here.
    head: list[Path]
        A ledger.head of another machine that shares the database; said again for the next one.
    noted: list[str]
        An end that an earlier look printed, as 1234:9f8e...; said again for the next one.
    json: bool
        Print what was found as JSON on stdout.
    """
    found = looked(service(out), head or (), [parsed(text) for text in noted or ()])
    end = f"{found.end.count}:{found.end.mac.hex()}"
    if json:
        told = {"sound": found.sound, "rows": found.rows, "done": found.done, "first": found.first, "said": found.said}
        more = {"lag": found.lag, "begun": list(found.begun), "end": end}
        sys.stdout.write(jsonlib.dumps({**told, **more}, indent=1) + "\n")
    else:
        screen.out().print(printable(found, 2000), soft_wrap=True)
        screen.note(f"end, to note down: {end}")
    return 0 if found.sound else 1


def looked(home: Home, heads: Sequence[Path], noted: Sequence[Head]) -> Verdict:
    """What a look at the whole log comes to; nothing is made or changed."""
    from genvet.serve.tampering import verify as look
    from genvet.serve.witness import Witness, ledger_key

    key = ledger_key(home.key_file)
    others = [Witness(path, key).read() for path in heads]
    with database(home) as engine:
        return look(engine, key, home.head, [*others, *noted])


@contextmanager
def database(home: Home) -> Iterator[Engine]:
    """The service's database as it is; raises BadInput where there is none, or no log in it."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import DBAPIError

    from genvet.serve.home import DATABASE
    from genvet.serve.store import Store

    if not home.elsewhere and not home.file.is_file():
        raise BadInput(f"{printable(home.folder)} holds no database", hint=f"{DATABASE} holds its address, if any")
    engine = Store(home.address).engine
    try:
        if not inspect(engine).has_table("ledger"):
            raise BadInput("the database holds no audit log", hint="the service makes one when it starts")
        yield engine
    except DBAPIError as error:
        raise BadInput("the database cannot be read", got=printable(str(error.orig), 200)) from None
    finally:
        engine.dispose()


def parsed(text: str) -> Head:
    """An end that was noted down; raises BadInput for anything else."""
    ready()
    from genvet.serve.witness import Head

    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip().lower())
    if found is None:
        raise BadInput(
            "this is no end of an audit log", expected="1234:9f8e..., as verify prints it", got=printable(text)
        )
    return Head(int(found[1]), bytes.fromhex(found[2]))


def service(named: Path | None) -> Home:
    """The service's folder: the one that was named, or the only one here."""
    ready()
    from genvet.serve.home import Home

    here = [path for path in Path().glob("genvet-serve-*") if path.is_dir()]
    if named is None and len(here) != 1:
        got = f"{len(here)} folders genvet-serve-*" if here else "none here"
        raise BadInput("which service?", expected="--out FOLDER", got=got, hint="the folder that genvet serve uses")
    return Home(named or here[0])


def ready() -> None:
    """Raises Unsupported where the extra is not installed."""
    try:
        import alembic  # noqa: F401
        import fastapi  # noqa: F401
    except ImportError:
        raise Unsupported("a service needs the extra `serve`", hint="pip install 'genvet[serve]'") from None
