"""How a silo speaks: sign, write to the journal, keep, and only then send."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from protocol.canonical import digest
from protocol.errors import BadSignature
from protocol.ids import as_sentence, timestamp
from protocol.journal import JournalEvent, statement_event
from protocol.routes import MAX_STATEMENTS_PER_POST
from protocol.signing import Signed, sign, verify
from protocol.statements import Body
from silo_node.agent.tasks import Tasks
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.session import HubSession
from silo_node.journal.chain import Journal

Opening = dict[str, Any]
"""The fields that open every statement of this silo: issuer, issued_at, nonce, journal_head."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A statement to be made once under ``name``; ``build`` gives its body around the opening."""

    name: str
    build: Callable[[Opening], Body]


class Voice:
    """The one way in which anything leaves this silo. Each thing is in the journal before it is sent."""

    def __init__(
        self, identity: Identity, journal: Journal, tasks: Tasks, hub: HubSession, clock: Callable[[], datetime]
    ) -> None:
        self.journal = journal
        self._identity, self._tasks = identity, tasks
        self._hub, self._clock = hub, clock
        self._delivered: dict[str, tuple[tuple[int, int], set[int]]] = {}

    def say(self, *sayings: Saying) -> None:
        """Posts the statements together. Said before, the same bytes go out again, which changes nothing."""
        signed = [one for saying in sayings if (one := self._said(saying)) is not None]
        for start in range(0, len(signed), MAX_STATEMENTS_PER_POST):
            sent = signed[start : start + MAX_STATEMENTS_PER_POST]
            self._tasks.promise(sent, self._hub.post(sent))

    def send_chunk(self, study: str, index: int, attempt: int, number: int, chunk: bytes) -> None:
        what = _chunk(index, attempt, number)
        self.journal.record(lambda _: self._event("chunk", what, study, chunk))
        self._hub.put_chunk(study, index, attempt, number, chunk)
        place, delivered = self._delivered.get(study, ((index, attempt), set()))
        if place != (index, attempt):
            delivered = set()
        delivered.add(number)
        self._delivered[study] = (index, attempt), delivered

    def delivered(self, study: str, index: int, attempt: int) -> frozenset[int]:
        """The chunks of an attempt that the hub took since this node started; of the study's newest upload only."""
        place, delivered = self._delivered.get(study, ((index, attempt), set()))
        return frozenset(delivered) if place == (index, attempt) else frozenset()

    def chunks_sent(self, study: str, index: int, attempt: int, total: int) -> int:
        """How many of an attempt's ``total`` chunks left this silo, by its journal; also in an earlier run."""
        names = {_chunk(index, attempt, number) for number in range(total)}
        return len(self.journal.named(study, "chunk", _chunk(index, attempt, "")) & names)

    def send_shares(self, study: str, index: int, attempt: int, bundle: bytes) -> None:
        what = f"round {index} attempt {attempt} mask shares"
        self.journal.record(lambda _: self._event("shares", what, study, bundle))
        self._hub.put_shares(study, index, attempt, bundle)

    def send_blob(self, study: str, what: str, blob: bytes) -> str:
        """Sends a sealed release; returns the SHA-256 it is named by."""
        self.journal.record(lambda _: self._event("blob", what, study, blob))
        return self._hub.put_blob(study, blob)

    def send_job_blob(self, what: str, blob: bytes) -> str:
        """Sends sealed outputs of a job; returns the SHA-256 they are named by."""
        self.journal.record(lambda _: self._event("blob", what, None, blob))
        return self._hub.put_job_blob(blob)

    def record_cosignature(self, size: int, line: str) -> None:
        """A cosignature of the log at ``size`` leaves, in the journal before it is kept and sent."""
        what = f"checkpoint of {size} leaves"
        self.journal.record(lambda _: self._event("cosignature", what, None, line.encode()))

    def send_cosignature(self, line: str) -> None:
        """One that was recorded and kept; the same line may go out again, which changes nothing."""
        self._hub.post_cosignature(line)

    def note(self, kind: str, what: str, study: str | None) -> None:
        """A decision or a halt, for the journal only."""
        value = {
            "at": timestamp(self._clock()),
            "kind": kind,
            "what": as_sentence(what),
            "to": "nobody",
            "study": study,
        }
        event = JournalEvent.model_validate({**value, "digest": None, "size": 0})
        self.journal.record(lambda _: event)

    def _said(self, saying: Saying) -> Signed | None:
        """The statement to be sent; None where it stands in the log, signed by an older key of this silo.

        One that is kept and was signed by an older key counts for nothing any more, if it isn't in the log: this node
        has read the log up to the charter that names the key in use. So it is made again, and never stands there twice.
        """
        kept, make = self._tasks.kept(saying.name), partial(self._signed, saying)
        if kept is None or self._by_key_in_use(kept):
            return self._tasks.say_once(saying.name, make)
        return None if self._tasks.in_log(kept.wire) else self._tasks.say_anew(saying.name, make)

    def _by_key_in_use(self, kept: Signed) -> bool:
        try:
            verify(kept, self._identity.signing_public)
        except BadSignature:
            return False
        return True

    def _signed(self, saying: Saying) -> Signed:
        made: list[Signed] = []

        def event(head: str) -> JournalEvent:
            opening = {
                "issuer": self._identity.party,
                "issued_at": timestamp(self._clock()),
                "nonce": secrets.token_hex(16),
                "journal_head": head,
            }
            made.append(sign(saying.build(opening), self._identity.signing))
            return statement_event(made[0])

        self.journal.record(event)
        return made[0]

    def _event(self, kind: str, what: str, study: str | None, data: bytes) -> JournalEvent:
        value = {"at": timestamp(self._clock()), "kind": kind, "what": what, "to": "hub", "study": study}
        return JournalEvent.model_validate({**value, "digest": digest(data), "size": len(data)})


def _chunk(index: int, attempt: int, number: int | str) -> str:
    """A chunk's name in the journal."""
    return f"round {index} attempt {attempt} chunk {number}"
