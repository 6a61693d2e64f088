"""The log as a monitor sees it: does it grow without a break, who has seen the same, how old is what they saw.

Consistency and signatures are checked by following the log (``client.follow``). Here is what that doesn't see: the
newest checkpoint that a quorum of witnesses cosigned, whether it is a part of the very log that is followed, and its
age and the log's.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter

from client.audit.witnessing import Witnessing, read_witnessing
from client.connection import Connection
from client.errors import HubRefused, HubUntrusted
from client.follow import Record
from protocol import problems, routes
from protocol.charter import charter_digest
from protocol.errors import ProtocolError
from protocol.ids import Hex32
from protocol.signed_note import LogError, split_note
from protocol.translog import Checkpoint
from protocol.tree import TreeHead, verify_consistency
from protocol.witnesses import MAX_AGE, witnesses_of

FRESH: Final = timedelta(hours=2)
"""How old the log's own checkpoint may be unless another age is asked for: one is signed every hour, leaves or not."""

_PROOF = TypeAdapter(tuple[Hex32, ...])


@dataclass(frozen=True, slots=True)
class Health:
    """What was found at one look. ``reason`` is why it is not well, None if it is."""

    size: int
    age: timedelta
    fresh: tuple[str, ...]
    witnesses: int
    quorum: int
    reason: str | None

    @property
    def line(self) -> str:
        """In one line: "log consistent, 4 of 4 witnesses, last checkpoint 3 min ago"."""
        seen = f"{len(self.fresh)} of {self.witnesses} witnesses"
        return f"log consistent, {seen}, last checkpoint {_ago(self.age)}, {self.size} leaves"


def look(connection: Connection, wait_s: int = 0, oldest: timedelta = FRESH) -> tuple[Health, tuple[Record, ...]]:
    """Follow the log to its newest checkpoint and judge it; with the entries that came.

    Raises ``HubUntrusted`` where a signature or the consistency fails: then nothing else is worth telling.
    """
    records = connection.log.refresh(wait_s)
    now = connection.now()
    own = _checkpoint(connection.log.note)
    age = now - own.signed_at if own.signed_at is not None else timedelta.max
    witnesses, note = witnesses_of(connection.log.charter), _witnessed_note(connection)
    fresh: tuple[str, ...] = ()
    reason: str | None = f"no checkpoint was cosigned by the {witnesses.quorum} witnesses that are needed"
    if note is not None:
        seen = _part_of_log(connection, note)
        fresh = witnesses.look(note, now).fresh
        reason = _why_not_seen(connection, seen, len(fresh), witnesses.quorum)
    if age > oldest:
        reason = f"the log's checkpoint is from {_ago(age)}; it must be younger than {_span(oldest)}"
    return Health(own.size, age, fresh, len(witnesses.keys), witnesses.quorum, reason), records


def _why_not_seen(connection: Connection, seen: Witnessing, fresh: int, quorum: int) -> str | None:
    if seen.checkpoint.charter != charter_digest(connection.log.charter):
        return "the witnesses have not yet cosigned a checkpoint that names the charter in force"
    if fresh < quorum:
        hours = MAX_AGE // timedelta(hours=1)
        return f"{fresh} witnesses cosigned the log in the last {hours} hours; {quorum} are needed"
    return None


def _part_of_log(connection: Connection, note: str) -> Witnessing:
    """The newest quorum's checkpoint, as the charter that it names demands, shown to be a part of the followed log."""
    try:
        named = Checkpoint.parse(split_note(note)[0]).charter
        charters = [one for one in connection.log.chain.charters if charter_digest(one) == named]
        witnessing = read_witnessing(note, charters[-1] if charters else connection.log.charter)
    except LogError as error:
        raise HubUntrusted(f"what witnesses cosigned does not verify: {error}; keep it, call an admin") from None
    _require_part_of_log(connection, witnessing.checkpoint)
    return witnessing


def _witnessed_note(connection: Connection) -> str | None:
    try:
        return connection.session.get_public(routes.LOG_WITNESSED).decode()
    except HubRefused as refused:
        if refused.problem.type == problems.NOT_FOUND:
            return None
        raise
    except UnicodeDecodeError:
        raise HubUntrusted("what witnesses cosigned is not a note") from None


def _require_part_of_log(connection: Connection, cosigned: Checkpoint) -> None:
    """Raises ``HubUntrusted`` unless one of the two trees is the beginning of the other."""
    older, newer = sorted((cosigned.head, _checkpoint(connection.log.note).head), key=lambda head: head.size)
    params = {"first": str(older.size), "second": str(newer.size)}
    proof = () if older.size == newer.size else connection.session.get(routes.LOG_CONSISTENCY, _PROOF, params)
    _require_extends(older, newer, proof)


def _require_extends(older: TreeHead, newer: TreeHead, proof: tuple[str, ...]) -> None:
    try:
        verify_consistency(older, newer, [bytes.fromhex(node) for node in proof])
    except ProtocolError as error:
        raise HubUntrusted(
            f"witnesses cosigned another log than this one: {error}; keep both checkpoints, call an admin"
        ) from None


def _checkpoint(note: str) -> Checkpoint:
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n")


def _ago(age: timedelta) -> str:
    return "an unknown time ago" if age == timedelta.max else f"{_span(age)} ago"


def _span(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 2 * 3600 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
