"""What the node will sign for an answer: the statement, but for what it fills in at that moment."""

from collections.abc import Mapping
from typing import Final

from protocol.job_record import JobRecord
from protocol.record import StudyRecord
from silo_node.agent.answering import Choice
from silo_node.agent.job_memory import JobAnswer
from silo_node.agent.silo import Silo
from silo_node.dataset.registration import Dataset

AT_SIGNING: Final = "issued_at, nonce and journal_head"
TYPES: Final[dict[Choice, str]] = {
    "accept": "study-accepted",
    "refuse": "study-refused",
    "withdraw": "study-withdrawn",
    "release": "release-approved",
    "resume": "study-resumed",
}

JOB_TYPES: Final[dict[JobAnswer, str]] = {
    "approve": "job-accepted",
    "refuse": "job-refused",
    "release": "job-released",
    "discard": "job-discarded",
}
WRITTEN: Final = "as you write it"


def signed_fields(silo: Silo, record: StudyRecord, choice: Choice, dataset: Dataset | None) -> Mapping[str, str]:
    """The statement's fields by name; empty where nothing is signed. A reason is what the form will say."""
    if choice not in TYPES:
        return {}
    fields = {"type": TYPES[choice], "issuer": silo.identity.party, "study": record.study}
    match choice:
        case "accept":
            commitment = "none: the dataset is not registered" if dataset is None else dataset.commitment
            policy = silo.rules.gate.document.digest
            return fields | {"policy": policy, "dataset_commitment": commitment, "decided_by": "owner"}
        case "refuse":
            return fields | {"rule": "owner", "reason": WRITTEN, "decided_by": "owner"}
        case "withdraw":
            return fields | {"reason": WRITTEN}
        case "release":
            return fields | {"commitment": "of the result's bytes, computed then"}
    return fields


def signed_job_fields(silo: Silo, record: JobRecord, choice: JobAnswer) -> Mapping[str, str]:
    """The same for an answer to a job."""
    fields = {"type": JOB_TYPES[choice], "issuer": silo.identity.party, "job": record.job}
    match choice:
        case "approve":
            return fields | {"bundle": record.asked.bundle, "policy": silo.rules.gate.document.digest}
        case "refuse":
            return fields | {"rule": "owner", "reason": WRITTEN, "decided_by": "owner"}
        case "release":
            return fields | {"privacy": "none", "commitment": "to the outputs, computed then"}
        case "discard":
            return fields | {"reason": WRITTEN}
