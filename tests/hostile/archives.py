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
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../up.pkl", "data.pkl"):
            info = tarfile.TarInfo(name)
            info.size = len(evil)
            archive.addfile(info, io.BytesIO(evil))
    yield case("tar", out.getvalue(), "archive.traversal", "call.dangerous")
