"""Who cosigned a checkpoint. Stricter than a reader of signed notes must be: a line that isn't a witness's is refused.

An officer's file is made for one charter's witnesses; a line in it that says nothing would be a place for what nobody
signed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from protocol.charter import Charter, charter_digest
from protocol.cosignature import timestamps
from protocol.ids import timestamp
from protocol.signed_note import NoteRefused, split_note
from protocol.translog import Checkpoint
from protocol.witnesses import checkpoint_under, witnesses_of


@dataclass(frozen=True, slots=True)
class Witnessing:
    """A checkpoint of the log's with the witnesses that cosigned it, each with when it says it did (UTC)."""

    checkpoint: Checkpoint
    cosigned: dict[str, str]
    witnesses: int
    quorum: int

    @property
    def quorate(self) -> bool:
        return len(self.cosigned) >= self.quorum

    def __str__(self) -> str:
        enough = "" if self.quorate else f", {self.quorum} are needed"
        those = f"{len(self.cosigned)} of {self.witnesses} witnesses"
        return f"{those} cosigned the log of {self.checkpoint.size} leaves{enough}"


def stated_size(note: str) -> int:
    """The size that a note's checkpoint states, nothing verified. Raises ``NoteRefused``."""
    return Checkpoint.parse(split_note(note)[0]).size


def read_witnessing(note: str, charter: Charter) -> Witnessing:
    """The note as signed by the charter's log key and cosigned by its witnesses.

    Raises ``NoteRefused`` if the log's signature is wrong, if it names another charter, or if a line on it is neither
    the log's nor a good one of a witness.
    """
    checkpoint = checkpoint_under(note, charter)
    if checkpoint.charter != charter_digest(charter):
        raise NoteRefused("the witnessed checkpoint names another charter than the one in force there")
    witnesses = witnesses_of(charter)
    made = timestamps(note, witnesses.keys)
    names = (key.name for key in witnesses.keys)
    cosigned = {name: _at(seconds) for name, seconds in zip(names, made, strict=True) if seconds is not None}
    if len(split_note(note)[1]) != 1 + len(cosigned):
        raise NoteRefused("the witnessed checkpoint has a signature line that is no witness's, or that doesn't verify")
    return Witnessing(checkpoint, cosigned, len(witnesses.keys), witnesses.quorum)


def _at(seconds: int) -> str:
    try:
        return timestamp(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, ValueError):
        raise NoteRefused(f"a cosignature has the time {seconds}, which is no date") from None
