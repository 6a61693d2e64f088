"""The study secret: made by the first silo that accepted, opened by the others, agreed on by all before round 0."""

from protocol.sealing.secret import StudySecret
from protocol.statements import SecretCommitment, SecretSealed
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import StudyHalted
from silo_node.sealing import keys


def agree_on_secret(silo: Silo, study: Study) -> bool:
    """Makes or opens the study secret and commits to it in the log. True if anything was done."""
    record = study.record
    if silo.name not in record.keyed or silo.name in record.commitments:
        return False
    secret = silo.secret(study.id)
    if record.key_silo == silo.name:
        secret = secret or _make(silo, study)
        others = [name for name in record.keyed if name != silo.name]
        silo.voice.say(*(_sealed(silo, study, secret, name) for name in others), _commitment(study, secret))
        return True
    envelope = record.envelopes.get(silo.name)
    if envelope is None:
        return False
    secret = keys.open_secret(envelope.envelope, study.id, record.key_silo, silo.name, silo.identity.receiving)
    silo.tasks.keep_secret(study.id, secret.to_bytes())
    silo.voice.say(_commitment(study, secret))
    return True


def agreed_secret(silo: Silo, study: Study) -> StudySecret | None:
    """The secret that this silo and the key silo committed to; None before. Raises ``StudyHalted`` if they differ.

    That whoever else a round is opened for committed to the same one is a rule of the record.
    """
    record, secret = study.record, silo.secret(study.id)
    if secret is None or silo.name not in record.commitments or record.key_silo not in record.commitments:
        return None
    if record.commitments[record.key_silo] != keys.commitment(secret, study.id):
        raise StudyHalted(f"the key silo {record.key_silo} committed to another study key than it sealed for this silo")
    return secret


def _make(silo: Silo, study: Study) -> StudySecret:
    secret = StudySecret.generate()
    silo.tasks.keep_secret(study.id, secret.to_bytes())
    return secret


def _sealed(silo: Silo, study: Study, secret: StudySecret, recipient: str) -> Saying:
    receiving_key = study.charter.member(recipient).receiving_key

    def build(opening: Opening) -> SecretSealed:
        envelope = keys.seal_secret(secret, study.id, silo.name, recipient, receiving_key)
        return SecretSealed(type="secret-sealed", study=study.id, recipient=recipient, envelope=envelope, **opening)

    return Saying(f"{study.id}:sealed:{recipient}", study.id, build)


def _commitment(study: Study, secret: StudySecret) -> Saying:
    def build(opening: Opening) -> SecretCommitment:
        mine = keys.commitment(secret, study.id)
        return SecretCommitment(type="secret-commitment", study=study.id, commitment=mine, **opening)

    return Saying(f"{study.id}:commitment", study.id, build)
