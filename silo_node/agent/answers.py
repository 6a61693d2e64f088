"""What the owner sees of the studies that name this silo, and where an answer is due."""

from protocol.record import StudyRecord
from silo_node.agent.silo import Silo
from silo_node.agent.studies import Studies
from silo_node.agent.study import Study
from silo_node.errors import ConfigRefused
from silo_node.ledger.budget import Balance, Refused
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Approval, Hold


def studies_of(silo: Silo) -> list[StudyRecord]:
    """Every study this silo has read of, in the order of the log."""
    return list(Studies(silo.tasks.entries()).records.values())


def find(silo: Silo, prefix: str) -> StudyRecord:
    """The one study whose id begins with ``prefix``. Raises ``ConfigRefused`` for none or several."""
    found = [record for record in studies_of(silo) if record.study.startswith(prefix)]
    if len(found) != 1 or len(prefix) < 8:
        raise ConfigRefused(f"study {prefix}: {len(found)} studies here begin so; give 8 or more characters of one id")
    return found[0]


def standing(silo: Silo, record: StudyRecord) -> str:
    """Where a study stands at this silo, in a few words."""
    halted = silo.tasks.halted(record.study)
    if halted is not None:
        return f"halted here: {halted}"
    if record.closed is not None:
        asked = record.requested and silo.name not in record.confirmations
        return f"{record.closed.outcome}" + (", release asked for: consortia-silo study release" if asked else "")
    if silo.name in record.withdrawn:
        return "withdrawn"
    if silo.name in record.refused:
        return "refused"
    if silo.name in record.suspended:
        return "suspended: the others went on without this silo"
    if silo.name in record.paused:
        return "paused: rounds came to nothing; look at the journal, then: consortia-silo study resume"
    if silo.name in record.accepted:
        held = silo.tasks.held(record.study)
        if held is not None:
            return held
        rounds = record.complete_through + 1
        return f"accepted, {rounds} rounds done" if record.keyed else "accepted, waiting for the others"
    if not record.stands:
        needed = record.charter.threshold
        return f"waiting for admins: {len(record.approved_by)} of the {needed} that are needed approve"
    return _verdict(silo, record)


def under_way(silo: Silo, record: StudyRecord) -> str | None:
    """How many chunks of the present round this silo has sent or fetched, in a few words; None between the two."""
    current = record.current
    if current is None or current.frozen is None or silo.tasks.halted(record.study) is not None:
        return None
    total, place = record.layout(current).chunks, f"round {current.index} attempt {current.attempt}"
    if current.served is not None:
        if silo.files.newest_state(record.study) >= current.index or silo.name not in current.keying.silos:
            return None
        if current.voided is not None or silo.tasks.sum_distrusted(record.study, current.index):
            return f"{place}: the sum did not verify"
        if silo.name in current.signed:
            given = f"{len(current.revealed)} of {record.contract.schedule.quorum} silos gave their shares"
            return f"{place}: the sum is checked and signed, {given}"
        return f"{place}: {silo.files.sum_chunks(record.study, current.index)}/{total} chunks of the sum fetched"
    if silo.name not in current.frozen.ready or silo.name in current.uploads:
        return None
    sent = silo.voice.chunks_sent(record.study, current.index, current.attempt, total)
    return f"{place}: {sent}/{total} sealed chunks sent"


def balances(silo: Silo) -> list[Balance]:
    """Where each privacy domain of the registered datasets stands."""
    found = []
    for name in sorted({dataset.domain for dataset in silo.catalogue.list()}):
        balance = silo.ledger.balance(name)
        if isinstance(balance, Refused):
            raise ConfigRefused(str(balance))
        found.append(balance)
    return found


def budget_values(balance: Balance) -> dict[str, str | float | int]:
    """A balance for scripts; picos are 1e-12 of Renyi divergence at the domain's order."""
    domain = balance.domain
    return {
        "domain": domain.name,
        "unit": domain.unit,
        "epsilon_cap": domain.epsilon,
        "delta": domain.delta,
        "order": domain.order,
        "cap_picos": domain.cap_picos,
        "reserved_picos": balance.reserved_picos,
        "settled_picos": balance.settled_picos,
        "epsilon_spent": balance.epsilon_spent,
    }


def bytes_moved(silo: Silo) -> dict[str, int]:
    """Bytes of everything that left, by the journal, and of the sums that were served to this silo."""
    sent = sum(entry.event.size for entry in silo.voice.journal.entries())
    fetched = 0
    for record in studies_of(silo):
        for past in record.rounds.values():
            if past.served is not None and silo.name in past.keying.silos:
                layout, terms = record.layout(past), len(past.served.survivors)
                fetched += sum(layout.sum_chunk_bytes(chunk, terms) for chunk in range(layout.chunks))
    return {"bytes_up": sent, "bytes_down": fetched}


def _verdict(silo: Silo, record: StudyRecord) -> str:
    follower = silo.tasks.follower()
    if follower is None:
        return "waiting for the node to run"
    known = Studies(silo.tasks.entries()).lead_known(record.contract.lead, silo.name, record.study)
    decision = silo.rules.gate.decide(facts_of_study("accept", silo.case(Study(record, follower.in_force, known))))
    if isinstance(decision, Approval):
        return "the policy allows it"
    said = f"{decision.rule}: {decision.reason}"
    return f"waits for you (consortia-silo study accept, or refuse): {said}" if isinstance(decision, Hold) else said
