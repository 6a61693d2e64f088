"""A job as the owner's policy judges it, on what is registered, answered and allowed today: action ``analyse``."""

from dataclasses import replace

from protocol.charter import Charter
from protocol.job_record import JobRecord
from silo_node.agent.silo import Silo, registered_dataset
from silo_node.ledger.caps import Use
from silo_node.policy.case import CodeCase, Standing
from silo_node.policy.explanation import Explanation, explanation_of
from silo_node.policy.facts import facts_of_analysis
from silo_node.policy.gate import Approval, Decision, Hold
from silo_node.runner.level import sandbox_level

READ_FIRST = "reviewed code waits for a person, whatever the policy says: read it, and approve its digest"


def approved(silo: Silo, record: JobRecord) -> bool:
    """Whether the owner approved this very bundle."""
    return silo.tasks.jobs.answered(record.job, "approve") == record.asked.bundle


def judge(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> Decision:
    """What the policy says now. It may refuse; an approval of its own, without a person's, is a hold.

    lead_known: this silo accepted a study of the same researcher before.
    """
    decision = silo.rules.gate.decide(facts_of_analysis(_case(silo, record, charter, lead_known)))
    return _read_first(decision, approved(silo, record))


def explained(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> Explanation:
    """As ``judge``, with what each rule says by itself."""
    told = explanation_of(silo.rules.gate.document, facts_of_analysis(_case(silo, record, charter, lead_known)))
    return replace(told, decision=_read_first(told.decision, approved(silo, record)))


def _read_first(decision: Decision, yes: bool) -> Decision:
    return Hold("code-read", READ_FIRST) if isinstance(decision, Approval) and not yes else decision


def _case(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> CodeCase:
    asked, yes = record.asked, approved(silo, record)
    people = frozenset(person.person for person in charter.people)
    return CodeCase(
        analysis=record.job,
        bundle=asked.bundle,
        bundle_approved=yes,
        lead=record.researcher,
        purpose=asked.purpose,
        dataset=asked.dataset,
        columns=asked.columns,
        held=registered_dataset(silo.catalogue, silo.ledger, Use(asked.dataset, record.job, (record.researcher,))),
        standing=Standing(
            now=int(silo.clock().timestamp()),
            people=people,
            approved_by_admin=False,  # A job concerns one silo's own data: its owner alone decides.
            owner_approved=yes,
            lead_known=lead_known,
        ),
        limits=silo.rules.limits,
        sandbox=sandbox_level(),
    )
