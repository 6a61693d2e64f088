"""A hub built to cheat: the product's own over loopback HTTP, some rooms of which lie when a test says so.

It holds its own keys, so whatever it says is properly signed; what it can't do is sign for others, or know a study's
secret. With the cheat `HONEST` it is the hub that everybody runs.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import uvicorn

from hub.__main__ import create
from hub.aggregation.adding import add
from hub.aggregation.aggregator import Added, Done, SumJob
from hub.aggregation.quorum import survivors_digest
from hub.app import make_app
from hub.config.settings import load
from hub.services import wiring
from hub.services.identity import Caller
from hub.services.wiring import Services
from hub.store import log as log_store
from hub.store.blobs import open_blobs, sum_name, upload_name
from hub.store.log import Reader
from protocol.canonical import digest
from protocol.ids import timestamp
from protocol.sealing.addition import add_chunks
from protocol.signing import Signed, parse, sign
from protocol.statements import Body
from tests.federation.rig.cheating_log import SplitLog

TICK_S = 0.05
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Cheat:
    """What a hub does otherwise than an honest one.

    adds: from a job, the terms by silo and the honest sum's chunk to the chunk that it serves.
    whom: whose terms it adds of those that it should.
    says: a statement of its own that it is about to sign, and the one that it signs instead.
    records: a party's signed statement, and what it puts into the log instead.
    serves: from who asks, what ("sum", "shares"), where, and a reader of any such place, to the bytes.
    """

    adds: Callable[[SumJob, dict[str, bytes], bytes], bytes] = lambda job, terms, total: total
    whom: Callable[[SumJob], tuple[str, ...]] = lambda job: job.silos
    says: Callable[[Body], Body] = lambda body: body
    records: Callable[[Signed], Signed] = lambda signed: signed
    serves: Callable[[str, str, tuple[Any, ...], Callable[..., bytes]], bytes] = lambda who, what, at, read: read(*at)


HONEST = Cheat()


class CheatingHub:
    """Serves a hub's folder from a thread of this process; `cheat` may be changed at any time."""

    def __init__(self, folder: Path) -> None:
        self.card = create(folder, "Test consortium")
        self.cheat = HONEST
        self.splits: dict[str, SplitLog] = {}
        self.services: Services
        self._aggregator = _Aggregator(self)
        settings = load(folder, {"port": 0, "tick_s": TICK_S, "tokens_per_minute": 10_000})
        with mock.patch.multiple(wiring, **_rooms(self)), mock.patch("hub.app.build", self._build):
            app = make_app(settings, self._aggregator)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, name="cheating-hub", daemon=True)

    def _build(self, *given: Any) -> Services:
        self.services = wiring.build(*given)
        honest, lying = self.services.course.voice, wiring.Voice
        # The hub makes its voice anew for each transaction, long after the rooms below were put in place.
        self.services.course.voice = lambda connection: lying(honest(connection).key, honest(connection).nonce)
        return self.services

    @property
    def voice(self) -> Any:
        """The hub's own, under the charter in force."""
        with self.services.database.reading() as connection:
            return self.services.course.voice(connection)

    @contextmanager
    def running(self) -> Iterator["CheatingHub"]:
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self._server.started, "the hub didn't come up"
        try:
            yield self
        finally:
            self._server.should_exit = True
            self._thread.join(START_S)

    @property
    def url(self) -> str:
        (socket,) = self._server.servers[0].sockets
        return f"http://127.0.0.1:{socket.getsockname()[1]}"

    def size(self, reader: str = "") -> int:
        """Entries of the log that a reader is shown."""
        return self.splits[reader].size if reader in self.splits else self.services.log.size()

    def sight(self, reader: str) -> tuple[int, ...]:
        """What a reader's next poll depends on: the log's size, and how far the witnesses' candidate is."""
        return (self.size(reader), *self.services.log.state()[1:])

    def logged(self, first: int) -> tuple[list[Signed], int]:
        """The statements in everybody's log from index ``first`` on, as they were recorded, and its size."""
        everything = Reader("hub", True, True)
        with self.services.database.reading() as connection:
            size = log_store.read_head(connection).size
            found = log_store.entries_for(connection, everything, first, size, size - first)
        return [parse(entry.wire) for entry in found if entry.wire is not None], size

    def signed(self, kind: type[Body], **fields: Any) -> Signed:
        """A statement of the hub's own, whatever its domain thinks of it."""
        name = kind.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
        now = timestamp(self.services.recorder.clock())
        voice = self.voice
        opening = {"issuer": "hub", "issued_at": now, "nonce": voice.nonce()}
        return sign(kind(type=name, journal_head=None, **opening, **fields), voice.key)

    def say(self, kind: type[Body], **fields: Any) -> Signed:
        """Puts such a statement into the log."""
        signed = self.signed(kind, **fields)
        with self.services.recorder.transaction() as recording:
            recording.record(signed)
        return signed

    def split(self, silo: str) -> SplitLog:
        """From now on `silo` is shown a log of its own, which goes on from the present one as a test says."""
        self.splits[silo] = SplitLog(self.services, silo)
        return self.splits[silo]


