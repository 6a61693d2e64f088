"""The log as one person follows it: what was pinned, what came since, everything verified before it is believed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from client.errors import HubUntrusted, UsageRefused
from client.pinned import Cached, Pinned, PinnedStore
from client.session import HubSession
from protocol import routes, signing
from protocol.chain import STATEMENT_KINDS, CharterChain
from protocol.charter import Charter, charter_digest
from protocol.errors import Malformed, ProtocolError
from protocol.follow import CharterUnseen, Follower, Verified, advance_follower, checkpoint_size
from protocol.ids import Hex32
from protocol.membership_statements import CharterPublished
from protocol.routes import Follow, LoggedEntry
from protocol.signing import Signed
from protocol.statement import Statement
from protocol.study import StudyContract, explain, study_id
from protocol.study_statements import StudyProposed
from protocol.translog import Checkpoint, LogEntry, LogView

MAX_CHECKPOINT_AGE: Final = timedelta(hours=24)
MAX_POLLS: Final = 100_000

BodyType = TypeVar("BodyType", bound=Statement)


@dataclass(frozen=True, slots=True)
class Record:
    """A verified leaf; ``signed`` is None where it records an exchange, not a statement."""

    index: int
    entry: LogEntry
    signed: Signed | None


class FollowedLog:
    """One hub's log, pinned in a file beside the key. ``refresh`` takes only what verifies against it."""

    def __init__(self, session: HubSession, store: PinnedStore, pinned: Pinned) -> None:
        self._session = session
        self._store = store
        self._view = LogView(pinned.origin, pinned.size, bytes.fromhex(pinned.root), pinned.note)
        self._next = pinned.next
        self.chain = CharterChain(pinned.charter)
        self.records: list[Record] = []
        for cached in store.entries(pinned.next):
            self._remember(cached)

    @property
    def charter(self) -> Charter:
        return self.chain.in_force

    @property
    def size(self) -> int:
        """Leaves of the log at the pinned checkpoint."""
        return self._view.size

    @property
    def note(self) -> str:
        """The newest checkpoint, as the log signed it."""
        return self._view.note

    def refresh(self, wait_s: int = 0) -> tuple[Record, ...]:
        """Follow to the hub's newest checkpoint; the new records. Waits up to ``wait_s`` seconds for the first."""
        known = len(self.records)
        for _ in range(MAX_POLLS):
            params = {"after": str(self._next), "wait_s": str(wait_s)}
            answer = self._session.get(routes.POLL, TypeAdapter(Follow), params)
            try:
                self._step(answer)
            except ProtocolError as error:
                where = self._store.path
                raise HubUntrusted(f"the hub's log does not verify: {error}; keep {where}, call the admin") from None
            if self._next == self._view.size:
                self._check_age()
                return tuple(self.records[known:])
            wait_s = 0
        raise HubUntrusted("the hub's log does not come to an end; try again later")

    def statements(self, kind: type[BodyType]) -> Iterable[tuple[Record, BodyType]]:
        """All verified statements of a type, oldest first."""
        for record in self.records:
            if record.signed is not None and isinstance(record.signed.body, kind):
                yield record, record.signed.body

    def contract(self, study: str) -> StudyContract:
        """The contract of a study, from its lead's verified statement."""
        for _, body in self.statements(StudyProposed):
            if study_id(body.contract) == study:
                return body.contract
        raise UsageRefused(f"the log has no proposal of study {study[:12]} for you; see: consortia study list")

    def find_study(self, prefix: str) -> str:
        """The whole id for a unique prefix of at least 8 hexadecimal characters."""
        if len(prefix) < 8 or set(prefix) - set("0123456789abcdef"):
            raise UsageRefused(f"study {prefix!r}: give 8 or more of the id's hexadecimal characters")
        ids = {study_id(body.contract) for _, body in self.statements(StudyProposed)}
        found = sorted(one for one in ids if one.startswith(prefix))
        if len(found) != 1:
            raise UsageRefused(f"study {prefix}: {len(found)} studies begin so; see: consortia study list")
        return found[0]

    def _step(self, answer: Follow) -> None:
        follower, verified = self._advance(answer)
        if answer.next == self._next and self._next < follower.view.size:
            raise HubUntrusted(f"the hub answers next {answer.next} after {self._next} of {follower.view.size} leaves")
        said = {entry.index: entry.signed for entry in verified}
        for signed in said.values():
            if isinstance(signed.body, CharterPublished):
                self.chain.charters.append(signed.body.charter)
        self.records += [Record(entry.index, _read_leaf(entry.leaf), said.get(entry.index)) for entry in answer.entries]
        self._next, self._view = follower.next, follower.view
        self._save(answer.entries)

    def _advance(self, answer: Follow) -> tuple[Follower, list[Verified]]:
        """As ``advance_follower``, with what else it needs of the hub: a proof from the view, charters not seen yet."""
        held = Follower(self.chain.founding, self._in_force, self._view, self._next)
        proof = answer.consistency
        if self._next != self._view.size:
            proof = self._fetch_consistency(self._view.size, checkpoint_size(answer.checkpoint))
        try:
            return advance_follower(held, answer, proof)
        except CharterUnseen:
            charters = self._session.get_public(routes.CHARTER).splitlines()
            return advance_follower(held, answer, proof, charters)

    @property
    def _in_force(self) -> Charter | None:
        return self.chain.charters[-1] if self.chain.charters else None

    def _fetch_consistency(self, first: int, second: int) -> tuple[str, ...]:
        if first >= second:
            return ()
        params = {"first": str(first), "second": str(second)}
        return self._session.get(routes.LOG_CONSISTENCY, TypeAdapter(tuple[Hex32, ...]), params)

    def _remember(self, cached: Cached) -> None:
        entry = _read_leaf(cached.leaf)
        known = entry.kind in STATEMENT_KINDS
        signed = self.chain.read(entry, cached.statement.encode()) if known else None
        self.records.append(Record(cached.index, entry, signed))

    def _save(self, entries: tuple[LoggedEntry, ...]) -> None:
        self._store.append(Cached(index=one.index, leaf=one.leaf, statement=one.statement) for one in entries)
        self._store.save(
            Pinned(
                format="consortia-pinned/2",
                charter=self.chain.founding,
                origin=self._view.origin,
                size=self._view.size,
                root=self._view.root.hex(),
                note=self._view.note,
                next=self._next,
            )
        )

    def _check_age(self) -> None:
        """A recent checkpoint: else the hub could hold back a revocation."""
        now = datetime.fromtimestamp(self._session.clock(), UTC)
        signed_at = Checkpoint.parse(self._view.note.partition("\n\n")[0] + "\n").signed_at
        if signed_at is None or now - signed_at > MAX_CHECKPOINT_AGE:
            raise HubUntrusted("the hub's checkpoint is older than 24 hours; check the clock here, then call the admin")


