"""What the owner may answer to a study as it stands, and how an answer is kept for the node, which acts on it.

The commands and the console answer by these functions alone, so that both leave the same marks.
"""

from typing import Literal

from protocol.record import StudyRecord
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.tasks import Answer
from silo_node.errors import ConfigRefused
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Decision, Hold

Question = Literal["accept", "release"]
Choice = Literal["accept", "refuse", "withdraw", "release", "withhold", "resume"]
"""``withdraw`` is a refusal of what was accepted, ``withhold`` one of a release; the node tells them apart too."""
KEPT_AS: dict[Choice, Answer] = {
    "accept": "accept",
    "refuse": "refuse",
    "withdraw": "refuse",
    "release": "release",
    "withhold": "refuse",
}


def question_of(record: StudyRecord) -> Question:
    return "release" if record.requested else "accept"


def verdict(silo: Silo, record: StudyRecord) -> Decision | None:
    """What the policy says now of the study's open question; None before the log showed a charter."""
    follower = silo.tasks.follower()
    if follower is None or follower.charter is None:
        return None
    study = Study(record, follower.charter)
    return silo.rules.gate.decide(facts_of_study(question_of(record), silo.case(study)))


def is_due(silo: Silo, record: StudyRecord) -> bool:
    """Whether an answer of the owner may be due; the policy isn't asked."""
    if silo.tasks.halted(record.study) is not None:
        return False
    return may_resume(silo, record) or _undecided(silo, record) or _release_open(silo, record)


def choices(silo: Silo, record: StudyRecord, decision: Decision | None) -> tuple[Choice, ...]:
    """The answers that would change something now. A yes is offered only where the policy waits for one."""
    if silo.tasks.halted(record.study) is not None:
        return ()
    refused, held = silo.tasks.answered(record.study, "refuse") is not None, isinstance(decision, Hold)
    if record.closed is not None:
        if not _release_asked(silo, record):
            return ()
        yes: tuple[Choice, ...] = ("release",) if refused or (held and _release_open(silo, record)) else ()
        return yes if refused else (*yes, "withhold")
    going_on: tuple[Choice, ...] = ("resume",) if may_resume(silo, record) else ()
    if silo.name in record.accepted:
        return going_on if refused or silo.name in record.gone else (*going_on, "withdraw")
    if silo.name in {*record.refused, *record.gone} or refused:
        return ()
    return ("accept", "refuse") if held and _undecided(silo, record) else ("refuse",)


def give_answer(silo: Silo, record: StudyRecord, answer: Answer, reason: str) -> bool:
    """Keeps an owner's answer, with its entry in the journal first; False if the very same is kept already."""
    if silo.tasks.answered(record.study, answer) == reason:
        return False
    silo.voice.note("decision", f"owner: {answer}", record.study)
    silo.tasks.answer(record.study, answer, reason)
    return True


def may_resume(silo: Silo, record: StudyRecord) -> bool:
    """Whether this silo has paused the study and its owner has not yet let it go on."""
    paused = silo.name in record.paused and record.closed is None
    return paused and not silo.tasks.resumed(record.study, record.pauses[silo.name])


def let_resume(silo: Silo, record: StudyRecord) -> bool:
    """Lets a paused study go on; False if that was said already. Raises ``ConfigRefused`` if it isn't paused."""
    if silo.name not in record.paused:
        raise ConfigRefused(f"study {record.study[:12]}: this silo has not paused it; there is nothing to resume")
    if silo.tasks.resumed(record.study, record.pauses[silo.name]):
        return False
    silo.voice.note("decision", "owner: resume", record.study)
    silo.tasks.resume(record.study, record.pauses[silo.name])
    return True


def _undecided(silo: Silo, record: StudyRecord) -> bool:
    said = {*record.accepted, *record.refused, *record.gone}
    waits = record.stands and record.closed is None and not record.keyed and silo.name not in said
    return waits and not _answered(silo, record, "accept", "refuse")


def _release_asked(silo: Silo, record: StudyRecord) -> bool:
    completed = record.closed is not None and record.closed.outcome == "completed"
    return completed and record.requested and silo.name not in {*record.confirmations, *record.gone}


def _release_open(silo: Silo, record: StudyRecord) -> bool:
    return _release_asked(silo, record) and not _answered(silo, record, "release", "refuse")


def _answered(silo: Silo, record: StudyRecord, *answers: Answer) -> bool:
    return any(silo.tasks.answered(record.study, one) is not None for one in answers)
