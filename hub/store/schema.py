"""Bringing a database to the newest schema, by one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import insert, select, text

from hub.store.database import Database
from hub.store.tables import log_state

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x636F6E73  # "cons"


def migrate(database: Database, folder: Path) -> None:
    """Run all migrations under a lock: a file's in `folder`, and PostgreSQL's advisory one for other machines."""
    with _file_lock(folder / "migrate.lock"), database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            connection.commit()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.execute(select(log_state.c.id)).first() is None:
            connection.execute(insert(log_state).values(id=1, size=0, checkpoint="", signed_at=0))
        connection.commit()
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
            connection.commit()


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
