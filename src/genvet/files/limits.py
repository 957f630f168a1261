"""What the reading child may not do: memory, processor time, files, network, programs."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from genvet.files.reading import MIB, Limits, Reading

try:
    import resource
except ImportError:  # Windows has no such limits: there only the audit hook holds.
    resource = None  # type: ignore[assignment]

SLACK = 64 * MIB
# Sealed, a reader needs nothing of the interpreter that is audited, except these:
# compiling to a syntax tree, making arrays of numbers, looking at its own frames when an error is raised,
# and moving its own limits with what the file declares (hard limits cannot be raised).
_ALLOWED = {"compile", "builtins.id", "array.__new__", "sys._getframe", "sys.excepthook", "resource.setrlimit"}
_ALLOWED |= {f"object.__{access}attr__" for access in ("get", "set", "del")}


class Overtime(BaseException):
    """The processor time for a file of this size is used up. No reader may catch it: what was found is answered."""


class Metered(Reading):
    """A reading whose memory and processor limits follow what the file has declared so far."""

    def __init__(self, size: int) -> None:
        super().__init__(limits=Limits.for_file(size))
        self._size, self._step, self._memory, self._seconds = size, 0, _address_space(), _processor_seconds()
        if resource is not None:
            signal.signal(signal.SIGXCPU, _overtime)
        # Past the soft limit the reading stops by itself; a library that does not come back is ended at the hard one.
        last = self._seconds + 22 + (size + self.limits.unpacked) // MIB
        _limit("RLIMIT_CPU", last, hard=last)
        self._enforce(size)

    def unpack(self, n: int, offset: int | None = None) -> None:
        super().unpack(n, offset)
        if self.unpacked - self._step > 8 * MIB:
            self._enforce(self._size + self.unpacked)

    def _enforce(self, handled: int) -> None:
        self._step = self.unpacked
        _limit("RLIMIT_AS", self._memory + SLACK + 4 * handled)
        _limit("RLIMIT_CPU", self._seconds + 2 + handled // MIB)


def _overtime(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    raise Overtime


def confine() -> bool:
    """Take away files, programs and core dumps; False where this system has no such limits."""
    if resource is None:
        return False
    for name, most in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 16)):
        _limit(name, most, hard=most)
    return True


def seal() -> None:
    """From here on this process imports nothing, opens nothing, starts nothing and connects to nothing."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _ALLOWED:
        raise PermissionError(f"reading a file may not do this: {event}")


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    kind = getattr(resource, name, None)
    if kind is None:
        return
    try:
        most = resource.getrlimit(kind)[1] if hard is None else hard
        if most != resource.RLIM_INFINITY:
            soft = min(soft, most)
        resource.setrlimit(kind, (soft, most))
    except (ValueError, OSError):
        # A system that refuses a limit (macOS with address space) still has the others.
        return


def _processor_seconds() -> int:
    """What starting up has cost, rounded up."""
    if resource is None:
        return 0
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return int(spent.ru_utime + spent.ru_stime) + 1


def _address_space() -> int:
    """Bytes of address space that this process has now."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, AttributeError):
        return 1024 * MIB
