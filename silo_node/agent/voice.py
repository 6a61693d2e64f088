"""How a silo speaks: sign, write to the journal, keep, and only then send."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from protocol.canonical import digest
from protocol.ids import as_sentence, timestamp
from protocol.routes import MAX_STATEMENTS_PER_POST
from protocol.signing import Signed, sign
from protocol.statements import Body
from silo_node.agent.tasks import Tasks
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.session import HubSession
from silo_node.journal.chain import Journal
from silo_node.journal.events import JournalEvent

Opening = dict[str, Any]
"""The fields that open every statement of this silo: issuer, issued_at, nonce, journal_head."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A statement to be made once under ``name``; ``build`` gives its body around the opening."""

    name: str
    study: str | None
    build: Callable[[Opening], Body]


class Voice:
    """The one way in which anything leaves this silo. Each thing is in the journal before it is sent."""

    def __init__(
        self, identity: Identity, journal: Journal, tasks: Tasks, hub: HubSession, clock: Callable[[], datetime]
    ) -> None:
        self._identity, self._journal, self._tasks = identity, journal, tasks
        self._hub, self._clock = hub, clock
        self._delivered: dict[str, tuple[tuple[int, int], set[int]]] = {}

    def say(self, *sayings: Saying) -> None:
        """Posts the statements together. Said before, the same bytes go out again, which changes nothing."""
        signed = [self._tasks.say_once(saying.name, partial(self._signed, saying)) for saying in sayings]
        for start in range(0, len(signed), MAX_STATEMENTS_PER_POST):
            self._hub.post(signed[start : start + MAX_STATEMENTS_PER_POST])

    def send_chunk(self, study: str, index: int, attempt: int, number: int, chunk: bytes) -> None:
        what = _chunk(index, attempt, number)
        self._journal.record(lambda _: self._event("chunk", what, study, chunk))
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
        return len(self._journal.named(study, "chunk", _chunk(index, attempt, "")) & names)

    def send_shares(self, study: str, index: int, attempt: int, bundle: bytes) -> None:
        what = f"round {index} attempt {attempt} mask shares"
        self._journal.record(lambda _: self._event("shares", what, study, bundle))
        self._hub.put_shares(study, index, attempt, bundle)

    def send_blob(self, study: str, what: str, blob: bytes) -> str:
        """Sends a sealed release; returns the SHA-256 it is named by."""
        self._journal.record(lambda _: self._event("blob", what, study, blob))
        return self._hub.put_blob(study, blob)

    def record_cosignature(self, size: int, line: str) -> None:
        """A cosignature of the log at ``size`` leaves, in the journal before it is sent."""
        what = f"checkpoint of {size} leaves"
        self._journal.record(lambda _: self._event("cosignature", what, None, line.encode()))

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
        self._journal.record(lambda _: event)

    def journal_heads(self) -> frozenset[str]:
        """Every hash that a statement of this silo may carry as the head of its journal."""
        return self._journal.heads()

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
            return self._event("statement", made[0].body.type, saying.study, made[0].wire)

        self._journal.record(event)
        return made[0]

    def _event(self, kind: str, what: str, study: str | None, data: bytes) -> JournalEvent:
        value = {"at": timestamp(self._clock()), "kind": kind, "what": what, "to": "hub", "study": study}
        return JournalEvent.model_validate({**value, "digest": digest(data), "size": len(data)})


def _chunk(index: int, attempt: int, number: int | str) -> str:
    """A chunk's name in the journal."""
    return f"round {index} attempt {attempt} chunk {number}"
