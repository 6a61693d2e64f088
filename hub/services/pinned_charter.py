"""The charter in force, as the store has it: within a transaction, or as of a second ago at most."""

import threading
import time
from dataclasses import dataclass, field

from sqlalchemy import Connection

from hub.audit.merkle import LogDamaged
from hub.errors import NotFound
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.database import Database
from protocol.charter import Charter
from protocol.membership_statements import CharterPublished
from protocol.signing import parse

RECENT_S = 1.0


@dataclass(slots=True)
class PinnedCharter:
    """A charter is known by its digest: one whose transaction was rolled back is never taken for another."""

    database: Database
    _held: tuple[str, Charter] | None = None
    _recent: Charter | None = None
    _looked_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self, connection: Connection) -> Charter:
        """The charter in force, read again only when there is a newer one. Raises `NotFound` before the first."""
        digest = silo_store.charter_digest(connection)
        if digest is None:
            raise NotFound("no charter is pinned yet; the admin posts the founding one to /v1/charter")
        with self._lock:
            if self._held is None or self._held[0] != digest:
                self._held = digest, _newest(connection)
            return self._held[1]

    def recent(self) -> Charter:
        """The charter as of a second ago at most: for telling who calls, not for what is recorded."""
        recent = self._recent
        if recent is None or time.monotonic() - self._looked_at > RECENT_S:
            with self.database.reading() as connection:
                recent = self._recent = self.current(connection)
            self._looked_at = time.monotonic()
        return recent

    def renew(self) -> None:
        """After a charter was committed here: let nobody be judged by the one before."""
        self._recent = None


def _newest(connection: Connection) -> Charter:
    statement = silo_store.charter_statements(connection)[-1][1]
    body = parse(log_store.wire_of(connection, statement)).body
    if not isinstance(body, CharterPublished):
        raise LogDamaged("the statement of the newest charter is another one")
    return body.charter
