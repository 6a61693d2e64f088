"""Who is signed in: one-time links from the terminal, and the sessions that they open. In memory only.

A session has two secrets, and needs both: a cookie, which scripts can't read and which isn't sent for other sites, and
the first part of every path. Cookies of a host go to all its ports, so the cookie is bound to that path: a server of
another user of this machine is never sent it.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

LINK_LIVES: Final = timedelta(minutes=5)
IDLE: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=10)
"""A working day; whoever stays longer opens another link."""


class SignedOut(Exception):
    """No session, or one that has ended; the text says how to sign in."""


class LinkRefused(Exception):
    """A link that opens nothing (any more)."""


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(slots=True)
class Session:
    """One browser that is signed in, in however many tabs. ``place`` begins its paths, ``token`` is in its forms."""

    began: datetime
    seen: datetime
    place: str = field(default_factory=_secret, repr=False)
    cookie: str = field(default_factory=_secret, repr=False)
    token: str = field(default_factory=_secret, repr=False)


class Sessions:
    """Links and sessions, by the clock that is passed in. Secrets are compared in constant time."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._links: dict[str, datetime] = {}
        self._open: list[Session] = []

    def new_link(self) -> str:
        """The secret part of a link that works once, within ``LINK_LIVES``. One at a time: it ends an older one."""
        secret = _secret()
        self._links = {secret: self._clock()}
        return secret

    def enter(self, secret: str) -> Session:
        """The session that a link opens. Raises ``LinkRefused``."""
        now = self._clock()
        made = next((at for known, at in self._links.items() if _same(known, secret)), None)
        self._links = {known: at for known, at in self._links.items() if not _same(known, secret)}
        if made is None or now - made > LINK_LIVES:
            raise LinkRefused("This link was used, replaced by a newer one, or is older than 5 minutes.")
        session = Session(now, now)
        self._open = [one for one in self._open if self._lives(one)] + [session]
        return session

    def session(self, place: str, cookie: str) -> Session:
        """The session of these two secrets, kept awake by the call. Raises ``SignedOut``."""
        # No short cut: which of the two is wrong, and at which session, is not to be told by the time it takes.
        found = [one for one in self._open if _same(one.place, place) & _same(one.cookie, cookie)]
        if not found:
            raise SignedOut("You are not signed in here.")
        (session,) = found
        if not self._lives(session):
            self.leave(session)
            raise SignedOut("Your session has ended: nothing was done in it for 15 minutes, or it lasted 10 hours.")
        session.seen = self._clock()
        return session

    def leave(self, session: Session) -> None:
        self._open = [one for one in self._open if one is not session]

    def _lives(self, session: Session) -> bool:
        now = self._clock()
        return now - session.seen <= IDLE and now - session.began <= LONGEST


def _same(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "surrogateescape"))
