"""Who witnesses a consortium's log, and when what they saw lets a silo work.

Witnesses are all member silos, each under the key name LOG_ORIGIN/silo/NAME with its signing key, and the outside
witnesses that the charter names. Work goes on while
the newest quorate checkpoint that a silo holds

1. is signed by the log's key, under the log's name,
2. names the charter in force as the silo read it from the log (a withheld revocation would be noticed here), and
3. has cosignatures of a quorum of the charter's witnesses that are less than `MAX_AGE` old.

Cosigning itself, following the log and its charters are exempt: else an outage of a day would lock everyone out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from protocol.charter import Charter, charter_digest
from protocol.cosignature import CosignerKey, Witnessed, witnessed
from protocol.signed_note import LogError, NoteRefused, VerifierKey
from protocol.translog import Checkpoint, verify_checkpoint

__all__ = ["MAX_AGE", "Witnesses", "checkpoint_under", "reason_to_wait", "silo_witness", "witnesses_of"]

MAX_AGE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The witnesses' keys, and how many of them it takes."""

    keys: tuple[CosignerKey, ...]
    quorum: int

    def look(self, note: str, now: datetime, max_age: timedelta = MAX_AGE) -> Witnessed:
        """How far `note` is witnessed. Raises `NoteRefused` for what is no signed note."""
        return witnessed(note, self.keys, self.quorum, now, max_age)


def silo_witness(log_origin: str, silo: str) -> str:
    """The key name under which a member cosigns its consortium's log."""
    return f"{log_origin}/silo/{silo}"


def witnesses_of(charter: Charter) -> Witnesses:
    """The witnesses that a charter names, and the quorum that it takes of them."""
    members = [(silo_witness(charter.log_origin, one.silo), one.signing_key) for one in charter.members]
    outside = [(one.name, one.key) for one in charter.witnesses]
    return Witnesses(_keys([*members, *outside]), charter.quorum_of_witnesses)


def checkpoint_under(note: str, charter: Charter) -> Checkpoint:
    """The checkpoint in a note of the charter's log, signed by the charter's log key; or raise ``NoteRefused``."""
    verifier = VerifierKey.from_hex(charter.log_origin, charter.log_key)
    checkpoint = verify_checkpoint(note, verifier.name, verifier.public_key)
    if checkpoint.origin != charter.log_origin:
        raise NoteRefused(f"the checkpoint is of log {checkpoint.origin}, the charter's is {charter.log_origin}")
    return checkpoint


def reason_to_wait(note: str, charter: Charter, now: datetime) -> str | None:
    """Why nothing may be done under `charter` at `now`; None if the checkpoint `note` lets work go on.

    `note` is the newest quorate checkpoint held, empty before the first.
    """
    if not note:
        return "no checkpoint of the log with a quorum of witnesses was seen yet"
    try:
        checkpoint = checkpoint_under(note, charter)
        seen = witnesses_of(charter).look(note, now)
    except LogError as refusal:
        return f"the checkpoint held is no evidence under the charter in force: {refusal}"
    if checkpoint.charter != charter_digest(charter):
        return "the witnesses have not yet cosigned a checkpoint that names the charter in force"
    if not seen.quorate:
        hours = MAX_AGE // timedelta(hours=1)
        names = ", ".join(seen.fresh) or "none"
        return f"{seen.quorum} witnesses must have cosigned the log in the last {hours} hours; these have: {names}"
    return None


def _keys(named: Sequence[tuple[str, str]]) -> tuple[CosignerKey, ...]:
    return tuple(CosignerKey.from_hex(name, key) for name, key in named)
