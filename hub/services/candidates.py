"""The checkpoint put before the witnesses, and the cosignatures that silos and outside witnesses give it.

A candidate is taken from the log's head where that is signed (`services.recorder`); here its cosignatures are
gathered. They are durable and shared by all replicas. Whether a quorum is there is for silos and officers to judge;
the hub looks only to wake them, and to know which note to have timestamped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from hub.errors import BadRequest, Conflict, Forbidden, NotFound
from hub.services.charters import Charters
from hub.services.identity import Caller
from hub.services.news import News
from hub.services.recorder import Clock
from hub.store import candidates as candidate_store
from hub.store.candidates import Candidate
from hub.store.database import Database
from protocol.charter import Charter
from protocol.cosignature import MAX_AHEAD, CosignerKey, merge, read_cosignature
from protocol.signed_note import NoteRefused, SignatureLine, read_line, split_note
from protocol.witnesses import Witnesses, silo_witness, witnesses_of


@dataclass(frozen=True, slots=True)
class Candidates:
    """`witnesses_in` tells whom a charter names as witnesses, and how many of them it takes."""

    database: Database
    charters: Charters
    news: News
    clock: Clock
    witnesses_in: Callable[[Charter], Witnesses] = witnesses_of

    def cosign(self, caller: Caller, body: bytes) -> None:
        """Take a silo's cosignature line of the newest candidate; the same line again changes nothing."""
        if caller.role != "silo":
            raise Forbidden("cosignatures are for silos; outside witnesses are asked by the hub")
        line = _line(body)
        with self.database.writing() as connection:
            charter = self.charters.current(connection)
            name = silo_witness(charter.log_origin, caller.name)
            if line.name != name:
                raise Forbidden(f"the cosignature is by {line.name[:300]}; {caller.party} cosigns as {name}")
            key = CosignerKey.from_hex(name, charter.member(caller.name).signing_key)
            quorate = self._merge(connection, charter, [str(line)], key)
        if quorate:
            self.news.ring(urgent=True)

    def add(self, lines: Sequence[str], witness: CosignerKey, text: str) -> bool:
        """Take an outside witness's lines of the candidate with that `text`; False if another stands by now."""
        with self.database.writing() as connection:
            held = candidate_store.newest(connection)
            if held is None or split_note(held.note)[0] != text:
                return False
            charter = self.charters.current(connection)
            quorate = self._merge(connection, charter, lines, witness)
        if quorate:
            self.news.ring(urgent=True)
        return True

    def newest(self) -> Candidate | None:
        with self.database.reading() as connection:
            return candidate_store.newest(connection)

    def quorate(self) -> Candidate:
        """The newest that had its quorum. Raises `NotFound` before there is one."""
        with self.database.reading() as connection:
            found = candidate_store.newest_quorate(connection)
        if found is None:
            raise NotFound("no checkpoint was cosigned by a quorum of witnesses yet")
        return found

    def outside(self) -> tuple[CosignerKey, ...]:
        """The witnesses of the charter in force that are no members: those that the hub has to ask."""
        with self.database.reading() as connection:
            charter = self.charters.current(connection)
        members = {silo_witness(charter.log_origin, member.silo) for member in charter.members}
        return tuple(key for key in self.witnesses_in(charter).keys if key.name not in members)

    def _merge(self, connection: Connection, charter: Charter, lines: Sequence[str], key: CosignerKey) -> bool:
        """Whether the candidate became quorate. Raises `Conflict` for a line of another checkpoint."""
        held = candidate_store.lock_newest(connection)
        if held is None:
            raise Conflict("there is no checkpoint to cosign yet")
        now = self.clock()
        for line in lines:
            made = _made(held.note, line, key)
            if made > (now + MAX_AHEAD).timestamp():
                raise BadRequest(f"the cosignature by {key.name} is of time {made}, the future; set the clock right")
        note = merge(held.note, lines, [key])
        became = held.quorate_at is None and self.witnesses_in(charter).look(note, now).quorate
        if became or note != held.note:
            quorate_at = int(now.timestamp()) if became else held.quorate_at
            candidate_store.write_note(connection, held.number, note, quorate_at)
        return became


def _line(body: bytes) -> SignatureLine:
    try:
        return read_line(body.decode().removesuffix("\n"))
    except UnicodeDecodeError:
        raise BadRequest("a cosignature is one signature line in UTF-8") from None


def _made(note: str, line: str, key: CosignerKey) -> int:
    try:
        return read_cosignature(note, line, key)
    except NoteRefused as refusal:
        raise Conflict(f"{refusal}; if another candidate stands by now, poll again and cosign that") from None
