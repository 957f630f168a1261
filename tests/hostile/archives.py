"""Archives whose readers disagree, or that reach out: zip, tar, 7z around a payload."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from hostile.case import Case, case
from hostile.streams import evil_stream


def zipped(name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def archives(marker: str) -> Iterator[Case]:
    evil = evil_stream(marker)
    plain = zipped("model/data.pkl", evil)
    yield case("zip", plain, "call.dangerous")
    yield case("zip-other-name", zipped("model/notes.txt", evil), "call.dangerous", advisory="CVE-2025-1889")
    renamed = plain.replace(b"model/data.pkl", b"model/data.txt", 1)
    yield case("zip-mismatch", renamed, "archive.mismatch", "call.dangerous", advisory="CVE-2025-1944")
    central = plain.index(b"PK\x01\x02")
    flags = plain[: central + 8] + struct.pack("<H", 1) + plain[central + 10 :]
    yield case("zip-flags", flags, "archive.flags", advisory="CVE-2025-1945")
    wrong = struct.pack("<I", zlib.crc32(evil))
    yield case("zip-crc", plain.replace(wrong, b"\0\0\0\0"), "archive.crc", advisory="CVE-2025-10156")
    yield case("zip-traversal", zipped("../../data.pkl", b"\x80\x04N."), "archive.traversal")
    yield case("zip-bomb", zipped("model/data.pkl", bytes(200 << 20), zipfile.ZIP_DEFLATED), "archive.bomb")
    yield case("zip-in-zip", zipped("a.zip", zipped("b.zip", plain)), "call.dangerous")
    yield case("zip-after-pickle", b"\x80\x04N." + plain, "call.dangerous")
    yield from _other_names(evil)
    yield from _tars(evil)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../up.pkl", "data.pkl"):
            info = tarfile.TarInfo(name)
            info.size = len(evil)
            archive.addfile(info, io.BytesIO(evil))
    yield case("tar", out.getvalue(), "archive.traversal", "call.dangerous")


def _other_names(evil: bytes) -> Iterator[Case]:
    """What unzip makes of an entry, and a zip64 archive behind a script."""
    other = b"../../.bashrc"
    info = zipfile.ZipInfo("model/data.txt")
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(other), 1, zlib.crc32(info.filename.encode())) + other
    yield case("zip-alias", _entry(info, b"x"), "archive.mismatch", "archive.traversal", advisory="Info-ZIP 0x7075")
    link = zipfile.ZipInfo("model/link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    yield case("zip-link", _entry(link, b"/etc/passwd"), "archive.traversal", advisory="unzip makes the link")
    plain = zipped("model/data.pkl", evil)
    at, end = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, end - at, at)
    wide += struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    script = b"#!/bin/sh\n" + plain[:end] + wide + plain[end:]
    yield case("script-and-zip64", script, "call.dangerous", "archive.executable", advisory="torch writes zip64 ends")


def _entry(info: zipfile.ZipInfo, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, data)
    return out.getvalue()


def _tars(evil: bytes) -> Iterator[Case]:
    """What only some readers of tar archives see."""
    one = _tar("a.txt", b"abc")
    yield case("tar-after-tar", one + _tar("data.pkl", evil), "call.dangerous", advisory="tar --ignore-zeros")
    sized = _tar("a.txt", b"x" * 512, {"size": "3000"}) + _tar("data.pkl", evil)
    yield case("tar-two-sizes", sized, "archive.mismatch", advisory="not every reader heeds pax headers")
    signed = bytearray(_tar("\xff.pkl", evil))
    signed[148:156] = b" " * 8
    total = sum(b - 256 if b > 127 else b for b in signed[:512])
    signed[148:156] = b"%06o\0 " % total
    yield case("tar-signed", bytes(signed), "call.dangerous", advisory="tarfile takes the sum of signed bytes too")


def _tar(name: str, data: bytes, pax: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="latin-1") as archive:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = len(data), pax or {}
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
