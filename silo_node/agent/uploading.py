"""Sending a sealed term: only what the hub lacks, each chunk at most once while this node runs."""

from pathlib import Path

from protocol.canonical import digest
from protocol.round_record import RoundRecord
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Saying
from silo_node.agent.voyage import Voyage
from silo_node.errors import HubDistrusted, HubRefused, StudyHalted


def send_term(
    silo: Silo, study: Study, current: RoundRecord, files: list[Path], digests: tuple[str, ...], done: Saying
) -> None:
    """Sends the kept chunks in ``files`` that the hub lacks, then says ``done``, the upload's completion.

    What the hub says it holds saves travel and is not believed: when it refuses ``done``, everything it claimed to
    hold is sent after all, once, and ``done`` is said again. What it took from this running node is not sent again.
    Raises ``HubRefused`` for the second refusal, ``HubDistrusted`` for a claim to hold other bytes than were sealed,
    ``StudyHalted`` for a kept chunk that is damaged.
    """
    _send(silo, study, current, files, digests, _lacking(silo, study, current, digests))
    try:
        silo.voice.say(done)
    except HubRefused:
        unsent = _unsent(silo, study, current, len(files))
        if not unsent:
            raise
        _send(silo, study, current, files, digests, unsent)
        silo.voice.say(done)


def _unsent(silo: Silo, study: Study, current: RoundRecord, total: int) -> list[int]:
    delivered = silo.voice.delivered(study.id, current.index, current.attempt)
    return [number for number in range(total) if number not in delivered]


def _lacking(silo: Silo, study: Study, current: RoundRecord, digests: tuple[str, ...]) -> list[int]:
    """The chunks that this node didn't send and that the hub doesn't claim to hold; asked once an attempt."""
    unsent = _unsent(silo, study, current, len(digests))
    if not unsent:
        return []
    what = f"round {current.index} attempt {current.attempt}"
    claimed = silo.hub.received_chunks(study.id, current.index, current.attempt)
    if len(claimed) != len(digests):
        raise HubDistrusted(f"{what}: the hub counts {len(claimed)} chunks, this silo's term has {len(digests)}")
    for number, (theirs, ours) in enumerate(zip(claimed, digests, strict=True)):
        if theirs not in (None, ours):
            raise HubDistrusted(f"{what}: the hub says it holds another chunk {number} than this silo sealed")
    return [number for number in unsent if claimed[number] is None]


def _send(
    silo: Silo, study: Study, current: RoundRecord, files: list[Path], digests: tuple[str, ...], numbers: list[int]
) -> None:
    """Reads each chunk when its turn comes, so that one is held at a time."""
    voyage = Voyage("chunks-sent", study.id, current.index, len(files), silo.clock)
    for sent, number in enumerate(numbers, start=1 + len(files) - len(numbers)):
        chunk = files[number].read_bytes()
        if digest(chunk) != digests[number]:
            raise StudyHalted(f"round {current.index}: the sealed chunk {number} kept here is damaged")
        silo.voice.send_chunk(study.id, current.index, current.attempt, number, chunk)
        voyage.at(sent)
