"""Reads a file's bytes in a child process that may do nothing else; gives the model file that it found."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import struct
import subprocess  # started with our own interpreter and module only, never with a name from a file
import sys
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from genvet.core.errors import BadInput, GenVetError, NoModel, UnsafeFile, Unsupported
from genvet.core.modelfile import Evidence, ModelFile
from genvet.core.printable import printable
from genvet.files import answer
from genvet.files.reading import MIB, Limits

LARGEST = 20 << 30
"""Bytes of a model file, unless the caller says otherwise."""
LARGEST_ANSWER = 256 * MIB
"""Bytes of the answer's JSON."""


def file_bytes(path: str | Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file, read once; anything else is BadInput."""
    path = Path(path)
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise BadInput(f"cannot open {printable(path)}", got=error.strerror or "an error") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise BadInput(f"{printable(path)} is a folder", expected="a model file")
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{printable(path)} is no regular file", expected="a model file")
        if status.st_size > largest:
            raise BadInput(f"{printable(path)} is too large", expected=f"{largest} bytes", got=str(status.st_size))
        with FileIO(handle, "rb", closefd=False) as file:
            data = file.readall()
    finally:
        os.close(handle)
    if not data:
        raise BadInput(f"{printable(path)} is empty", expected="a model file")
    return data


def read_in_child(data: bytes, name: str, *, seconds: float | None = None) -> ModelFile:
    """What these bytes hold, found by a confined child.

    Raises BadInput where they are no model at all, and Unsupported where an extra is not installed.
    A child that runs out of memory or time, or ends early, gives a model file whose evidence says so.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    for options in (0, 1):
        text, buffers, how = _ask(data, options, seconds or _patience(len(data)))
        if how:
            return _stopped(data, name, sha256, how)
        try:
            short = answer.refusal(text)
            if short.get("not_a_model"):
                raise NoModel(f"{printable(name)} is no model file", got=printable(short["not_a_model"]))
            if short.get("missing"):
                raise Unsupported(f"{printable(name)} cannot be read", hint=printable(short["missing"]))
            if not short.get("needs_hdf5"):
                return answer.decode(text, (memoryview(data), *buffers), name, sha256)
        except answer.Untrusted as error:
            raise UnsafeFile(f"reading {printable(name)} gave an answer that cannot be trusted: {error}") from None
    raise UnsafeFile(f"reading {printable(name)} gave no answer")


def read_in_process(data: bytes, name: str) -> ModelFile:
    """The same reading without the child: for tests and fuzzing, where thousands of inputs follow one another."""
    from genvet.files import formats
    from genvet.files.reading import Reading

    reading = Reading(limits=Limits.for_file(len(data)))
    try:
        formats.read_bytes(memoryview(data), reading)
    except formats.NotAModel as stop:
        raise NoModel(f"{printable(name)} is no model file", got=stop.message) from None
    return answer.of_reading(reading, memoryview(data), name, hashlib.sha256(data).hexdigest())


def _patience(size: int) -> float:
    """Seconds by the clock: the child's own limit on processor time, doubled for a busy machine."""
    return 60 + 2 * Limits.for_file(size).unpacked / MIB


def _ask(data: bytes, options: int, seconds: float) -> tuple[bytes, list[memoryview], str]:
    """The answer's JSON and buffers; or else how the child ended."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-W", "ignore", "-m", "genvet.files.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        cwd="/",
        close_fds=True,
        bufsize=0,
    )
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    overdue = threading.Event()
    timer = threading.Timer(seconds, lambda: (overdue.set(), child.kill()))
    feeder = threading.Thread(target=_feed, args=(child.stdin, data, options), daemon=True)
    timer.start()
    try:
        if child.stdout.read(1) != b"R":
            raise GenVetError("the reading process does not start", hint=printable(child.stderr.read(4000)[-400:]))
        feeder.start()
        pieces = _receive(child.stdout, len(data))
        status = _status(child)
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        if feeder.ident:
            feeder.join()  # the dead child's pipe does not hold it up
        for pipe in (child.stdout, child.stderr, child.stdin):
            pipe.close()
    if pieces:
        return pieces[0].tobytes(), pieces[1:], ""
    return b"", [], "it took too long" if overdue.is_set() else _ending(status)


def _status(child: subprocess.Popen[bytes]) -> int:
    """How the child ended; one that has closed its answer ends at once, or is ended."""
    try:
        return child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _environment() -> dict[str, str]:
    """Nothing of the user's: no home, no path, no settings; and one thread for numpy."""
    kept = {k: os.environ[k] for k in ("SYSTEMROOT", "LD_LIBRARY_PATH") if k in os.environ}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _feed(pipe: BinaryIO, data: bytes, options: int) -> None:
    try:
        _write(pipe, struct.pack("<QQ", len(data), options))
        _write(pipe, data)
        pipe.close()
    except OSError:  # The child ended early: its answer, or the lack of one, tells.
        return


def _write(pipe: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _receive(pipe: BinaryIO, size: int) -> list[memoryview]:
    """The answer's JSON and its buffers, no larger than an honest child's; empty where it does not come whole."""
    most = 2 * Limits.for_file(size).unpacked
    exactly = _reader(pipe)
    try:
        (length,) = struct.unpack("<Q", exactly(8))
        (count,) = struct.unpack("<Q", exactly(8))
        if length > LARGEST_ANSWER or 8 * count + 8 > length:
            return []
        lengths = struct.unpack(f"<{count}Q", exactly(8 * count))
        if sum(lengths) > most:
            return []
        return [exactly(length - 8 - 8 * count), *(exactly(n) for n in lengths)]
    except EOFError:
        return []


def _reader(pipe: BinaryIO) -> Callable[[int], memoryview]:
    def exactly(n: int) -> memoryview:
        data = bytearray(n)
        rest = memoryview(data)
        while rest:
            got = pipe.readinto(rest)  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            rest = rest[got:]
        return memoryview(data)

    return exactly


def _ending(status: int) -> str:
    if -status in (getattr(signal, "SIGKILL", 9), getattr(signal, "SIGXCPU", 24)):
        return "it used more processor time or memory than a file of this size may"
    return f"the reading process ended with status {status}"


def _stopped(data: bytes, name: str, sha256: str, how: str) -> ModelFile:
    evidence = (Evidence(rule="pickle.limit", message=f"reading was stopped: {how}"),)
    return ModelFile(path=name, sha256=sha256, size=len(data), format="unread", evidence=evidence)
