"""The reading child: takes a file's bytes on standard input, parses them confined, answers on standard output.

Started by files.sandbox as `python -I -m genvet.files.child`. Standard library only; numpy for HDF5 files alone.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import struct
import unicodedata
from collections.abc import Callable

from genvet.files import answer, formats, keras_file, limits
from genvet.files.reading import Reading
from genvet.files.texts import source

# Codecs are found by import: those that the readers use must be there before the seal.
_CODECS = ("ascii", "latin-1", "utf-8", "utf-16-le", "cp437", "unicode_escape", "raw_unicode_escape", "idna")


class _Buffer(ctypes.Structure):
    """CPython's view of a buffer; only its address is looked at."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("rest", ctypes.c_void_p * 12),
    )


def main() -> None:
    """One file in, one answer out."""
    source, sink = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    _send(sink, b"R")
    size, options = struct.unpack("<QQ", _exactly(source.readinto, 16))
    if options:
        keras_file.prepare()
    address = _address_of()
    _warm()
    reading = limits.Metered(size)
    if not limits.confine():
        reading.metadata["genvet.limits"] = "this system has no limits on memory and time: read by the audit hook alone"
    data = _exactly(source.readinto, size)
    limits.seal()
    head, buffers = _answer(data, reading, address)
    _send(sink, struct.pack("<Q", len(head)))
    _send(sink, head)
    for buffer in buffers:
        _send(sink, buffer)
    os._exit(0)


def _warm() -> None:
    """Load now what the readers would load later: codecs, tables, the compiler's own modules."""
    for codec in _CODECS:
        codecs.lookup(codec)
    unicodedata.category("a")
    source.judge("import torch\n\nclass A: pass\n", Reading(), "", "module_src", ("A",))


def _answer(data: bytearray, reading: Reading, address: Callable[[memoryview], int]) -> tuple[bytes, list[memoryview]]:
    """The answer's JSON, and the buffers that storages are slices of, the file itself left out."""
    whole = memoryview(data).toreadonly()
    try:
        formats.read_bytes(whole, reading)
    except formats.NotAModel as stop:
        return _short("not_a_model", stop.message), []
    except keras_file.NeedsHdf5:
        return _short("needs_hdf5", True), []
    except limits.Overtime:
        reading.note("pickle.limit", "reading was stopped: a file of this size may not take so much processor time")
    except Exception as error:  # A mistake of ours that a stranger's file found: told, and never a crash.
        reading.note("pickle.malformed", f"the reader gave up: {type(error).__name__}: {error}")
    if keras_file.only_missing(reading):
        return _short("missing", reading.evidence[0].message), []
    try:
        return _packed(whole, reading, address)
    except MemoryError:
        reading.parts.clear(), reading.storages.clear()
        reading.note("pickle.limit", "the tensors do not fit the memory that a file of this size may take")
        return _packed(whole, reading, address)


def _short(key: str, value: object) -> bytes:
    return struct.pack("<Q", 0) + json.dumps({key: value}).encode()


def _packed(
    whole: memoryview, reading: Reading, address: Callable[[memoryview], int]
) -> tuple[bytes, list[memoryview]]:
    """Every buffer is sent once, and storages as places in them; the parent still holds the file's own bytes."""
    buffers = {id(whole.obj): (whole, 0)}
    places = []
    for storage in reading.storages:
        base, number = buffers.setdefault(id(storage.obj), (memoryview(storage.obj).cast("B"), len(buffers)))
        places.append((number, address(storage) - address(base) if len(storage) else 0, storage.nbytes))
    sent = [base for base, number in buffers.values() if number]
    lengths = struct.pack(f"<{len(sent) + 1}Q", len(sent), *(len(b) for b in sent))
    return lengths + answer.encode(reading, places), sent


def _address_of() -> Callable[[memoryview], int]:
    """A function that tells where a buffer lies in memory: memoryviews do not say their offset."""
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    get.argtypes, release.argtypes = (ctypes.py_object, ctypes.c_void_p, ctypes.c_int), (ctypes.c_void_p,)
    view = _Buffer()
    at = ctypes.addressof(view)

    def address(buffer: memoryview) -> int:
        get(buffer, at, 0)
        start: int = view.buf
        release(at)
        return start

    return address


def _exactly(readinto: Callable[[memoryview], int | None], n: int) -> bytearray:
    data = bytearray(n)
    rest = memoryview(data)
    while rest:
        got = readinto(rest)
        if not got:
            os._exit(3)
        rest = rest[got:]
    return data


def _send(sink: object, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[sink.write(rest) :]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
