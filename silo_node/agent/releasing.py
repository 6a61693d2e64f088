"""Letting the model go: each silo confirms the bytes it holds, one seals them for every recipient."""

import base64

from protocol.release import release_commitment, release_context
from protocol.rounds import last_round
from protocol.sealing.envelope import seal_envelope
from protocol.statistics_release import statistics_release
from protocol.statistics_study import StatisticsContract
from protocol.study import StudyContract
from protocol.study_statements import ReleaseApproved, ReleaseSealed
from protocol.training_study import TrainingContract
from silo_node.agent.bundle import release_bundle
from silo_node.agent.decisions import may_release
from silo_node.agent.keying import agreed_secret
from silo_node.agent.progress import Progress
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.totals import Totals
from silo_node.agent.voice import Opening, Saying
from silo_node.sealing.keys import release_salt


def release(silo: Silo, study: Study) -> bool:
    """Approves a requested release, and seals it where that is this silo's part. True if anything was done."""
    record = study.record
    if not record.requested or record.closed is None or record.closed.outcome != "completed":
        return False
    last = last_round(record.contract)
    data, secret = silo.files.state(study.id, last), agreed_secret(silo, study, record.rounds[last].keying)
    if data is None or secret is None or silo.name in record.gone:
        return False
    bundle = _bundle(record.contract, study.id, data)
    salt = release_salt(secret, study.id)
    mine = release_commitment(salt, bundle)
    if silo.name not in record.confirmations:
        if not may_release(silo, study):
            return False
        silo.voice.say(_approved(study, mine))
        return True
    if _sealer(study) != silo.name:
        return False
    waiting = [name for name in record.contract.recipients if name not in record.released_to]
    for recipient in waiting:
        _seal_for(silo, study, recipient, salt + bundle)
    return bool(waiting)


def forget_released(silo: Silo, study: Study) -> bool:
    """Whether the study's release is over for this silo: sealed for every recipient, with its own word in the log.

    Then nothing of the study is needed here any more: its state, its secrets and sealed copies are removed.
    """
    record = study.record
    sealed_for_all = record.released_to.keys() >= set(record.contract.recipients)
    if not (record.closed and sealed_for_all and silo.name in {*record.confirmations, *record.gone}):
        return False
    if silo.files.forget_study(study.id):
        silo.voice.note("decision", "the model was released: it is removed from this silo", study.id)
    return True


def _bundle(contract: StudyContract, study: str, progress: bytes) -> bytes:
    """The bytes that are released of a study which ended, as all silos agree, in ``progress``."""
    match contract:
        case TrainingContract():
            return release_bundle(contract, study, Progress.from_bytes(progress))
        case StatisticsContract():
            reached = Totals.from_bytes(progress)
            return statistics_release(contract, study, reached.silos, reached.values.tolist())


def _sealer(study: Study) -> str | None:
    """Whose part it is to seal: the first to approve of the silos that the rule's number confirm; None before."""
    record = study.record
    confirmed = list(record.confirmations.values())
    for name, commitment in record.confirmations.items():
        if confirmed.count(commitment) >= record.contract.release.approvals:
            return name
    return None


def _seal_for(silo: Silo, study: Study, recipient: str, payload: bytes) -> None:
    public = base64.b64decode(study.charter.person(recipient).receiving_key, validate=True)
    kept = silo.files.seal_release_once(
        study.id, recipient, lambda: seal_envelope(payload, public, release_context(study.id, silo.name, recipient))
    )
    blob = silo.voice.send_blob(study.id, f"release sealed for {recipient}", kept)

    def build(opening: Opening) -> ReleaseSealed:
        return ReleaseSealed(
            type="release-sealed", study=study.id, recipient=recipient, blob=blob, size=len(kept), **opening
        )

    silo.voice.say(Saying(f"{study.id}:released:{recipient}", build))


def _approved(study: Study, commitment: str) -> Saying:
    def build(opening: Opening) -> ReleaseApproved:
        return ReleaseApproved(type="release-approved", study=study.id, commitment=commitment, **opening)

    return Saying(f"{study.id}:release-approved", build)
