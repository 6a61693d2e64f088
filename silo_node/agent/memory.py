"""Whether this silo's own files remember what the log says that it said: an old backup must refund nothing."""

from collections.abc import Iterable

from protocol.follow import Verified
from protocol.statements import Enrolment, SpendReserved, SpendSettled
from silo_node.agent.silo import Silo
from silo_node.errors import JournalDamaged, LedgerDamaged


def check_ledger(silo: Silo) -> None:
    """Raises ``LedgerDamaged`` if the log holds a ledger head of this silo's that its ledger does not."""
    held = {
        entry.head.digest
        for domain in {dataset.domain for dataset in silo.catalogue.list()}
        for entry in silo.ledger.history(domain)
    }
    for entry in silo.tasks.entries():
        body = entry.signed.body
        if not isinstance(body, SpendReserved | SpendSettled) or body.issuer != silo.identity.party:
            continue
        if body.ledger_head not in held:
            raise LedgerDamaged(
                f"the ledger does not hold the charge that this silo logged as entry {entry.index}: it was restored "
                "from an old backup, or replaced. Nothing is run; restore the newest ledger, or call the admin"
            )


def check_journal(silo: Silo) -> None:
    """Raises ``JournalDamaged`` if this silo logged a statement on top of a journal entry that is not there now."""
    held = silo.voice.journal_heads()
    for entry in silo.tasks.entries():
        body = entry.signed.body
        if body.issuer == silo.identity.party and body.journal_head not in held:
            raise JournalDamaged(
                f"the journal does not hold what stood before this silo's log entry {entry.index} ({body.type}): "
                "it was restored from an old backup, or replaced. Nothing is run; restore the newest journal, or call "
                "the admin"
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
