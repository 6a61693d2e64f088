"""What the owner may answer to a job as it stands, and how an answer is kept for the node, which acts on it.

The commands and the console answer by these functions alone, so that both leave the same marks. A yes names by digest
what was looked at: code for an approval, outputs for a release.
"""

from typing import Final

from protocol.ids import as_sentence, timestamp
from protocol.job_bundle import CodeBundle
from protocol.job_record import JobRecord, Stage
from silo_node.agent.job_files import HeldRun
from silo_node.agent.job_memory import JobAnswer
from silo_node.agent.silo import Silo
from silo_node.errors import JobRefused

EXACT: Final = "These outputs are EXACT: no noise, no epsilon covers them. Your look at them is the only guard."


def choices(silo: Silo, record: JobRecord) -> tuple[JobAnswer, ...]:
    """The answers that would change something now; the policy isn't asked."""
    if not record.open_at(timestamp(silo.clock())):
        return ()
    memory = silo.tasks.jobs
    if record.stage == "submitted":
        yes = memory.answered(record.job, "approve") == record.asked.bundle
        no = memory.answered(record.job, "refuse") is not None
        return (*_unless(yes, "approve"), *_unless(no, "refuse"))
    held, let_go = silo.files.jobs.held(record.job), memory.answered(record.job, "release")
    discarded = memory.answered(record.job, "discard") is not None
    return (*_unless(held is None or let_go == held.digest, "release"), *_unless(discarded, "discard"))


def is_due(silo: Silo, record: JobRecord) -> bool:
    """Whether an answer of the owner is due: to code that nobody answered, or to outputs that are held."""
    if not record.open_at(timestamp(silo.clock())):
        return False
    memory = silo.tasks.jobs
    if record.stage == "submitted":
        return not any(memory.answered(record.job, answer) is not None for answer in ("approve", "refuse"))
    if any(memory.answered(record.job, answer) is not None for answer in ("release", "discard")):
        return False
    return silo.files.jobs.holds(record.job)


def approve(silo: Silo, record: JobRecord, bundle: str) -> None:
    """``bundle``: the digest of the code that the owner read. Raises ``JobRefused`` for another."""
    if bundle != record.asked.bundle:
        raise JobRefused("--digest: this is not the digest of the job's code; it stands below: job read")
    code_of(silo, record)
    _decidable(silo, record, "submitted")
    silo.voice.note("decision", f"owner: approve job {record.job[:12]}, code {record.asked.bundle}", None)
    silo.tasks.jobs.answer(record.job, "approve", record.asked.bundle)


def refuse(silo: Silo, record: JobRecord, reason: str) -> None:
    """Raises ``JobRefused`` for a job that is answered or over."""
    _decidable(silo, record, "submitted")
    silo.voice.note("decision", f"owner: refuse job {record.job[:12]}", None)
    silo.tasks.jobs.answer(record.job, "refuse", as_sentence(reason))


def release(silo: Silo, record: JobRecord, outputs: str) -> None:
    """``outputs``: the digest of those that the owner looked at. Raises ``JobRefused`` for others."""
    _decidable(silo, record, "accepted")
    if outputs != outputs_of(silo, record).digest:
        raise JobRefused("--digest: not the digest of the outputs that are held; it stands below: job outputs")
    silo.voice.note("decision", f"owner: release of job {record.job[:12]}, outputs {outputs}", None)
    silo.tasks.jobs.answer(record.job, "release", outputs)


def discard(silo: Silo, record: JobRecord, reason: str) -> None:
    """Raises ``JobRefused`` for a job that is not approved, or whose outputs went."""
    if record.stage != "accepted":
        raise JobRefused(f"job {record.job[:12]} is {record.stage}: only an approved job is discarded")
    silo.voice.note("decision", f"owner: discard job {record.job[:12]}", None)
    silo.tasks.jobs.answer(record.job, "discard", as_sentence(reason))


def code_of(silo: Silo, record: JobRecord) -> CodeBundle:
    """The code as it was fetched. Raises ``JobRefused`` where it isn't here, or was changed on the disk."""
    bundle = silo.files.jobs.bundle(record.job, record.asked.bundle)
    if bundle is None:
        raise JobRefused(f"job {record.job[:12]}: its code is not here yet; the running node fetches it")
    return bundle


def outputs_of(silo: Silo, record: JobRecord) -> HeldRun:
    """What the last run gave. Raises ``JobRefused`` where nothing is held, or it is damaged."""
    held = silo.files.jobs.held(record.job)
    if held is None and record.stage == "released":
        raise JobRefused(f"job {record.job[:12]}: its outputs were released; this silo keeps them no more")
    if held is None:
        raise JobRefused(f"job {record.job[:12]}: no outputs are held; it runs with: job run {record.job[:12]}")
    return held


def standing(silo: Silo, record: JobRecord) -> str:
    """Where a job stands at this silo, in a few words."""
    memory = silo.tasks.jobs
    if record.stage in ("submitted", "accepted") and not record.open_at(timestamp(silo.clock())):
        return f"over since {record.asked.expires_at}"
    if record.stage == "submitted":
        yes, no = memory.answered(record.job, "approve"), memory.answered(record.job, "refuse")
        return "waiting for you" if yes is None and no is None else "answered; the running node says so"
    if record.stage == "accepted":
        if memory.answered(record.job, "release") is not None:
            return "release noted; the running node sends it"
        return _run(silo, record)
    return record.stage + (f": {record.reason}" if record.reason else "")


def _run(silo: Silo, record: JobRecord) -> str:
    try:
        held = silo.files.jobs.held(record.job)
    except JobRefused:  # one damaged file must not hide the other jobs
        return "run, but its held outputs are damaged; run it again"
    return "approved, not run yet" if held is None else f"run {held.outcome}, outputs held for you to look at"


def _decidable(silo: Silo, record: JobRecord, stage: Stage) -> None:
    if record.stage != stage or not record.open_at(timestamp(silo.clock())):
        raise JobRefused(f"job {record.job[:12]}: {standing(silo, record)}; this can't be decided now")


def _unless(fact: bool, answer: JobAnswer) -> tuple[JobAnswer, ...]:
    return () if fact else (answer,)
