"""What the owner declares of budgets: caps, and domains of other persons. The ledger binds; the log shows it to all.

Each statement is made from the ledger's own entry and names its digest, so that a ledger restored from before it is
noticed, and what was declared can be read back from the log (``silo_node.agent.recovering``).
"""

from collections.abc import Iterator

from protocol.ids import as_sentence
from protocol.membership_statements import CapDeclared, DomainDeclared
from silo_node.agent.silo import Silo
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import ConfigRefused, HubRefused, HubUnreachable
from silo_node.ledger.budget import OtherPersons, Refused
from silo_node.ledger.caps import Cap, Capped


def set_cap(silo: Silo, cap: Cap, reason: str) -> Capped:
    """Caps a dataset, study or recipient, or lifts the cap: in the journal, then in the ledger. Raises
    ``ConfigRefused``."""
    picos = "lifted" if cap.picos is None else f"{cap.picos} picos"
    silo.voice.note("decision", f"owner: cap on {cap} in domain {cap.domain}: {picos}: {reason}", None)
    capped = silo.ledger.cap(cap)
    if isinstance(capped, Refused):
        raise ConfigRefused(str(capped))
    return capped


def try_to_declare(silo: Silo) -> bool:
    """Publishes now what was declared, if the hub takes it; else the node does so later."""
    try:
        publish_declarations(silo)
    except (HubRefused, HubUnreachable):
        return False
    return True


def publish_declarations(silo: Silo) -> None:
    """Says each cap and declaration of the ledger that the log does not hold yet, oldest first."""
    for saying in _sayings(silo):
        kept = silo.tasks.kept(saying.name)
        if kept is None or not silo.tasks.in_log(kept.wire):
            silo.voice.say(saying)


def _sayings(silo: Silo) -> Iterator[Saying]:
    for entry in silo.ledger.declared():
        if entry.cap is not None:
            yield _capped(entry.cap, entry.head.digest)
        elif entry.others is not None:
            yield _beside(entry.domain, entry.others, entry.head.digest)


def _capped(cap: Cap, head: str) -> Saying:
    def build(opening: Opening) -> CapDeclared:
        return CapDeclared(
            type="cap-declared",
            domain=cap.domain,
            scope=cap.scope,
            name=cap.name,
            picos=cap.picos,
            ledger_head=head,
            **opening,
        )

    return Saying(f"declared:{head}", build)


def _beside(domain: str, others: OtherPersons, head: str) -> Saying:
    def build(opening: Opening) -> DomainDeclared:
        return DomainDeclared(
            type="domain-declared",
            domain=domain,
            beside=others.beside,
            reason=as_sentence(others.reason),
            ledger_head=head,
            **opening,
        )

    return Saying(f"declared:{head}", build)
