"""Archives: every view of every entry is read, and none is trusted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

from genvet.core.modelfile import ModelFile
from genvet.files.sandbox import read_in_process

DATA = Path(os.environ.get("GENVET_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")

HOSTILE = b"\x80\x02cos\nsystem\nU\x04trueq\x00\x85R."
BENIGN = b"\x80\x02}q\x00U\x01aq\x01K\x01s."


def rules(file: ModelFile) -> set[str]:
    return {e.rule for e in file.evidence}


def told(file: ModelFile) -> bool:
    """Whether the payload inside was found, wherever it hid."""
    return any(c.standing == "dangerous" for c in file.calls) and "call.dangerous" in rules(file)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return bytearray(out.getvalue())


def read(data: bytes) -> ModelFile:
    return read_in_process(bytes(data), "test")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_any_name_any_method(method: int) -> None:
    file = read(zipped({"read me.txt": b"hello", "notes.txt": HOSTILE}, method))
    assert told(file)
    assert file.format == "zip > pickle"
    assert rules(read(zipped({"notes.txt": BENIGN}, method))) <= {"call.expected"}


class Pipe(io.RawIOBase):
    """An output that cannot seek: sizes and checksums then stand behind the entries."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        self.content += bytes(data)
        return len(data)


def test_zip_of_honest_writers_is_clean() -> None:
    """Streams, zip64 fields, folders, comments and alignment are no anomalies."""
    pipe, out = Pipe(), io.BytesIO()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/", b"")
        archive.writestr("a/m.bin", BENIGN)
    with zipfile.ZipFile(out, "w") as archive, archive.open("m.bin", "w", force_zip64=True) as entry:
        entry.write(BENIGN)
        archive.comment = b"a comment"
    for data in (pipe.content, out.getvalue()):
        file = read(data)
        assert not rules(file) and file.format == "zip > pickle"


def test_two_formats_at_once() -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo((b"\x80\x02cos\nsystem\nU\x04trueq\x01\x85R.").decode("latin-1")))
    block = bytearray(tar.getvalue())
    block[:100] = HOSTILE.replace(b"\0", b"\x01").ljust(100, b"\0")
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    file = read(bytes(block))
    assert "archive.hidden" in rules(file) and told(file), "a tar whose first name is a pickle"
    assert file.format == "pickle"


def test_zip_name_mismatch() -> None:
    data = zipped({"data/0": b"x" * 40, "data.pkl": HOSTILE})
    local = data.index(b"data.pkl")
    data[local : local + 8] = b"datap.kl"
    file = read(data)
    assert "archive.mismatch" in rules(file)
    assert told(file)


@pytest.mark.parametrize("view", ["local", "central"])
def test_zip_sizes_disagree_and_both_views_are_read(view: str) -> None:
    """One header covers only a harmless pickle, the other a stream with the payload in it."""
    inner = BENIGN.ljust(len(HOSTILE), b"\0")
    data = zipped({"m.bin": HOSTILE})
    del inner
    at = data.index(b"PK\x03\x04") + 18 if view == "local" else data.index(b"PK\x01\x02") + 20
    data[at : at + 8] = struct.pack("<II", 4, 4)
    file = read(data)
    assert "archive.mismatch" in rules(file)
    assert told(file)


@pytest.mark.parametrize("bit", [0x1, 0x40, 0x2000, 0x10])
def test_zip_flag_bits(bit: int) -> None:
    data = zipped({"m.bin": HOSTILE})
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(mark) + at
        data[place : place + 2] = struct.pack("<H", bit)
    file = read(data)
    assert "archive.flags" in rules(file)
    assert told(file)


def test_zip_checksum() -> None:
    data = zipped({"m.bin": HOSTILE})
    for mark, at in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        place = data.index(mark) + at
        data[place] ^= 0xFF
    file = read(data)
    assert "archive.crc" in rules(file)
    assert told(file)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "C:/x", "a\\..\\x"])
def test_zip_traversal(name: str) -> None:
    data = zipped({"n" * len(name): BENIGN})
    file = read(data.replace(b"n" * len(name), name.encode()))
    assert "archive.traversal" in rules(file)


def test_zip_hidden_before_between_behind() -> None:
    plain = zipped({"m.bin": BENIGN})
    assert not rules(read(plain))
    assert told(read(HOSTILE + plain))
    assert "archive.hidden" in rules(read(HOSTILE + plain))
    # An entry that the central directory leaves out.
    two = zipped({"a": BENIGN, "m.bin": HOSTILE})
    second = two.rindex(b"PK\x01\x02")
    end = two.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<II", two, end + 12)
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size - (end - second), offset, 0)
    file = read(two[:second] + tail)
    assert "archive.hidden" in rules(file)
    assert told(file)


