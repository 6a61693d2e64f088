"""What the running node does about jobs: fetches code, answers for the owner, sends outputs that the owner let go.

It never runs anything: that is the owner's own command (``silo_node.agent.job_running``). It releases only what the
owner looked at, by the digest that the owner's release names.
"""

import base64
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from protocol.canonical import digest
from protocol.charter import Charter
from protocol.errors import BadSignature, ProtocolError
from protocol.ids import as_sentence, person_party, timestamp
from protocol.job_bundle import CodeBundle, read_bundle
from protocol.job_outputs import SALT_BYTES, bundle_context, output_commitment, outputs_context
from protocol.job_record import JobRecord
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased
from protocol.sealing.envelope import open_envelope, seal_envelope
from protocol.sealing.errors import EnvelopeRefused
from silo_node.agent.job_case import judge
from silo_node.agent.silo import Silo
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import HubDistrusted
from silo_node.policy.gate import Approval, Refusal

UNREADABLE = "the sealed bundle is no bundle: it does not open, has another digest, or breaks the bundle's rules"


def step(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> bool:
    """Takes a job one step on; true if anything was said. Whatever is over has its outputs removed here.

    lead_known: this silo accepted a study of the same researcher before.
    """
    if not record.open_at(timestamp(silo.clock())) or not is_researcher(record, charter):
        forget_outputs(silo, record)
        return False
    if record.stage == "submitted":
        return _answer(silo, record, charter, lead_known)
    return _let_go(silo, record, charter)


def forget_outputs(silo: Silo, record: JobRecord) -> None:
    """Removes what a run gave once it can't be wanted any more: the hub has the sealed bytes by then, or never will."""
    if silo.files.jobs.holds(record.job):
        silo.voice.note("decision", f"job {record.job[:12]}: its outputs are removed from this silo", None)
    silo.files.jobs.forget_run(record.job)


def is_researcher(record: JobRecord, charter: Charter) -> bool:
    """Whether who asked is one still: nothing is done for somebody whom the charter names no more."""
    try:
        return charter.person(record.researcher).role == "researcher"
    except BadSignature:
        return False


def _answer(silo: Silo, record: JobRecord, charter: Charter, lead_known: bool) -> bool:
    try:
        fetch_bundle(silo, record)
    except (EnvelopeRefused, ProtocolError):
        silo.voice.note("decision", f"job {record.job[:12]} refused: {UNREADABLE}", None)
        return _say(silo, record, "refused", _refusal(record, "bundle", UNREADABLE, "policy"))
    decision = judge(silo, record, charter, lead_known)
    if isinstance(decision, Refusal):
        detail = f"; Cedar said: {decision.detail}" if decision.detail else ""
        why = f"refused by {decision.rule}: {decision.reason}{detail}"
        silo.voice.note("decision", f"job {record.job[:12]} {why}", None)
        return _say(silo, record, "refused", _refusal(record, decision.rule, decision.reason, "policy"))
    no = silo.tasks.jobs.answered(record.job, "refuse")
    if no is not None:
        return _say(silo, record, "refused", _refusal(record, "owner", no, "owner"))
    if not isinstance(decision, Approval):
        return False
    fields = {"job": record.job, "bundle": record.asked.bundle, "policy": decision.policy}
    return _say(silo, record, "accepted", lambda opening: JobAccepted(type="job-accepted", **fields, **opening))


def fetch_bundle(silo: Silo, record: JobRecord) -> CodeBundle:
    """The job's bundle, from the hub the first time. Raises ``HubDistrusted`` if the hub gives other bytes."""
    asked = record.asked
    kept = silo.files.jobs.bundle(record.job, asked.bundle)
    if kept is not None:
        return kept
    sealed = silo.hub.get_job_blob(asked.blob, asked.size)
    if len(sealed) != asked.size or digest(sealed) != asked.blob:
        raise HubDistrusted(f"job {record.job[:12]}: the hub's blob is not the one that {asked.issuer} signed for")
    context = bundle_context(asked.bundle, record.researcher, silo.name)
    bundle = read_bundle(_opened(silo, sealed, context))
    if bundle.digest != asked.bundle:
        raise BadSignature(f"job {record.job[:12]}: the sealed bundle has another digest than the signed one")
    silo.files.jobs.keep_bundle(record.job, bundle)
    return bundle


def _opened(silo: Silo, sealed: bytes, context: bytes) -> bytes:
    """With the key in use, else an older one that the researcher's charter may have named."""
    for keys in silo.identity.receiving_keys:
        with suppress(EnvelopeRefused):
            return open_envelope(sealed, keys.private, context)
    raise EnvelopeRefused("the sealed bundle opens with none of this silo's keys")


def _let_go(silo: Silo, record: JobRecord, charter: Charter) -> bool:
    no = silo.tasks.jobs.answered(record.job, "discard")
    if no is not None:
        reason = as_sentence(no)
        build = lambda opening: JobDiscarded(type="job-discarded", job=record.job, reason=reason, **opening)  # noqa: E731
        said = _say(silo, record, "discarded", build)
        forget_outputs(silo, record)
        return said
    looked_at = silo.tasks.jobs.answered(record.job, "release")
    held = silo.files.jobs.held(record.job)
    if looked_at is None or held is None or held.digest != looked_at:
        return False
    return _release(silo, record, charter, held.outputs.encode())


def _release(silo: Silo, record: JobRecord, charter: Charter, outputs: bytes) -> bool:
    sealed = silo.files.jobs.sealed(record.job)
    if sealed is None:
        salt = secrets.token_bytes(SALT_BYTES)
        public = base64.b64decode(charter.person(record.researcher).receiving_key, validate=True)
        context = outputs_context(record.job, silo.name, record.researcher)
        # The commitment lies before the ciphertext: after a crash the very same words and bytes go out.
        sealed = bytes.fromhex(output_commitment(salt, outputs)) + seal_envelope(salt + outputs, public, context)
        silo.files.jobs.keep_sealed(record.job, sealed)
    commitment, envelope = sealed[:32].hex(), sealed[32:]
    to = person_party(record.researcher)
    blob = silo.voice.send_job_blob(f"exact outputs of job {record.job[:12]}, sealed for {to}", envelope)

    def build(opening: Opening) -> JobReleased:
        return JobReleased(
            type="job-released",
            job=record.job,
            commitment=commitment,
            blob=blob,
            size=len(envelope),
            privacy="none",
            **opening,
        )

    return _say(silo, record, "released", build)


def _refusal(
    record: JobRecord, rule: str, reason: str, by: Literal["owner", "policy"]
) -> Callable[[Opening], JobRefused]:
    def build(opening: Opening) -> JobRefused:
        return JobRefused(
            type="job-refused", job=record.job, rule=rule, reason=as_sentence(reason), decided_by=by, **opening
        )

    return build


Step = JobAccepted | JobRefused | JobReleased | JobDiscarded


def _say(silo: Silo, record: JobRecord, what: str, build: Callable[[Opening], Step]) -> bool:
    silo.voice.say(Saying(f"job:{record.job}:{what}", build))
    return True
