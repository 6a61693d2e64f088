"""A job as the owner's policy judges it, on what is registered, answered and allowed today: action ``analyse``."""

from protocol.charter import Charter
from protocol.job_record import JobRecord
from silo_node.agent.silo import Silo, registered_dataset
from silo_node.policy.case import CodeCase, Standing
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
    yes = approved(silo, record)
    decision = silo.rules.gate.decide(facts_of_analysis(_case(silo, record, charter, yes, lead_known)))
    if isinstance(decision, Approval) and not yes:
        return Hold("code-read", READ_FIRST)
    return decision


def _case(silo: Silo, record: JobRecord, charter: Charter, yes: bool, lead_known: bool) -> CodeCase:
    asked = record.asked
    people = frozenset(person.person for person in charter.people)
    return CodeCase(
        analysis=record.job,
        bundle=asked.bundle,
        bundle_approved=yes,
        lead=record.researcher,
        purpose=asked.purpose,
        dataset=asked.dataset,
        columns=asked.columns,
        held=registered_dataset(silo.catalogue, silo.ledger, asked.dataset),
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
