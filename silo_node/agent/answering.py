"""What the owner may answer to a study as it stands, and how an answer is kept for the node, which acts on it.

The commands and the console answer by these functions alone, so that both leave the same marks.
"""

from typing import Literal

from protocol.record import StudyRecord
from silo_node.agent.decisions import facts_of_current
from silo_node.agent.silo import Silo
from silo_node.agent.studies import Studies
from silo_node.agent.study import Study
from silo_node.agent.tasks import Answer, Decided
from silo_node.errors import ConfigRefused
from silo_node.policy.explanation import Explanation, explanation_of
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Decision, Hold
from silo_node.policy.question import Facts

Question = Literal["accept", "release"]
Choice = Literal["accept", "compute", "refuse", "withdraw", "release", "withhold", "resume"]
"""``compute`` is a yes to the rounds of a study that was accepted, ``withdraw`` a refusal of what was accepted,
``withhold`` one of a release; the node tells them apart too."""
KEPT_AS: dict[Choice, Answer] = {
    "accept": "accept",
    "compute": "accept",
    "refuse": "refuse",
    "withdraw": "refuse",
    "release": "release",
    "withhold": "refuse",
}


def question_of(record: StudyRecord) -> Question:
    return "release" if record.requested else "accept"


def verdict(silo: Silo, record: StudyRecord) -> Decision | None:
    """What the policy says now of the study's open question; None before the log showed a charter."""
    facts = _facts(silo, record)
    return None if facts is None else silo.rules.gate.decide(facts)


def explained(silo: Silo, record: StudyRecord) -> Explanation | None:
    """As ``verdict``, with what each rule says by itself."""
    facts = _facts(silo, record)
    return None if facts is None else explanation_of(silo.rules.gate.document, facts)


def _facts(silo: Silo, record: StudyRecord) -> Facts | None:
    follower = silo.tasks.follower()
    if follower is None or follower.charter is None:
        return None
    known = Studies(silo.tasks.entries()).lead_known(record.contract.lead, silo.name, record.study)
    study = Study(record, follower.charter, known)
    if record.current is not None and _round_held(silo.name, record, silo.tasks.decided()):
        return facts_of_current(silo, study, record.current)
    return facts_of_study(question_of(record), silo.case(study))


def is_due(silo: str, record: StudyRecord, decided: Decided) -> bool:
    """Whether an answer of ``silo``'s owner may be due; the policy isn't asked."""
    if record.study in decided.halted:
        return False
    return (
        _may_resume(silo, record, decided)
        or _undecided(silo, record, decided)
        or _round_held(silo, record, decided)
        or _release_open(silo, record, decided)
    )


def choices(silo: Silo, record: StudyRecord, decision: Decision | None) -> tuple[Choice, ...]:
    """The answers that would change something now. A yes is offered only where the policy waits for one."""
    decided, name, held = silo.tasks.decided(), silo.name, isinstance(decision, Hold)
    refused = (record.study, "refuse") in decided.answers
    if record.study in decided.halted:
        return ()
    if record.closed is not None:
        if not _release_asked(name, record):
            return ()
        yes: tuple[Choice, ...] = ("release",) if refused or (held and _release_open(name, record, decided)) else ()
        return yes if refused else (*yes, "withhold")
    going_on: tuple[Choice, ...] = ("resume",) if _may_resume(name, record, decided) else ()
    if name in record.accepted:
        if held and _round_held(name, record, decided):
            going_on = (*going_on, "compute")
        return going_on if refused or name in record.gone else (*going_on, "withdraw")
    if name in {*record.refused, *record.gone} or refused:
        return ()
    return ("accept", "refuse") if held and _undecided(name, record, decided) else ("refuse",)


def give_answer(silo: Silo, record: StudyRecord, answer: Answer, reason: str) -> bool:
    """Keeps an owner's answer, with its entry in the journal first; False if the very same is kept already.

    A yes that was given before a round was held is not a yes to that round.
    """
    if silo.tasks.answered(record.study, answer) == reason and silo.tasks.held(record.study) is None:
        return False
    silo.voice.note("decision", f"owner: {answer}", record.study)
    silo.tasks.answer(record.study, answer, reason)
    return True


def let_resume(silo: Silo, record: StudyRecord) -> bool:
    """Lets a paused study go on; False if that was said already. Raises ``ConfigRefused`` if it isn't paused."""
    if silo.name not in record.paused:
        raise ConfigRefused(f"study {record.study[:12]}: this silo has not paused it; there is nothing to resume")
    if silo.tasks.resumed(record.study, record.pauses[silo.name]):
        return False
    silo.voice.note("decision", "owner: resume", record.study)
    silo.tasks.resume(record.study, record.pauses[silo.name])
    return True


def _may_resume(silo: str, record: StudyRecord, decided: Decided) -> bool:
    """Whether the silo has paused the study and its owner has not yet let it go on."""
    paused = silo in record.paused and record.closed is None
    return paused and (record.study, record.pauses[silo]) not in decided.resumed


def _round_held(silo: str, record: StudyRecord, decided: Decided) -> bool:
    """Whether a round of a study that the silo accepted waits for its owner."""
    going_on = silo in record.accepted and silo not in record.gone and record.closed is None
    return going_on and record.study in decided.held


def _undecided(silo: str, record: StudyRecord, decided: Decided) -> bool:
    waits = record.closed is None and not record.keyed and record.stands
    said = silo in record.accepted or silo in record.refused or silo in record.gone
    return waits and not said and not _answered(record, decided, "accept", "refuse")


def _release_asked(silo: str, record: StudyRecord) -> bool:
    completed = record.closed is not None and record.closed.outcome == "completed"
    return completed and record.requested and silo not in {*record.confirmations, *record.gone}


def _release_open(silo: str, record: StudyRecord, decided: Decided) -> bool:
    return _release_asked(silo, record) and not _answered(record, decided, "release", "refuse")


def _answered(record: StudyRecord, decided: Decided, *answers: Answer) -> bool:
    return any((record.study, answer) in decided.answers for answer in answers)
