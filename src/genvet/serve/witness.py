"""What lies outside the database: the key of the audit log, and its head, which remembers how far the log had come.

The head is a small file with two slots, written in turn and in place, so that one of them is whole at any moment. Each
is sealed by the key: without it, no head can be made up.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable

KEY = "GENVET_LEDGER_KEY"
"""Environment variable that holds the key of the audit log, in 64 hexadecimal digits, where no file does."""
SIZE, SLOT = 32, 4096


class Tampered(Unsupported):
    """The audit log, or its head, is not as it was left: nothing is added to it."""


@dataclass(frozen=True)
class Head:
    """So many rows there were, and this was the last one's code."""

    count: int
    mac: bytes


START = Head(0, bytes(SIZE))
"""Of a log without rows: what the first row's code is chained to."""


def ledger_key(path: Path | None, *, create: bool = False) -> bytes:
    """The key from the environment, or else from its file, which is made where that is allowed and there is none."""
    if text := os.environ.get(KEY):
        return _key(text, KEY)
    if path is None:
        raise BadInput("the audit log needs a key", expected=f"a file of its own, or {KEY}")
    if create and not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(SIZE) + "\n")
            file.flush()
            os.fsync(file.fileno())
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle) as file:
            mode = os.fstat(handle).st_mode
            text = file.read(1000)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the audit log's key {printable(path)}", got=printable(error, 100)) from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        hint = f"chmod 600 {printable(path)}; a key that others could read is better made anew, with a new log"
        raise BadInput("others may read the audit log's key", expected="0600", got=f"{mode & 0o777:04o}", hint=hint)
    return _key(text, f"the key file {printable(path)}")


def _key(text: str, where: str) -> bytes:
    """Never shows what it was given."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()):
        raise BadInput(f"{where} holds no key", expected="64 hexadecimal digits", got=f"{len(text.strip())} characters")
    return bytes.fromhex(text.strip())


class Witness:
    """The head of one machine: it moves forward alone, and its workers take turns."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._seal_key = hmac.digest(key, b"genvet ledger: the seal of a head", "sha256")
        self._known_as = hmac.digest(key, b"genvet ledger: the name of a key", "sha256")[:8].hex()

    @property
    def there(self) -> bool:
        """Whether there is a head, good or bad; an empty file is none yet."""
        try:
            return self.path.lstat().st_size > 0
        except OSError:
            return False

    def begin(self, first: Callable[[], Head]) -> None:
        """Make the head, at what `first` comes to, unless a worker beside us was faster: then nothing is done."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise BadInput(
                f"cannot make the audit log's head {printable(self.path)}", got=str(error.strerror)
            ) from None
        with self._locked(fcntl.LOCK_EX) as handle:
            if os.fstat(handle).st_size == 0:
                os.pwrite(handle, self._record(first()), 0)
                os.fsync(handle)

    def read(self) -> Head:
        """The farther one of both slots; raises Tampered for a head that is gone or that this key did not seal."""
        with self._locked(fcntl.LOCK_SH) as handle:
            return max(self._slots(handle), key=lambda slot: slot[0].count)[0]

    def move(self, head: Head) -> None:
        """Remember this, unless a worker beside us remembered more; on the disk when it returns."""
        with self._locked(fcntl.LOCK_EX) as handle:
            slots = self._slots(handle)
            latest, place = max(slots, key=lambda slot: slot[0].count)
            if head.count > latest.count:
                os.pwrite(handle, self._record(head), 0 if place else SLOT)
                os.fdatasync(handle)

    @contextmanager
    def _locked(self, how: int) -> Iterator[int]:
        try:
            handle = os.open(self.path, (os.O_RDWR if how == fcntl.LOCK_EX else os.O_RDONLY) | os.O_NOFOLLOW)
        except FileNotFoundError:
            hint = "whether rows are missing at the log's end can no longer be told: see the guide on serving"
            raise Tampered(f"the audit log's head {printable(self.path)} is gone", hint=hint) from None
        except OSError as error:
            raise BadInput(
                f"cannot open the audit log's head {printable(self.path)}", got=str(error.strerror)
            ) from None
        try:
            fcntl.flock(handle, how)
            yield handle
        finally:
            os.close(handle)

    def _slots(self, handle: int) -> list[tuple[Head, int]]:
        """The whole ones, each with its place; a slot that was being written when the power failed is not."""
        parts = [(os.pread(handle, SLOT, place), place) for place in (0, SLOT)]
        known = [(_parsed(part), place) for part, place in parts]
        good = [(told[0], place) for told, place in known if told and self._sealed(*told)]
        if good:
            return good
        others = {told[2] for told, _ in known if told}
        if others and self._known_as not in others:
            raise BadInput("this is another key than the audit log's", hint="name the key that it was written with")
        raise Tampered(f"the audit log's head {printable(self.path)} is none that this key sealed")

    def _record(self, head: Head) -> bytes:
        told = {"count": head.count, "mac": head.mac.hex(), "key": self._known_as, "seal": self._seal(head).hex()}
        return (json.dumps(told) + "\n").encode().ljust(SLOT)

    def _seal(self, head: Head) -> bytes:
        return hmac.digest(self._seal_key, head.count.to_bytes(8) + head.mac, "sha256")

    def _sealed(self, head: Head, seal: bytes, _: str) -> bool:
        return hmac.compare_digest(seal, self._seal(head))


def _parsed(part: bytes) -> tuple[Head, bytes, str] | None:
    """A slot's head, seal and the name of its key; None for anything else."""
    try:
        told = json.loads(part)
        count, mac, seal = told["count"], bytes.fromhex(told["mac"]), bytes.fromhex(told["seal"])
        fits = type(count) is int and 0 <= count < 1 << 63 and len(mac) == SIZE and isinstance(told["key"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (Head(count, mac), seal, told["key"]) if fits else None
