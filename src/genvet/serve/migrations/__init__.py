"""Brings a database to the tables of this version when a service starts; whoever comes second waits for the first."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from genvet.core.errors import BadInput
from genvet.serve.store import METADATA, Store

LOCK = 0x67656E766574
"""Number of the advisory lock in PostgreSQL: "genvet"."""


def migrate(store: Store) -> None:
    """Raises BadInput where the database is of a later version than this one knows."""
    with _alone(store), store.writing() as connection:
        if store.engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({LOCK})")
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Every step that this database has not seen, in the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    have = MigrationContext.configure(connection).get_current_revision()
    if have is not None and have not in {script.revision for script in scripts.walk_revisions()}:
        raise BadInput("the database is of another version of GenVet", hint="install that version, or a later one")

    def steps(revision: tuple[str, ...], context: MigrationContext) -> list[RevisionStep]:
        return scripts._upgrade_revs("head", revision)  # type: ignore[arg-type]

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=METADATA, transactional_ddl=False)
        environment.run_migrations()


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """For SQLite, a lock on a file beside the database; PostgreSQL has one of its own."""
    if store.engine.dialect.name != "sqlite":
        yield
        return
    path = Path(store.engine.url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # held images and hashes of keys are for nobody else; what SQLite puts beside it follows
    with path.with_name(path.name + ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
