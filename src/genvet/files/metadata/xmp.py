"""XMP: searched as text. It is XML of a stranger's, which no parser here is asked to expand."""

from __future__ import annotations

import base64
import binascii
import re

from genvet.files.metadata.notes import Notes

_GPS = re.compile(r"exif:GPS(?:Latitude|Longitude)\b")
_CREATOR = re.compile(
    r"<(?:dc:creator|photoshop:AuthorsPosition|dc:rights|xmpRights:Owner)>(.{0,600}?)</(?:dc|photoshop|xmpRights):",
    re.S,
)
_DESCRIPTION = re.compile(r"<dc:(?:description|title|subject)>(.{0,2000}?)</dc:", re.S)
_ATTRIBUTE = re.compile(r'(?:photoshop:(?:City|Country|State|Headline|Instructions)|aux:SerialNumber)="([^"]{1,200})"')
_IMAGE = re.compile(r"<xmpGImg:image>([A-Za-z0-9+/=\s&#;x]{16,2000000})</xmpGImg:image>")
_TIME = re.compile(r"(?:xmp:CreateDate|photoshop:DateCreated|exif:DateTimeOriginal)\W{1,3}([0-9T:+.Z-]{8,40})")
_TAG = re.compile(r"<[^>]{0,300}>")


def read(text: str, notes: Notes, at: int, length: int) -> None:
    """What it says of a place, a person, a time, and the previews that it holds."""
    before = len(notes.facts)
    if _GPS.search(text):
        notes.tell("data.gps", "XMP says where the picture was taken", at, length)
    for match in [*_CREATOR.finditer(text)][:5]:
        notes.owner("XMP creator", _plain(match[1]), at)
    said = [_plain(match[1]) for match in [*_DESCRIPTION.finditer(text)][:5]]
    said += [match[1] for match in [*_ATTRIBUTE.finditer(text)][:10]]
    for one in said:
        notes.text("XMP", one, at)
    if time := _TIME.search(text):
        notes.tell("data.time", f"XMP: {time[1]}", at)
    for match in [*_IMAGE.finditer(text)][:4]:
        packed = re.sub(r"&#x?\w{1,4};|\s", "", match[1])
        try:
            notes.preview("a preview in XMP", base64.b64decode(packed, validate=True), at)
        except binascii.Error:
            notes.tell("data.metadata-malformed", "a preview in XMP that does not decode", at)
    if len(notes.facts) == before:
        notes.tell("data.metadata", f"XMP, {len(text):,} characters", at, length)


def _plain(text: str) -> str:
    """Without tags."""
    return " ".join(_TAG.sub(" ", text).split())
