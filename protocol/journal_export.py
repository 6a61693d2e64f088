"""A silo's journal in one file, for another person to check without the silo: JSON lines, each in RFC 8785 form.

Line 1, the header: {"before": HEX, "charter": HEX, "first": N, "format": "consortia-journal/1", "silo": NAME,
"since": TIME or null, "until": TIME}. `before` is the hash before the first entry of the file, number `first`;
`charter` the digest of the founding charter that the silo pinned. Then a line for each entry, without a gap:
{"entry": N, "event": EVENT, "hash": HEX}, by the rules of `protocol.journal`.

The file covers the time from `since` (None: from the beginning) until before `until`. One entry before the period and
one after it are in the file too, where there are such: they show that nothing was cut off at that end.

Nothing in the file is trusted: it is held against the statements in the hub's log.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.ids import MAX_SENTENCE, Digest, Hex32, SiloId, Strict, Timestamp
from protocol.journal import EMPTY, Chain, JournalBroken, JournalEvent, event_bytes
from protocol.period import Period
from protocol.study import explain

FORMAT: Final = "consortia-journal/1"
MAX_LINE_BYTES: Final = 4096 + 6 * MAX_SENTENCE
"""A letter of a sentence takes up to six bytes in JSON."""

_LINE = re.compile(rb'\{"entry":([1-9][0-9]{0,18}),"event":(\{.*\}),"hash":"([0-9a-f]{64})"\}\n', re.DOTALL)


class Header(Strict):
    """Line 1."""

    before: Hex32
    charter: Digest
    first: Annotated[int, Field(ge=1)]
    format: Literal["consortia-journal/1"]
    silo: SiloId
    since: Timestamp | None
    until: Timestamp

    @property
    def period(self) -> Period:
        return Period(self.since, self.until)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the file that fits the chain; ``before`` is the hash it was chained to, ``data`` the event."""

    index: int
    before: str
    hash: str
    event: JournalEvent
    data: bytes


def write_header(header: Header) -> bytes:
    return canonical.encode(header.model_dump(mode="json")) + b"\n"


def write_entry(index: int, stored: str, event: bytes) -> bytes:
    """The line of an entry whose event has the canonical bytes ``event``."""
    return b'{"entry":%d,"event":%b,"hash":"%b"}\n' % (index, event, stored.encode())


def read_header(lines: Iterator[bytes]) -> Header:
    """The header, taken from the lines of a file. Raises ``JournalBroken``."""
    line = next(lines, b"")
    try:
        header = Header.model_validate_json(_bounded(1, line))
    except ValidationError as error:
        raise JournalBroken(f"line 1: not the header of a journal's export: {explain(error)}") from None
    if write_header(header) != line:
        raise JournalBroken("line 1: not in canonical form (RFC 8785); the file was changed after its export")
    if (header.first == 1) != (header.before == EMPTY):
        raise JournalBroken("line 1: entry 1, and no other, comes after the hash of zeros")
    return header


def read_entries(header: Header, lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries after the header, the chain checked. Raises ``JournalBroken`` with the first bad line's number."""
    chain = Chain(header.first, header.before)
    for number, line in enumerate(lines, start=2):
        found = _LINE.fullmatch(_bounded(number, line))
        if found is None:
            raise JournalBroken(f"line {number}: not the line of an entry; the file was changed or cut short")
        try:
            event = JournalEvent.model_validate_json(found[2])
            before = chain.take(int(found[1]), found[3].decode(), found[2])
        except ValidationError as error:
            raise JournalBroken(f"line {number}: not an event: {explain(error)}") from None
        except JournalBroken as problem:
            raise JournalBroken(f"line {number}: {problem}") from None
        # One spelling only: JSON readers settle duplicate keys each in its own way.
        if event_bytes(event) != found[2]:
            raise JournalBroken(f"line {number}: the event is not in canonical form (RFC 8785)")
        yield Entry(int(found[1]), before, chain.head, event, found[2])


def _bounded(number: int, line: bytes) -> bytes:
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        raise JournalBroken(f"line {number}: a line ends in a newline, within {MAX_LINE_BYTES} bytes; cut short?")
    return line
