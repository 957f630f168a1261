"""The only room that opens model files and data files. Allow-lists only; nothing read here is ever run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genvet.files.load import read as read

_HOMES = {"read": "genvet.files.load"}
# Not `load`: once genvet.files.load is imported, that name is the module.


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'genvet.files' has no attribute {name!r}")
