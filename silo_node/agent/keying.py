"""The study secret of an epoch: made by its key silo, opened by the other holders, agreed on by all before a round."""

from protocol.keying import Keying
from protocol.sealing.secret import StudySecret
from protocol.study_statements import SecretCommitment, SecretSealed
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.errors import StudyHalted
from silo_node.sealing import keys


def agree_on_secret(silo: Silo, study: Study) -> bool:
    """Makes or opens the secret of the study's epoch and commits to it in the log. True if anything was done."""
    keying = study.record.keying
    record = study.record
    if keying is None or record.closed is not None or not record.stands or silo.name in record.gone:
        return False
    if silo.name in keying.commitments:
        agreed_secret(silo, study, keying)  # or it is not the one that the key silo committed to
        return False
    if silo.name not in keying.silos or record.gone.intersection(keying.silos):
        return False  # a secret with whoever is gone would serve no round
    if keying.key_silo == silo.name:
        secret = silo.secret(study.id, keying.epoch) or _keep(silo, study, keying, StudySecret.generate())
        others = [name for name in keying.silos if name != silo.name]
        sealed = (_sealed(silo, study, keying, secret, name) for name in others)
        silo.voice.say(*sealed, _commitment(study, keying, secret))
        return True
    envelope = keying.envelopes.get(silo.name)
    if envelope is None:
        return False
    own = silo.identity.receiving_keys
    opened = keys.open_secret(envelope.envelope, study.id, keying.epoch, keying.key_silo, silo.name, *own)
    silo.voice.say(_commitment(study, keying, _keep(silo, study, keying, opened)))
    return True


def agreed_secret(silo: Silo, study: Study, keying: Keying) -> StudySecret | None:
    """The secret that this silo and the key silo committed to; None before. Raises ``StudyHalted`` if they differ.

    That whoever else a round is opened for committed to the same one is a rule of the record.
    """
    secret = silo.secret(study.id, keying.epoch)
    if secret is None or silo.name not in keying.commitments or keying.key_silo not in keying.commitments:
        return None
    if keying.commitments[keying.key_silo] != keys.commitment(secret, study.id, keying.epoch):
        raise StudyHalted(f"the key silo {keying.key_silo} committed to another study key than it sealed for this silo")
    return secret


def _keep(silo: Silo, study: Study, keying: Keying, secret: StudySecret) -> StudySecret:
    silo.files.keep_secret(study.id, keying.epoch, secret.to_bytes())
    return secret


def _sealed(silo: Silo, study: Study, keying: Keying, secret: StudySecret, recipient: str) -> Saying:
    receiving_key, epoch = study.charter.member(recipient).receiving_key, keying.epoch

    def build(opening: Opening) -> SecretSealed:
        envelope = keys.seal_secret(secret, study.id, epoch, silo.name, recipient, receiving_key)
        return SecretSealed(
            type="secret-sealed", study=study.id, epoch=epoch, recipient=recipient, envelope=envelope, **opening
        )

    return Saying(f"{study.id}:{epoch}:sealed:{recipient}", build)


def _commitment(study: Study, keying: Keying, secret: StudySecret) -> Saying:
    epoch = keying.epoch

    def build(opening: Opening) -> SecretCommitment:
        mine = keys.commitment(secret, study.id, epoch)
        return SecretCommitment(type="secret-commitment", study=study.id, epoch=epoch, commitment=mine, **opening)

    return Saying(f"{study.id}:{epoch}:commitment", build)
