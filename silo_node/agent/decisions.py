"""Whether this silo takes part, and whether its model may go: the gate's answer, and the owner's where it holds."""

from typing import Literal

from protocol.statements import StudyAccepted, StudyRefused, StudyWithdrawn
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import DatasetRefused
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Approval, Hold, Refusal

UNUSABLE = "the silo's dataset can't be used for this study; its owner knows why"
"""What others learn of a dataset problem: the full text may name a row, and stays here."""


def decide(silo: Silo, study: Study) -> bool:
    """Accepts or refuses an approved study, once; waits while a person has to decide. True if it answered."""
    record = study.record
    undecided = silo.name not in record.accepted and silo.name not in record.refused
    if not (record.approvals and undecided and record.closed is None and not record.keyed):
        return False
    refusal = silo.tasks.answered(study.id, "refuse")
    if refusal is not None:
        silo.voice.say(_refused(study, "owner", refusal, "owner"))
        return True
    try:
        decision = silo.gate.decide(facts_of_study("accept", silo.case(study)))
    except DatasetRefused as problem:
        silo.voice.note("decision", f"refused: {problem}"[:2000], study.id)
        silo.voice.say(_refused(study, "dataset", UNUSABLE, "policy"))
        return True
    match decision:
        case Approval():
            silo.voice.note("decision", f"accepted by {decision.decided_by}, on facts {decision.facts}", study.id)
            silo.voice.say(_accepted(silo, study, decision))
            silo.runner.start()
        case Refusal():
            silo.voice.say(_refused(study, decision.rule, decision.reason, "policy"))
        case Hold():
            return False
    return True


def may_release(silo: Silo, study: Study) -> bool:
    """Whether the policy, or the owner where it holds, lets the study's model go to its recipients."""
    return isinstance(silo.gate.decide(facts_of_study("release", silo.case(study))), Approval)


def withdraw(silo: Silo, study: Study, reason: str) -> None:
    """Tells everyone, once, that this silo leaves the study."""
    if silo.name not in study.record.withdrawn and study.record.closed is None:
        silo.voice.say(
            Saying(
                f"{study.id}:withdrawn",
                study.id,
                lambda opening: StudyWithdrawn(type="study-withdrawn", study=study.id, reason=reason[:2000], **opening),
            )
        )


def _accepted(silo: Silo, study: Study, approval: Approval) -> Saying:
    dataset = silo.catalogue.get(study.record.contract.data.dataset)

    def build(opening: Opening) -> StudyAccepted:
        return StudyAccepted(
            type="study-accepted",
            study=study.id,
            policy=approval.policy,
            dataset_commitment=dataset.commitment,
            decided_by=approval.decided_by,
            **opening,
        )

    return Saying(f"{study.id}:accepted", study.id, build)


def _refused(study: Study, rule: str, reason: str, by: Literal["owner", "policy"]) -> Saying:
    def build(opening: Opening) -> StudyRefused:
        return StudyRefused(
            type="study-refused", study=study.id, rule=rule, reason=reason[:2000], decided_by=by, **opening
        )

    return Saying(f"{study.id}:refused", study.id, build)