def read_charters(lines: bytes, founding: str | None) -> tuple[Charter, ...]:
    """The charters of ``GET /v1/charter``, verified as a chain from the founding digest (or from its first).

    Raises ``HubUntrusted`` for any that doesn't follow.
    """
    try:
        chain = CharterChain(founding or "")
        for line in lines.splitlines():
            signed = signing.parse(line)
            if not isinstance(signed.body, CharterPublished):
                raise HubUntrusted("the hub shows something else than a charter")
            if not chain.founding:
                chain.founding = charter_digest(signed.body.charter)
            chain.check(signed)
    except ProtocolError as error:
        raise HubUntrusted(f"the hub's charter does not verify: {error}") from None
    return tuple(chain.charters)


def _read_leaf(leaf: str) -> LogEntry:
    try:
        entry = LogEntry.model_validate_json(leaf)
    except ValidationError as error:
        raise Malformed(f"a leaf is not a log entry: {explain(error)}") from None
    if entry.leaf_bytes() != leaf.encode():
        raise Malformed("a leaf is not in canonical form")
    return entry


Notice = Callable[[str], None]
"""Where a warning for the person goes."""


def open_log(session: HubSession, store: PinnedStore, founding: str | None, notice: Notice) -> FollowedLog:
    """The log of the session's hub, pinned at first use; sets the session's audience.

    With ``founding`` (a digest that came from the admin) nothing is trusted at first use.
    """
    pinned = store.load()
    if pinned is None:
        pinned = _pin(session, founding, notice)
        store.save(pinned)
    elif founding is not None and founding != pinned.charter:
        raise UsageRefused(f"--charter {founding[:12]} is not the charter pinned in {store.path}; use another key file")
    session.audience = routes.audience(pinned.origin)
    return FollowedLog(session, store, pinned)


def _pin(session: HubSession, founding: str | None, notice: Notice) -> Pinned:
    chain = read_charters(session.get_public(routes.CHARTER), founding)
    if not chain:
        raise UsageRefused("the hub has no charter yet; its admin makes one with: consortia admin charter init")
    first = chain[0]
    digest = charter_digest(first)
    if founding is None:
        notice(f"pinned charter {digest} of {first.consortium}: compare it with the admin's, or give --charter")
    return Pinned.start(digest, first.log_origin)
