"""One person at one hub: keys, session and followed log together. Every command starts here."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypedDict

import httpx

from client.errors import HubUntrusted, UsageRefused
from client.follow import FollowedLog, Notice, Record, open_log
from client.keys import Identity, read_identity
from client.pinned import PinnedStore
from client.session import HubSession, open_http
from protocol import signing
from protocol.ids import moment, timestamp
from protocol.statements import Body

LONGEST_CONFIRM_POLLS: Final = 6
CONFIRM_WAIT_S: Final = 5


class Heading(TypedDict):
    """The fields that every statement of a person starts with."""

    issuer: str
    issued_at: str
    nonce: str
    journal_head: None


def heading(identity: Identity, now: datetime) -> Heading:
    return Heading(issuer=identity.party, issued_at=timestamp(now), nonce=secrets.token_hex(16), journal_head=None)


def utc(seconds: float) -> datetime:
    """A session clock's reading as a time with a zone."""
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Connection:
    """Who speaks, to which hub, knowing which part of its log."""

    identity: Identity
    session: HubSession
    log: FollowedLog

    def now(self) -> datetime:
        return utc(self.session.clock())

    def heading(self) -> Heading:
        return heading(self.identity, self.now())

    def publish(self, body: Body) -> Record:
        """Sign and post a statement; its record, once the verified log shows it.

        Raises ``HubUntrusted`` if the hub says that it recorded the statement and its log doesn't hold it.
        """
        signed = signing.sign(body, self.identity.signing)
        (index,) = self.session.post_statements([signed])
        for _ in range(LONGEST_CONFIRM_POLLS):
            self.log.refresh(CONFIRM_WAIT_S if self.log.size <= index else 0)
            for record in reversed(self.log.records):
                if record.index == index and record.entry.digest == signed.digest:
                    return record
            if self.log.size > index:
                break
        raise HubUntrusted(f"the hub says it recorded the {body.type} as leaf {index}, its log doesn't show it there")

    def require_admin(self) -> None:
        admins = self.log.charter.admins
        if self.identity.person not in admins:
            raise UsageRefused(
                f"only an admin ({', '.join(admins)}) may do this; the key given is {self.identity.person}'s"
            )

    def require_current_charter(self) -> None:
        """Raises ``HubUntrusted`` once the charter has expired: a new version must come first."""
        expires = self.log.charter.expires_at
        if moment(expires) <= self.now():
            raise HubUntrusted(f"the charter expired at {expires}; run first: consortia admin charter renew")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connection needs from outside: the network, the clock, and where warnings go."""

    notice: Notice
    transport: httpx.BaseTransport | None = None
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep


def connect(hub: str, key: Path, founding: str | None, around: Surroundings) -> Connection:
    """Open the key, pin or check the charter, and follow the log to its newest checkpoint."""
    identity = read_identity(key)
    session = HubSession(open_http(hub, around.transport), identity, clock=around.clock, pause=around.pause)
    connection = Connection(identity, session, open_log(session, PinnedStore(key), founding, around.notice))
    connection.log.refresh()
    return connection
