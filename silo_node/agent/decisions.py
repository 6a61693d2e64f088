"""Whether this silo takes part, and whether its model may go: the gate's answer, and the owner's where it holds."""

from typing import Literal

from protocol.ids import as_sentence
from protocol.study_statements import StudyAccepted, StudyRefused, StudyWithdrawn
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import DatasetRefused
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Approval, Hold, Refusal

UNUSABLE = "the silo's dataset can't be used for this study; its owner knows why"
"""What others learn of a dataset problem: the full text may name a row, and stays here."""


def decide(silo: Silo, study: Study) -> bool:
    """Accepts or refuses an approved study, once; waits while a person has to decide. True if it answered.

    An owner's refusal of a study that was accepted before is a withdrawal: the next round is without this silo.
    """
    record = study.record
    refusal = silo.tasks.answered(study.id, "refuse")
    if refusal is not None and silo.name in record.accepted:
        return withdraw(silo, study, refusal)
    undecided = silo.name not in {*record.accepted, *record.refused, *record.gone}
    if not (record.stands and undecided and record.closed is None and not record.keyed):
        return False
    if refusal is not None:
        silo.voice.say(_refused(study, "owner", refusal, "owner"))
        return True
    try:
        decision = silo.rules.gate.decide(facts_of_study("accept", silo.case(study)))
    except DatasetRefused as problem:
        silo.voice.note("decision", f"refused: {problem}", study.id)
        silo.voice.say(_refused(study, "dataset", UNUSABLE, "policy"))
        return True
    match decision:
        case Approval():
            silo.voice.note("decision", f"accepted by {decision.decided_by}, on facts {decision.facts}", study.id)
            silo.voice.say(_accepted(silo, study, decision))
            silo.runner.start()
        case Refusal():
            _journal(silo, study, decision)
            silo.voice.say(_refused(study, decision.rule, decision.reason, "policy"))
        case Hold():
            return False
    return True


def may_release(silo: Silo, study: Study) -> bool:
    """Whether the policy, or the owner where it holds, lets the study's model go; an owner's refusal outranks both."""
    if silo.tasks.answered(study.id, "refuse") is not None:
        return False
    return isinstance(silo.rules.gate.decide(facts_of_study("release", silo.case(study))), Approval)


def withdraw(silo: Silo, study: Study, reason: str) -> bool:
    """Tells everyone, once, that this silo leaves a study that it accepted. True if that was still to say."""
    record = study.record
    if silo.name not in record.accepted or silo.name in record.withdrawn or record.closed is not None:
        return False
    silo.voice.say(
        Saying(
            f"{study.id}:withdrawn",
            lambda opening: StudyWithdrawn(
                type="study-withdrawn", study=study.id, reason=as_sentence(reason), **opening
            ),
        )
    )
    return True


def _journal(silo: Silo, study: Study, refusal: Refusal) -> None:
    """The whole refusal for the owner: further rules it breaks, and what Cedar said where it failed."""
    further = "".join(f"; also {breach.rule}: {breach.reason}" for breach in refusal.further)
    detail = f"; Cedar said: {refusal.detail}" if refusal.detail else ""
    silo.voice.note("decision", f"refused by {refusal.rule}: {refusal.reason}{further}{detail}", study.id)


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

    return Saying(f"{study.id}:accepted", build)


def _refused(study: Study, rule: str, reason: str, by: Literal["owner", "policy"]) -> Saying:
    def build(opening: Opening) -> StudyRefused:
        return StudyRefused(
            type="study-refused", study=study.id, rule=rule, reason=as_sentence(reason), decided_by=by, **opening
        )

    return Saying(f"{study.id}:refused", build)
