"""Names replaced by a keyed mapping: whoever has the key can map again, and nobody else can test a guess."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from genvet.core.dataset import Sheet
from genvet.core.errors import BadInput
from genvet.core.personal import traces
from genvet.core.printable import printable

LEAST, MOST = 16, 4096
"""Bytes of a key."""
LETTERS = 16
"""Of a pseudonym, of 32 letters each: 80 bits, so that no two of a million names share one."""


@dataclass(frozen=True)
class Pseudonyms:
    """A keyed mapping of names: HMAC-SHA256, cut to 80 bits."""

    key: bytes

    def of(self, text: str) -> str:
        """The pseudonym of a name: the same for the same name, wherever it stands.

        >>> Pseudonyms(b"k" * 32).of("Anna") == Pseudonyms(b"k" * 32).of("Anna") != Pseudonyms(b"q" * 32).of("Anna")
        True
        """
        digest = hmac.digest(self.key, text.encode("utf-8", "surrogateescape"), "sha256")
        return base64.b32encode(digest)[:LETTERS].decode().lower()

    def path(self, way: str) -> str:
        """Every folder and the file, each by itself; the suffix stays."""
        path = PurePosixPath(way)
        return "/".join([*map(self.of, path.parent.parts), f"{self.of(path.stem)}{path.suffix.lower()}"])

    def text(self, text: str) -> str:
        """A text in which addresses and numbers of people are replaced."""
        for trace in traces(text):
            if trace.kind != "day":
                text = text.replace(trace.text, self.of(trace.text))
        return text

    @property
    def mark(self) -> str:
        """Tells whether a run was begun with this key, and nothing else of it."""
        return self.of("\0which key")


def read_key(path: Path, away_from: Path) -> Pseudonyms:
    """The key in a file; made there, for its owner's eyes alone, where there is none.

    Raises BadInput for a key that is too short, and for one that would lie in the folder that is given away.
    """
    if path.absolute().resolve().is_relative_to(away_from.absolute().resolve()):
        raise BadInput("the key would lie among the anonymised data", got=printable(path), hint="keep it elsewhere")
    try:
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
        key = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read or make the key {printable(path)}", got=error.strerror or "an error") from None
    if not LEAST <= len(key) <= MOST:
        raise BadInput("this is no key", expected=f"{LEAST} to {MOST} bytes, best 32 random ones", got=f"{len(key)}")
    return Pseudonyms(key)


def renamed(sheet: Sheet, names: Pseudonyms, identifiers: set[str], links: set[str], new: dict[str, str]) -> Sheet:
    """A table whose identifying cells are pseudonyms, and whose links lead to the files by their new names."""

    def cell(column: str, text: str) -> str:
        if not text:
            return text
        if column in links:
            return new.get(text) or new.get(text.rpartition("/")[2]) or names.path(text)
        return names.of(text) if column in identifiers else names.text(text)

    rows = tuple(tuple(map(cell, sheet.columns, row)) for row in sheet.rows)
    return replace(sheet, rows=rows)