def test_zip_duplicate_names() -> None:
    data = zipped({"m.bin": BENIGN, "n.bin": HOSTILE}).replace(b"n.bin", b"m.bin")
    file = read(data)
    assert "archive.duplicate" in rules(file)
    assert told(file)


def test_zip_bomb_stays_in_the_budget() -> None:
    bomb = zipped({f"{i}": b"\0" * (40 << 20) for i in range(3)}, zipfile.ZIP_DEFLATED)
    assert "archive.bomb" in rules(read(bomb))
    nested = bytes(zipped({"m": HOSTILE}))
    for _ in range(12):
        nested = bytes(zipped({"m": nested}))
    assert "archive.bomb" in rules(read(nested))


def test_zip_that_lies_about_its_size() -> None:
    data = zipped({"m": b"\0" * (1 << 20)}, zipfile.ZIP_DEFLATED)
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(mark) + at
        data[place : place + 4] = struct.pack("<I", 10)
    assert "archive.unreadable" in rules(read(data))


def test_what_comes_out_before_the_damage_is_read() -> None:
    """A loader that reads as it unpacks has run the payload by then."""
    content = HOSTILE + os.urandom(200_000)
    packed = bytearray(zipped({"m": content}, zipfile.ZIP_DEFLATED))
    packed[150_000:150_400] = b"\xff" * 400
    for data in (
        packed,
        gzip.compress(content)[:150_000],
        bz2.compress(content * 9)[:-5000],
        lzma.compress(content)[:-9],
    ):
        file = read(data)
        assert told(file)
        assert rules(file) & {"archive.unreadable", "archive.crc", "file.truncated"}


def test_streams_longer_than_their_pieces() -> None:
    """Decompressors hand out a megabyte at a time; nothing may get lost between."""
    payload = b"\x80\x03B" + struct.pack("<I", 5 << 20) + bytes(5 << 20) + b"0" + HOSTILE[2:]
    assert told(read(zipped({"m": payload}, zipfile.ZIP_DEFLATED)))
    assert told(read(zipped({"m": payload}, zipfile.ZIP_BZIP2)))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        assert told(read(pack(payload)))


def test_zip_without_its_directory_is_salvaged() -> None:
    data = zipped({"a.txt": b"hello", "m.bin": HOSTILE})
    end = data.rindex(b"PK\x05\x06")
    data[end + 16 : end + 20] = b"\xff" * 4
    data[end + 12 : end + 16] = b"\xff" * 4
    file = read(data)
    assert "archive.malformed" in rules(file)
    assert told(file)


def test_zip_cut_short_is_salvaged() -> None:
    data = zipped({"a.txt": b"hello", "m.bin": HOSTILE, "z": b"end"}, zipfile.ZIP_DEFLATED)
    file = read(data[: data.index(b"PK\x01\x02")])
    assert "file.truncated" in rules(file)
    assert told(file)


def test_models_in_one_archive_keep_apart() -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    model = struct.pack("<Q", len(header)) + header + b"\0\0\x80\x3f"
    assert [p.name for p in read(zipped({"G.safetensors": model})).parts] == [""]
    file = read(zipped({"G.safetensors": model, "sub/D.safetensors": model}))
    assert [p.name for p in file.parts] == ["G.safetensors", "sub/D.safetensors"]
    assert file.format == "zip > safetensors"


def test_programs_are_told() -> None:
    assert "archive.executable" in rules(read(zipped({"weights.bin": b"\x7fELF" + b"\0" * 60, "m": BENIGN})))
    assert "archive.executable" in rules(read(zipped({"setup.py": b"import os\n", "m": BENIGN})))
    assert "archive.executable" not in rules(read(zipped({"readme.txt": b"import os\n", "m": BENIGN})))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tar(form: int) -> None:
    def tarred(content: bytes, name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
        return out.getvalue()

    long_name = "folder/" * 12 + "m" * 90
    assert told(read(tarred(HOSTILE, long_name)))
    assert not rules(read(tarred(BENIGN, long_name)))
    assert "archive.traversal" in rules(read(tarred(BENIGN, "../m")))
    assert "archive.traversal" in rules(read(tarred(b"", "m", tarfile.SYMTYPE)))
    assert "archive.malformed" in rules(read(tarred(b"", "m", tarfile.CHRTYPE)))
    broken = bytearray(tarred(BENIGN, "m") + tarred(HOSTILE, "n"))
    broken[512 * 2 + 3] ^= 0xFF
    assert rules(read(broken)) & {"archive.malformed", "archive.hidden"}


@pytest.mark.parametrize(("kind", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)])
def test_compressed(kind: str, pack) -> None:  # type: ignore[no-untyped-def]
    file = read(pack(HOSTILE))
    assert told(file)
    assert file.format == f"{kind} > pickle"
    assert told(read(pack(BENIGN[:5]) + pack(BENIGN[5:] + HOSTILE))), "streams behind one another are one"
    assert "archive.bomb" in rules(read(pack(b"\0" * (80 << 20))))
    assert "file.truncated" in rules(read(pack(os.urandom(9000))[:-40]))


