"""The way to a generator that is served elsewhere, where an address was typed in place of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genvet.cli.opening import opened
from genvet.cli.options import Opening
from genvet.core.modelfile import ModelFile


def target(model: Path, common: Opening, folder: Path) -> tuple[ModelFile, Any]:
    """The generator of a file; or what an address answers, kept beside the report so that a run goes on."""
    from genvet.remote import RemoteQueries

    if url := served(model):
        view = RemoteQueries(url, answered=folder / "answers.sqlite")
        return ModelFile(path=url, sha256="", size=0, format="service"), view
    return opened(model, common)


def served(model: Path) -> str:
    """The address that was typed in place of a file; empty where it is a file.

    >>> served(Path("http://127.0.0.1:8000")), served(Path("a/b.onnx"))
    ('http://127.0.0.1:8000', '')
    """
    scheme, slashes, rest = model.as_posix().partition(":/")  # a path has no two slashes in a row
    return f"{scheme}://{rest}" if slashes and scheme in ("http", "https") else ""
