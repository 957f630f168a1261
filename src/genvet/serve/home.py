"""Where a service keeps what must outlive it: a database, and outside of it the audit log's key and head."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from genvet.core.errors import BadInput
from genvet.serve.ledger import Ledger
from genvet.serve.migrations import migrate
from genvet.serve.problems import Problem
from genvet.serve.store import Store
from genvet.serve.witness import ledger_key

DATABASE = "GENVET_DATABASE"
"""Environment variable that holds the database's address, whose password is for no command line."""


@dataclass(frozen=True)
class Home:
    """A folder; the database is a file in it, unless there is one elsewhere that several machines share."""

    folder: Path

    @property
    def elsewhere(self) -> str:
        """The address of a database that several machines share; empty where there is none."""
        return os.environ.get(DATABASE, "")

    @property
    def file(self) -> Path:
        """The database, unless it is elsewhere."""
        return self.folder.resolve() / "service.sqlite"

    @property
    def address(self) -> str:
        """The database's."""
        return self.elsewhere or f"sqlite:///{self.file}"

    @property
    def key_file(self) -> Path:
        """Of the audit log, unless the environment holds its key."""
        return self.folder / "ledger.key"

    @property
    def head(self) -> Path:
        """Of the audit log, for this machine."""
        return self.folder / "ledger.head"

    def key(self) -> bytes:
        """Of the audit log: from the environment, or from a file that the first start makes."""
        return ledger_key(self.key_file, create=True)

    def secret(self) -> bytes:
        """What latents and guards are drawn by: the same wherever the audit log's key is."""
        return hmac.digest(self.key(), b"genvet serve: latents and guards", "sha256")

    def store(self) -> Store:
        """The database, brought to this version; raises BadInput where it cannot be reached."""
        store = Store(self.address)
        try:
            migrate(store)
        except Problem as problem:
            raise BadInput(problem.detail, hint=f"{DATABASE} holds its address, where there is one") from None
        return store

    def ledger(self, store: Store) -> Ledger:
        """The audit log, with its head on this machine."""
        return Ledger(store.engine, self.key(), self.head)