def seven(method: bytes, properties: bytes, packed: bytes, content: bytes, extra: bytes = b"") -> bytes:
    """A 7z archive of one file, written by hand; `extra` is a second coder and its bond."""

    def number(n: int) -> bytes:
        return (
            bytes([n]) if n < 0x80 else b"\xc0" + struct.pack("<H", n) if n < 0x4000 else b"\xf0" + struct.pack("<I", n)
        )

    coder = bytes([0x20 | len(method)]) + method + bytes([len(properties)]) + properties
    folder = (b"\x02" + extra[:-2] + coder + extra[-2:]) if extra else b"\x01" + coder
    sizes = number(len(content)) * (2 if extra else 1)
    crc = struct.pack("<I", zlib.crc32(content))
    header = (
        b"\x01\x04\x06\x00\x01\x09"
        + number(len(packed))
        + b"\x00"
        + b"\x07\x0b\x01\x00"
        + folder
        + b"\x0c"
        + sizes
        + b"\x0a\x01"
        + crc
        + b"\x00\x00"
        + b"\x05\x01\x11\x05\x00m\x00\x00\x00\x00\x00"
    )
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + packed + header


def test_7z_codecs() -> None:
    content = HOSTILE + b"\0" * 5000
    raw = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}
    two = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}
    lzma1 = lzma.compress(content, lzma.FORMAT_RAW, filters=[raw])
    props = bytes([0x5D]) + struct.pack("<I", 1 << 16)
    assert told(read(seven(b"\0", b"", content, content)))
    assert told(read(seven(b"\3\1\1", props, lzma1, content)))
    assert told(read(seven(b"\x21", b"\x08", lzma.compress(content, lzma.FORMAT_RAW, filters=[two]), content)))
    assert told(read(seven(b"\4\2\2", b"", bz2.compress(content), content)))
    assert told(read(seven(b"\4\1\x08", b"", zlib.compress(content)[2:-4], content)))
    assert "archive.unreadable" in rules(read(seven(b"\3\4\1", b"", b"ppmd", content)))
    assert "archive.encrypted" in rules(read(seven(b"\6\xf1\7\1", b"", content, content)))
    assert "archive.crc" in rules(read(seven(b"\0", b"", content[:-1] + b"x", content)))
    assert "archive.bomb" in rules(read(seven(b"\3\1\1", props, lzma1, b"\0" * (70 << 20))))


def test_7z_branch_filter_gives_its_last_bytes() -> None:
    content = HOSTILE + b"\xe8\x00\x01\x02\x03" * 400
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    packed = lzma.compress(content, lzma.FORMAT_RAW, filters=filters)
    branch = bytes([0x04]) + b"\3\3\1\3" + b"\x00\x01"
    file = read(seven(b"\3\1\1", bytes([0x5D]) + struct.pack("<I", 1 << 16), packed, content, branch))
    assert told(file)
    assert "archive.crc" not in rules(file)


@needs_data
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("malicious1.7z", "call.dangerous"),
        ("malicious1.zip", "call.dangerous"),
        ("malicious1_0x1.zip", "archive.flags"),
        ("malicious1_central_directory.zip", "archive.mismatch"),
        ("malicious1_wrong_ext.zip", "call.dangerous"),
        ("object_arrays.npz", "numpy.object-array"),
        ("object_arrays_compressed.npz", "numpy.object-array"),
    ],
)
def test_known_hostile_archives(name: str, rule: str) -> None:
    file = read((DATA / "suspicious/picklescan" / name).read_bytes())
    assert rule in rules(file)
    assert told(file) or "npz" in name


@needs_data
def test_known_benign_archives() -> None:
    for name in ("int_arrays.npz", "int_arrays_compressed.npz", "int_array.npy", "new_pytorch_model.bin"):
        file = read((DATA / "suspicious/picklescan" / name).read_bytes())
        assert not rules(file), name
        assert sum(len(p.tensors) for p in file.parts) >= 1


def test_a_tar_whose_first_name_spells_no_import_is_no_pickle():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in (("ctypes.txt", b"os\nsystem\nast\n"), ("cos.txt", b"x\n")):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    file = read_in_process(out.getvalue(), "lists.tar")
    assert file.evidence == () and file.format == "tar"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_torch_zip_that_broke_off_is_cut_and_not_hostile(share: float) -> None:
    file = io.BytesIO()
    torch.save({f"l{i}.weight": torch.randn(32, 32) for i in range(12)}, file)
    whole = file.getvalue()
    found = read_in_process(whole[: int(share * len(whole))], "cut.pt").evidence
    assert {e.rule for e in found} == {"file.truncated"}
