"""The journal held against all that this silo signed: its own memory of it, and what the hub's log shows.

Whoever shortens or edits the journal would have to take back statements that others hold. What was written after the
newest statement rests on the journal alone.
"""

from dataclasses import dataclass

from protocol.errors import ProtocolError
from protocol.journal import EMPTY, Claims, event_time
from protocol.period import ALWAYS, Period
from silo_node.agent.tasks import Tasks
from silo_node.errors import JournalDamaged
from silo_node.journal.chain import Journal


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A journal that holds. ``kept`` statements of this silo's memory and ``logged`` ones stand at their places.

    ``logged_through`` is the newest entry whose statement is in the log: it fixes all before it.
    ``first`` to ``last`` are the entries from the earliest to the latest in the period asked for, none if ``last`` is
    smaller: then it is the entry before the period. ``head_then`` is the hash of ``last``.
    """

    entries: int
    head: str
    kept: int
    logged: int
    logged_through: int
    first: int
    last: int
    head_then: str


def review(journal: Journal, tasks: Tasks, party: str, period: Period = ALWAYS) -> Reviewed:
    """Checks the chain from the first entry, and every statement's place in it. Raises ``JournalDamaged``."""
    kept, logged = [*tasks.claims()], [claim for _, claim in tasks.logged(party)]
    try:
        claims = Claims([*kept, *logged])
        reviewed = _walk(journal, claims, period, len(kept), {claim.head for claim in logged})
    except ProtocolError as problem:
        raise JournalDamaged(f"{problem}. Nothing is run; restore the newest journal, or call the admin") from None
    if claims.unmet:
        raise JournalDamaged(
            f"the journal does not hold what this silo signed: {claims.unmet[0].name} ({len(claims.unmet)} in all). It "
            "was cut back, replaced, or restored from an old backup. Nothing is run; restore the newest journal, or "
            "call the admin"
        )
    return reviewed


def _walk(journal: Journal, claims: Claims, period: Period, kept: int, logged: set[str]) -> Reviewed:
    entries, head, logged_through = 0, EMPTY, 0
    first, last, head_then = 1, 0, EMPTY
    for one in journal.stored():
        claims.take(one.index, one.before, one.event)
        entries, head, at = one.index, one.hash, event_time(one.event)
        if one.before in logged:
            logged_through = one.index
        if at in period:
            first, last, head_then = first if last >= first else one.index, one.index, one.hash
        elif last < first and (period.until is None or at < period.until):
            first, last, head_then = one.index + 1, one.index, one.hash
    return Reviewed(entries, head, kept, len(logged), logged_through, first, last, head_then)
