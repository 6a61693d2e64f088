"""One job as its page shows it: what is asked, the policy's verdict, the code, the outputs that are held, answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol import canonical
from protocol.charter import Charter
from protocol.job_record import JobRecord
from silo_node.agent.job_answering import choices, standing
from silo_node.agent.job_case import explained
from silo_node.agent.job_memory import JobAnswer
from silo_node.agent.job_steps import is_researcher
from silo_node.agent.silo import Silo
from silo_node.console.code_view import CodeView, OutputsView, code_view, outputs_view
from silo_node.console.desk import Desk
from silo_node.console.signing_preview import signed_job_fields
from silo_node.console.verdict_view import Headlines, Verdict, verdict_view
from silo_node.errors import JobRefused, PolicyRefused
from silo_node.policy.explanation import Explanation
from silo_node.policy.gate import Refusal

HEADLINES: Final = Headlines(
    allowed="You approved this code, and your policy has nothing against it.",
    held="Your policy refuses nothing here. Code always waits for a person who read it.",
)


@dataclass(frozen=True, slots=True)
class JobView:
    """All of it. ``shown`` names what was shown: an answer that brings another name was made on an old page."""

    record: JobRecord
    standing: str
    verdict: Verdict | None
    code: CodeView
    outputs: OutputsView | None
    trouble: str
    choices: tuple[JobAnswer, ...]
    signed: Mapping[JobAnswer, Mapping[str, str]]
    answered: tuple[JobAnswer, str] | None
    shown: str

    def digest(self, choice: JobAnswer) -> str:
        """What an answer is about: outputs where there are any to let go or to discard, else the code."""
        if self.outputs is not None and choice in ("release", "discard"):
            return self.outputs.run.digest
        return self.record.asked.bundle


def job_view(desk: Desk, record: JobRecord) -> JobView:
    silo, jobs = desk.silo, desk.reading.jobs()
    broken, charter = jobs.broken.get(record.job), _charter(silo)
    told = _told(desk, record, charter) if record.stage in ("submitted", "accepted") else None
    verdict = None if told is None else verdict_view(told, HEADLINES)
    code = code_view(silo, jobs, record)
    outputs, trouble = _outputs(silo, record)
    open_ = _open(silo, record, told, code, outputs) if broken is None and _asks_rightly(record, charter) else ()
    signed, answered = {choice: signed_job_fields(silo, record, choice) for choice in open_}, _answered(silo, record)
    return JobView(
        record=record,
        standing=_standing(silo, record, broken, charter),
        verdict=verdict,
        code=code,
        outputs=outputs,
        trouble=trouble,
        choices=open_,
        signed=signed,
        answered=answered,
        shown=_name(record, verdict, outputs, answered, signed),
    )


def _charter(silo: Silo) -> Charter | None:
    follower = silo.tasks.follower()
    return None if follower is None else follower.charter


def _told(desk: Desk, record: JobRecord, charter: Charter | None) -> Explanation | str | None:
    """A text where the policy can't be used."""
    if charter is None:
        return None
    known = desk.studies().lead_known(record.researcher, desk.silo.name, besides="")
    try:
        return explained(desk.silo, record, charter, known)
    except PolicyRefused as problem:
        return str(problem)


def _outputs(silo: Silo, record: JobRecord) -> tuple[OutputsView | None, str]:
    """What is held, or why it can't be shown."""
    if record.stage != "accepted":
        return None, ""
    try:
        held = silo.files.jobs.held(record.job)
    except JobRefused as problem:
        return None, str(problem)
    return (None if held is None else outputs_view(held)), ""


def _asks_rightly(record: JobRecord, charter: Charter | None) -> bool:
    return charter is not None and is_researcher(record, charter)


def _open(
    silo: Silo, record: JobRecord, told: Explanation | str | None, code: CodeView, outputs: OutputsView | None
) -> tuple[JobAnswer, ...]:
    """A yes is open only to what the page shows whole, and an approval only where the policy waits for one."""
    try:
        open_ = choices(silo, record)
    except JobRefused:  # the outputs are damaged
        return ("discard",)
    waits = isinstance(told, Explanation) and not isinstance(told.decision, Refusal) and not code.problem
    shown = outputs is not None and outputs.whole
    closed = {*(() if waits else ("approve",)), *(() if shown else ("release",))}
    return tuple(choice for choice in open_ if choice not in closed)


def _standing(silo: Silo, record: JobRecord, broken: str | None, charter: Charter | None) -> str:
    if broken is not None:
        return f"the log of this job breaks a rule: {broken}"
    if not _asks_rightly(record, charter):
        return f"{record.researcher} is no researcher under the charter in force, so nothing is done"
    return standing(silo, record)


def _answered(silo: Silo, record: JobRecord) -> tuple[JobAnswer, str] | None:
    """The owner's newest answer to the open question, with its digest or reason."""
    asked: dict[str, tuple[JobAnswer, ...]] = {"submitted": ("approve", "refuse"), "accepted": ("release", "discard")}
    for answer in asked.get(record.stage, ()):
        detail = silo.tasks.jobs.answered(record.job, answer)
        if detail is not None:
            return answer, detail
    return None


def _name(
    record: JobRecord,
    said: Verdict | None,
    outputs: OutputsView | None,
    answered: tuple[JobAnswer, str] | None,
    signed: Mapping[JobAnswer, Mapping[str, str]],
) -> str:
    """A digest of all that an answer rests on."""
    value = {
        "job": record.job,
        "stage": record.stage,
        "verdict": [] if said is None else said.rests_on,
        "signed": {choice: dict(fields) for choice, fields in signed.items()},
        "outputs": "" if outputs is None else outputs.run.digest,
        "answered": list(answered or ()),
    }
    return canonical.digest(canonical.encode(value))
