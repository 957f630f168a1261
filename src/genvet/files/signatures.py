"""What bytes are that are no model: known by their first bytes, for a clear message."""

from __future__ import annotations

import struct

# First bytes and what they mean.
_KNOWN = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF-", "a PDF document"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data"),
    (b"GGUF", "a GGUF language model"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_MACH_O = {b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"}
_PROGRAM_NAMES = (".py", ".sh", ".bat", ".cmd", ".ps1", ".js", ".vbs", ".pth")


def describe(data: memoryview) -> str:
    """What this content looks like, in words."""
    if not len(data):
        return "an empty file"
    if is_program := program(data):
        return is_program
    head = bytes(data[:4096])
    for first, words in _KNOWN:
        if head.startswith(first):
            return words
    if head.startswith(b"RIFF"):
        return {b"WAVE": "a WAV sound", b"WEBP": "a WebP image"}.get(head[8:12], "a RIFF file")
    return _text(head) if is_text(head) else "no format that GenVet knows"


def program(data: memoryview, name: str = "") -> str:
    """What kind of program this is, or "". A text counts as a program by its name only."""
    head = bytes(data[:4096])
    if head.startswith(b"\x7fELF"):
        return "an ELF program"
    if head[:4] in _MACH_O and len(head) >= 32:
        return "a Mach-O program"
    if head[:2] == b"MZ" and len(head) >= 64:
        (at,) = struct.unpack_from("<I", head, 60)
        if bytes(data[at : at + 4]) == b"PE\0\0":
            return "a Windows program"
    if head[:2] == b"#!" and b"/" in head[2:80].split(b"\n")[0]:
        return "a script"
    if head[2:4] == b"\r\n" and name.lower().endswith((".pyc", ".pyo")):
        return "compiled Python"
    return "program text" if name.lower().endswith(_PROGRAM_NAMES) and len(head) and is_text(head) else ""


def is_text(head: bytes) -> bool:
    """Whether these first bytes read as UTF-8 text without control characters."""
    try:
        text = head[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        # Cutting the text may have cut a character.
        if len(head) < 4096 or error.start < 4093:
            return False
        text = head[: error.start].decode("utf-8")
    return all(c >= " " or c in "\t\r\n\f" for c in text)


def _text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML text"
    if start.startswith((b"{", b"[")):
        return "a JSON text"
    return "plain text"
