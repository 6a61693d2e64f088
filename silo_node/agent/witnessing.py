"""This silo as a witness of the log: it cosigns what grew out of all that it saw, and works on what a quorum saw.

After each poll that verified, the hub's candidate is cosigned by these rules; only then is it sent:

1. The log was read up to the view held, and a charter is in force; else the candidate waits for a later poll.
2. The candidate is of this log, signed by the key that the charter in force names, else ``NoteRefused``; one that
   names another charter, which may have another key, can't be judged and waits.
3. It is no larger than the view; else it can't be judged yet, and waits.
4. At the size cosigned last, or at the view's, it has the same root, else ``LogForked``, with both notes as evidence.
5. A consistency proof from it to the view verifies, else ``GrowthUnproven``: the hub signed a log that isn't this one.
6. It names the charter in force and is no smaller than what this silo cosigned last; else it isn't cosigned. (The hub
   takes a new candidate in the very transaction that logs a charter.)

What was cosigned is remembered before it is sent, so that a crash, or a hub that asks twice, gets the same line.
"""

from dataclasses import dataclass

import structlog

from protocol.charter import Charter, charter_digest
from protocol.cosignature import CosignerKey, cosign, timestamps
from protocol.follow import Follower, named_charter
from protocol.signed_note import NoteRefused, split_note
from protocol.translog import (
    Checkpoint,
    GrowthUnproven,
    LogForked,
    LogView,
    ProofRefused,
    TreeHead,
    verify_consistency,
)
from protocol.witnesses import checkpoint_under, reason_to_wait, silo_witness, witnesses_of
from silo_node.agent.silo import Silo
from silo_node.agent.witness_memory import Cosigned, WitnessMemory
from silo_node.errors import HubRefused

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate as a poll brought it, signed by the log; ``charter`` is the one in force here."""

    note: str
    checkpoint: Checkpoint
    charter: Charter


def witness(silo: Silo, follower: Follower, note: str) -> None:
    """Cosigns the candidate ``note`` of the poll that led to ``follower``, and keeps it if a quorum did.

    Raises ``ProtocolError`` by the rules above; before the first candidate ``note`` is empty.
    """
    view, charter = follower.view, follower.charter
    if not note or charter is None or follower.next != view.size:
        return
    try:
        shown = Shown(note, checkpoint_under(note, charter), charter)
    except NoteRefused:
        if named_charter(note) == charter_digest(charter):
            raise
        log.warning("not-cosigned", problem="the candidate names another charter than the one in force, and its key")
        return
    memory = silo.tasks.witnessing
    last = memory.last()
    if last is None or _text(last.note) != _text(note):
        problem = _verdict(silo, shown, last, view)
        if problem is not None:
            log.warning("not-cosigned", problem=problem)
            return
        last = _cosign(silo, shown)
    _send(silo, shown, last)
    _keep(silo, shown, memory)


def may_work(silo: Silo, charter: Charter) -> str | None:
    """Why nothing but following and cosigning may be done under ``charter`` now; None if work may go on."""
    return reason_to_wait(silo.tasks.witnessing.quorate(), charter, silo.clock())


def _verdict(silo: Silo, shown: Shown, last: Cosigned | None, view: LogView) -> str | None:
    """Why the candidate isn't cosigned, None if it may be. Raises ``ProtocolError`` for one of another log."""
    checkpoint = shown.checkpoint
    if checkpoint.size > view.size:
        return f"the candidate has {checkpoint.size} leaves, {view.size} were read"
    _check_root(shown, view.size, view.root, view.note)
    if last is not None:
        _check_root(shown, last.size, last.root, last.note)
    _check_growth(silo, shown, view)
    if last is not None and checkpoint.size < last.size:
        return f"the candidate has {checkpoint.size} leaves, {last.size} were cosigned before"
    if checkpoint.charter != charter_digest(shown.charter):
        return "the candidate names another charter than the one in force"
    return None


def _check_root(shown: Shown, size: int, root: bytes, pinned: str) -> None:
    found = shown.checkpoint
    if found.size == size and found.root_hash != root:
        roots = f"{root.hex()} and {found.root_hash.hex()}"
        raise LogForked(f"the log signed two roots at {size} leaves: {roots}", pinned=pinned, shown=shown.note)


def _check_growth(silo: Silo, shown: Shown, view: LogView) -> None:
    proof = silo.hub.consistency(shown.checkpoint.size, view.size)
    try:
        verify_consistency(shown.checkpoint.head, TreeHead(view.size, view.root), [bytes.fromhex(one) for one in proof])
    except ProofRefused as refusal:
        raise GrowthUnproven(
            f"the checkpoint put before the witnesses is not one of the log that was read: {refusal}"
        ) from None


def _cosign(silo: Silo, shown: Shown) -> Cosigned:
    name = silo_witness(shown.charter.log_origin, silo.name)
    line = cosign(shown.note, name, silo.identity.signing, int(silo.clock().timestamp()))
    silo.voice.record_cosignature(shown.checkpoint.size, line)
    made = Cosigned(shown.checkpoint.size, shown.checkpoint.root_hash, shown.note, line)
    silo.tasks.witnessing.remember(made)
    return made


def _send(silo: Silo, shown: Shown, cosigned: Cosigned) -> None:
    """Unless this silo's cosignature stands on the candidate already."""
    own = CosignerKey(silo_witness(shown.charter.log_origin, silo.name), silo.identity.signing.public_key())
    if timestamps(shown.note, [own]) == [None]:
        try:
            silo.voice.send_cosignature(cosigned.line)
        except HubRefused as refusal:
            # Another candidate stands by now, most likely: the next poll brings it.
            log.warning("cosignature-refused", problem=str(refusal))


def _keep(silo: Silo, shown: Shown, memory: WitnessMemory) -> None:
    if shown.note != memory.quorate() and witnesses_of(shown.charter).look(shown.note, silo.clock()).quorate:
        memory.keep_quorate(shown.note)


def _text(note: str) -> str:
    return split_note(note)[0]
