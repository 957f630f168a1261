"""The one gate for text that comes from a file and is shown to a person."""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional overrides among them), surrogate, private and unassigned characters.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def printable(text: object, limit: int = 400, *, lines: bool = False) -> str:
    """Escape what could deceive a reader or a terminal, and cut what is too long.

    Control, bidirectional, surrogate and unassigned characters and line separators come out as escapes.
    `lines` keeps line feeds and tabs, for source texts.

    >>> printable("a\\x1b[31mb\\u202ec")
    'a\\\\x1b[31mb\\\\u202ec'
    """
    shown = text if isinstance(text, str) else str(text)
    cut = len(shown) > limit
    keep = "\n\t" if lines else ""
    clean = "".join(c if c in keep or not _hidden(c) else _escape(c) for c in shown[:limit])
    return clean + "…" if cut else clean


def _hidden(c: str) -> bool:
    return (c > "~" and (unicodedata.category(c) in _HIDDEN or c in "\u2028\u2029")) or c < " " or c == "\x7f"


def _escape(c: str) -> str:
    code = ord(c)
    if code < 1 << 8:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
