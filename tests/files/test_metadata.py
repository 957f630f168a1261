"""What pictures' files carry is found where it was planted, plain files carry nothing, no bytes break readers."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hostile import pictures as files
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from genvet.core.printable import printable
from genvet.core.rules import RULES
from genvet.files import metadata

XMP = (
    '<x:xmpmeta><rdf:Description exif:GPSLatitude="48,8N"><dc:creator><rdf:li>Jane Roe</rdf:li></dc:creator>'
    "</rdf:Description></x:xmpmeta>"
)


def rules(data: bytes) -> set[str]:
    return {fact.rule for fact in metadata.look(data, "x").facts}


PLANTED = {
    "exif": (files.placed(), {"data.gps", "data.owner", "data.time", "data.metadata"}),
    "iptc": (files.iptc(), {"data.gps", "data.owner", "data.comment"}),
    "preview": (files.previewed(files.scene(), files.scene()), {"data.thumbnail"}),
    "comment": (files.jpeg(comment=b"write to anna@example.org"), {"data.personal"}),
    "jpeg-zip": (files.jpeg() + files.archive(), {"data.trailing-file"}),
    "png-zip": (files.png() + b"\0\1\2" + files.archive(), {"data.trailing-file"}),
    "png-text": (files.png() + b"meet me at noon", {"data.trailing", "data.comment"}),
    "png-zeros": (files.png() + bytes(9), {"data.trailing"}),
    "xmp": (
        files.with_segment(files.jpeg(), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.encode()),
        {"data.gps", "data.owner"},
    ),
    "png-xmp": (
        files.with_chunk(files.png(), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode()),
        {"data.gps", "data.owner"},
    ),
    "png-author": (files.with_chunk(files.png(), b"tEXt", b"Author\0Jane Roe"), {"data.owner"}),
    "png-packed": (
        files.with_chunk(files.png(), b"zTXt", b"Comment\0\0" + zlib.compress(b"call +49 170 1234567")),
        {"data.personal"},
    ),
    "png-time": (files.with_chunk(files.png(), b"tIME", struct.pack(">HBBBBB", 2021, 5, 6, 1, 2, 3)), {"data.time"}),
    "png-exif": (files.with_chunk(files.png(), b"eXIf", files.tiff(files.jpeg())), {"data.thumbnail"}),
    "png-own": (files.with_chunk(files.png(), b"prVt", b"???"), {"data.metadata"}),
    "icc": (files.jpeg(icc_profile=b"profile of a printer" * 9), {"data.profile"}),
    "maker": (files.with_segment(files.jpeg(), 0xE5, b"Acme\0whatever"), {"data.metadata"}),
    "pgm": (b"P5\n# by anna@example.org\n1 1\n255\n\7", {"data.personal"}),
    "pgm-more": (b"P5 1 1 255 x" + files.archive(), {"data.trailing-file"}),
    "bmp-more": (b"", {"data.trailing"}),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_planted_is_found(kind: str) -> None:
    data, wanted = PLANTED[kind]
    assert rules(data or saved("BMP") + b"\1\2\3") == wanted


def saved(kind: str, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    files.scene().convert(mode).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_plain_file_carries_nothing(kind: str, mode: str) -> None:
    assert rules(saved(kind, mode)) == set()


def test_progressive_files_with_restarts_end_where_they_end() -> None:
    assert rules(files.jpeg(progressive=True)) == set() == rules(files.jpeg(restart_marker_blocks=1))


def test_a_place_is_shown_to_a_tenth_of_a_degree_and_an_address_is_masked() -> None:
    said = " ".join(fact.message for fact in metadata.look(files.placed(), "x").facts)
    assert "48.1, 11.6" in said and "48.13" not in said and "Jane Roe" not in said
    (fact,) = metadata.look(PLANTED["comment"][0], "x").facts
    assert "a***@example.org" in fact.message and "anna@" not in fact.message


def test_bytes_hidden_behind_the_packed_pixels_are_found() -> None:
    plain = files.png()
    at = plain.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", plain, at)
    body = plain[at + 8 : at + 8 + length] + b"a message in nobody's sight"
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    hidden = plain[:at] + chunk + plain[at + 12 + length :]
    assert Image.open(io.BytesIO(hidden)).load() and "data.trailing" in rules(hidden)


def test_directories_that_lead_in_a_circle_end() -> None:
    circle = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    assert rules(files.with_segment(files.jpeg(), 0xE1, b"Exif\0\0" + circle)) == {"data.metadata-malformed"}
    packed = b"Comment\0\0" + zlib.compress(bytes(1 << 26))
    assert metadata.look(files.with_chunk(files.png(), b"zTXt", packed), "x").facts == []  # a megabyte of nothing
    plain = files.png()
    one = files.with_chunk(plain, b"prVt", b"?")[33:46]
    assert len(metadata.look(plain[:33] + 5000 * one + plain[33:], "x").facts) <= 201


WHOLE = [data for data, _ in PLANTED.values() if data]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_break_the_readers(data: st.DataObject) -> None:
    """Changed, cut or made up: facts come back, printable and of known rules."""
    base = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(0, 8))):
        base[data.draw(st.integers(0, min(len(base), 700) - 1))] = data.draw(st.integers(0, 255))
    base = base[: data.draw(st.integers(0, len(base)))]
    for fact in metadata.look(bytes(base), "x").facts:
        assert fact.rule in RULES and printable(fact.message, 1000) == fact.message
