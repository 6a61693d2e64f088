"""Whether this silo takes part, in each round anew, and whether its model may go: the gate's answer, and the owner's
where it holds. Each is in the journal, with digests of the policy's text and of the facts it was decided on."""

from typing import Literal

from protocol.ids import as_sentence
from protocol.round_record import RoundRecord
from protocol.rounds import charge_id
from protocol.study_statements import StudyAccepted, StudyRefused, StudyWithdrawn
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import DatasetRefused, StudyHalted
from silo_node.policy.facts import facts_of_round, facts_of_study
from silo_node.policy.gate import Approval, Decision, Hold, Refusal
from silo_node.policy.question import Facts

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
        facts = facts_of_study("accept", silo.case(study))
        decision = silo.rules.gate.decide(facts)
    except DatasetRefused as problem:
        silo.voice.note("decision", f"refused: {problem}", study.id)
        silo.voice.say(_refused(study, "dataset", UNUSABLE, "policy"))
        return True
    match decision:
        case Approval():
            silo.voice.note("decision", f"accepted by {decision.decided_by}{_on(decision)}", study.id)
            silo.tasks.agree(study.id, facts.sandbox)
            silo.voice.say(_accepted(silo, study, decision))
            silo.runner.start()
        case Refusal():
            silo.voice.note("decision", _in_full("refused", decision), study.id)
            silo.voice.say(_refused(study, decision.rule, decision.reason, "policy"))
        case Hold():
            return False
    return True


def may_release(silo: Silo, study: Study) -> bool:
    """Whether the policy, or the owner where it holds, lets the study's model go; an owner's refusal outranks both."""
    if silo.tasks.answered(study.id, "refuse") is not None:
        return False
    decision = silo.rules.gate.decide(facts_of_study("release", silo.case(study)))
    match decision:
        case Approval():
            silo.voice.note("decision", f"release allowed by {decision.decided_by}{_on(decision)}", study.id)
        case Refusal():
            _note_once(silo, study, f"release refused by {decision.rule}", _in_full("release refused", decision))
    return isinstance(decision, Approval)


def may_compute(silo: Silo, study: Study, current: RoundRecord) -> bool:
    """Whether the policy, as it is today, lets this silo compute the present round; not yet where a person decides.

    Raises ``StudyHalted`` where it refuses.
    """
    facts = facts_of_current(silo, study, current)
    decision, place = silo.rules.gate.decide(facts), f"round {current.index}"
    match decision:
        case Approval():
            silo.voice.note("decision", f"{place} allowed by {decision.decided_by}{_on(decision)}", study.id)
            silo.tasks.agree(study.id, facts.sandbox)
            return True
        case Hold():
            beginning = f"{place} waits for you: {decision.rule}: "
            # By the rule, since its sentences may tell the time.
            if not (silo.tasks.held(study.id) or "").startswith(beginning):
                silo.tasks.hold(study.id, beginning + decision.reason)
                silo.voice.note("decision", _in_full(f"{place} waits,", decision), study.id)
            return False
        case Refusal():
            silo.voice.note("decision", _in_full(f"{place} refused", decision), study.id)
            raise StudyHalted(f"{decision.rule}: {decision.reason}")


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


def facts_of_current(silo: Silo, study: Study, current: RoundRecord) -> Facts:
    """The question whether this silo computes the present round, on what is so today."""
    case = silo.case(study)
    # A run that crashed left its charge in the ledger: it must not count against what is left a second time.
    charged = silo.ledger.charge(charge_id(study.id, current.index)) is not None
    return facts_of_round(case, current.index, len(current.opened.silos), charged)


def _note_once(silo: Silo, study: Study, beginning: str, what: str) -> None:
    """For what is decided again at every step, on ever later facts, until something changes."""
    if not silo.voice.journal.named(study.id, "decision", beginning):
        silo.voice.note("decision", what, study.id)


def _in_full(what: str, decision: Hold | Refusal) -> str:
    """The whole of it for the owner: further rules that stand in the way, and what Cedar said where it failed."""
    further = "".join(f"; also {breach.rule}: {breach.reason}" for breach in decision.further)
    detail = f"; Cedar said: {decision.detail}" if isinstance(decision, Refusal) and decision.detail else ""
    # The digests first: what is too long for a journal's line is cut at its end.
    return f"{what} by {decision.rule}{_on(decision)}: {decision.reason}{further}{detail}"


def _on(decision: Decision) -> str:
    """The digests of the policy's text and of the facts that it was decided on."""
    facts = f" on facts {decision.facts}" if decision.facts else ""
    return f" under policy {decision.policy}{facts}"


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
