"""Whether this silo's own files remember what this silo said: an old backup must refund nothing.

At the start ledger and journal are held against everything that was ever kept for sending; from then on each entry
of the log under this silo's key is held against what was kept. So whichever file is old, the newest gives it away.
"""

from collections.abc import Iterable
from itertools import chain

from protocol.follow import Verified
from protocol.membership_statements import CapDeclared, DomainDeclared, Enrolment
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.signing import Signed
from silo_node.agent.review import review
from silo_node.agent.silo import Silo
from silo_node.errors import HubDistrusted, JournalDamaged, LedgerDamaged


def check_ledger(silo: Silo) -> None:
    """Raises ``LedgerDamaged`` if this silo signed a ledger head that its ledger does not hold now."""
    for signed in chain(silo.tasks.outbox(), silo.tasks.own_of_budgets(silo.identity.party)):
        head = head_signed(signed)
        if head is not None and not silo.ledger.extends(head):
            raise LedgerDamaged(_restored(signed))


def check_newest_head(silo: Silo) -> None:
    """``check_ledger`` for what was signed last: asked before every charge, of a node that runs for months."""
    signed = silo.tasks.newest_head()
    if signed is not None and not silo.ledger.extends(head_signed(signed) or ""):
        raise LedgerDamaged(_restored(signed))


def head_signed(signed: Signed) -> str | None:
    """The ledger's head that a statement of this silo names."""
    body = signed.body
    return body.ledger_head if isinstance(body, SpendReserved | SpendSettled | CapDeclared | DomainDeclared) else None


def _restored(signed: Signed) -> str:
    body = signed.body
    of = f" of round {body.round}" if isinstance(body, SpendReserved | SpendSettled) else ""
    return (
        f"the ledger does not hold what this silo signed as {body.type}{of}: it was restored from an old backup, or "
        "replaced. Nothing is run. Restore the newest ledger if you have it; else stop the node and rebuild what is "
        "missing from this silo's own signed statements: consortia-silo ledger recover"
    )


def check_journal(silo: Silo) -> None:
    """Raises ``JournalDamaged`` if an entry was changed, or one that this silo signed is not there now."""
    review(silo.voice.journal, silo.tasks, silo.identity.party)


def check_promises(silo: Silo, promised: Iterable[tuple[int, Signed]]) -> None:
    """Raises ``HubDistrusted`` for a statement that the hub said it recorded, and that its log does not hold there.

    ``promised`` before the poll that read the log to its end: the hub appends before it answers.
    """
    for index, signed in promised:
        if not silo.tasks.fulfil(index, signed.wire):
            raise HubDistrusted(
                f"the hub said that it recorded this silo's {signed.body.type} as leaf {index}, and its log does not "
                "hold it there. Nothing more is done for this hub; call the admin"
            )


def check_own_words(silo: Silo, entries: Iterable[Verified]) -> None:
    """Raises ``JournalDamaged`` for a logged statement under this silo's key that this silo does not remember.

    Then this folder is a restored snapshot, or a copy runs elsewhere: going on could sign or charge twice.
    """
    for entry in entries:
        body = entry.signed.body
        mine = body.issuer == silo.identity.party and not isinstance(body, Enrolment)
        if mine and not silo.tasks.said(entry.signed.wire):
            raise JournalDamaged(
                f"log entry {entry.index} ({body.type}) is signed by this silo, and this silo does not remember it: "
                "it was restored from an old snapshot, or its key is used elsewhere. Nothing is run; call the admin"
            )