class _Aggregator:
    """Adds in the hub's own thread, by the same functions as the workers."""

    def __init__(self, hub: CheatingHub) -> None:
        self._hub = hub
        self._done: Done = lambda job, outcome: None

    def start(self, done: Done) -> None:
        self._done = done

    def submit(self, job: SumJob) -> None:
        cheat = self._hub.cheat
        honest = cheat.adds is HONEST.adds and cheat.whom is HONEST.whom
        self._done(job, add(job) if honest else _added(job, cheat))

    def close(self) -> None:
        """Nothing is open."""


def _added(job: SumJob, cheat: Cheat) -> Added:
    blobs = open_blobs(job.blobs)
    whom = cheat.whom(job)
    terms = {silo: blobs.read(upload_name(job.study, job.round, job.attempt, silo, job.position)) for silo in job.silos}
    honest = add_chunks([terms[silo] for silo in whom], job.layout, job.position)
    made = cheat.adds(job, terms, honest)
    for survivors in {job.survivors, survivors_digest(whom)}:
        blobs.create(sum_name(job.study, job.round, job.attempt, survivors, job.position), made)
    return Added(digest(made), len(made))


class _Recording:
    """An open transaction that may record other bytes than it was given."""

    def __init__(self, recording: Any, hub: CheatingHub) -> None:
        self._recording, self._hub = recording, hub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recording, name)

    def record(self, signed: Signed, subject: str | None = None) -> int:
        index: int = self._recording.record(self._hub.cheat.records(signed), subject)
        return index


def _rooms(hub: CheatingHub) -> dict[str, Any]:
    """The classes that the hub's wiring puts together, each with its way to lie."""

    class Voice(wiring.Voice):
        def say(self, *given: Any, **named: Any) -> Signed:
            honest = wiring_voice.say(self, *given, **named)
            said = hub.cheat.says(honest.body)
            return honest if said == honest.body else sign(said, self.key)

    class Recorder(wiring.Recorder):
        @contextmanager
        def transaction(self) -> Iterator[Any]:
            with wiring_recorder.transaction(self) as recording:
                yield _Recording(recording, hub)

    class Rounds(wiring.Rounds):
        def sum_chunk(self, caller: Caller, *place: Any) -> Iterator[bytes]:
            return self._served(caller, "sum", place, wiring_rounds.sum_chunk)

        def shares(self, caller: Caller, *place: Any) -> Iterator[bytes]:
            return self._served(caller, "shares", place, wiring_rounds.shares)

        def _served(self, caller: Caller, what: str, place: tuple[Any, ...], honest: Any) -> Iterator[bytes]:
            def read(*at: Any) -> bytes:
                return b"".join(honest(self, caller, *at))

            return iter([hub.cheat.serves(caller.name, what, place, read)])

        def put_chunk(self, caller: Caller, *given: Any) -> bool:
            if caller.name in hub.splits:
                return hub.splits[caller.name].take_chunk(*given)
            return wiring_rounds.put_chunk(self, caller, *given)

        def received(self, caller: Caller, *given: Any) -> Any:
            if caller.name in hub.splits:
                return hub.splits[caller.name].received(*given)
            return wiring_rounds.received(self, caller, *given)

    class LogReader(wiring.LogReader):
        def follow(self, caller: Caller, after: int, candidate: str | None = None) -> Any:
            if caller.name in hub.splits:
                return hub.splits[caller.name].follow(after), True
            return wiring_log.follow(self, caller, after, candidate)

    class Statements(wiring.Statements):
        def post(self, caller: Caller, wires: Any) -> tuple[int, ...]:
            if caller.name in hub.splits:
                return hub.splits[caller.name].post(wires)
            return wiring_statements.post(self, caller, wires)

    wiring_voice, wiring_recorder, wiring_rounds = wiring.Voice, wiring.Recorder, wiring.Rounds
    wiring_log, wiring_statements = wiring.LogReader, wiring.Statements
    rooms = (Voice, Recorder, Rounds, LogReader, Statements)
    return {room.__name__: room for room in rooms}
