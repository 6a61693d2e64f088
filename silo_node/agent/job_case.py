"""A job as the owner's policy has to judge it, action ``analyse``: it may refuse outright, and a person's yes is always
needed besides, since the outputs are exact and no policy can read code."""

from protocol.charter import Charter
from protocol.job_record import JobRecord
from silo_node.agent.silo import Silo, registered_dataset
from silo_node.policy.case import CodeCase, Standing
from silo_node.policy.facts import facts_of_analysis
from silo_node.policy.gate import Decision
from silo_node.runner.level import sandbox_level


def approved_by_owner(silo: Silo, record: JobRecord) -> bool:
    """Whether the owner approved this very code for this job, by its digest."""
    return silo.tasks.jobs.answered(record.job, "approve") == record.asked.bundle


def verdict_on_job(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> Decision:
    """What the policy says now. ``lead_known``: this silo accepted a study of the same researcher before."""
    return silo.rules.gate.decide(facts_of_analysis(_case(silo, record, charter, lead_known)))


def _case(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> CodeCase:
    asked, approved = record.asked, approved_by_owner(silo, record)
    standing = Standing(
        now=int(silo.clock().timestamp()),
        people=frozenset(person.person for person in charter.people),
        approved_by_admin=False,  # A job concerns one silo's own data: its owner alone decides.
        owner_approved=approved,
        lead_known=lead_known,
    )
    return CodeCase(
        analysis=record.job,
        bundle=asked.bundle,
        bundle_approved=approved,
        lead=record.researcher,
        purpose=asked.purpose,
        dataset=asked.dataset,
        columns=tuple(asked.columns),
        held=registered_dataset(silo.catalogue, silo.ledger, asked.dataset),
        standing=standing,
        limits=silo.rules.limits,
        sandbox=sandbox_level(),
    )
