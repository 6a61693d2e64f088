"""Uploads to a real hub that are cut: after any byte of a chunk, between chunks, by a killed hub or a lost answer."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from protocol import canonical, routes
from protocol.round_statements import UploadComplete
from silo_node.agent.tasks import Tasks
from silo_node.agent.uploading import send_term
from silo_node.agent.voice import Opening, Saying, Voice
from silo_node.errors import HubRefused, HubUnreachable
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession
from silo_node.journal.chain import Journal
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Refusal
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo

pytestmark = pytest.mark.slow

ROUND = 1  # of training: the model is so large that its update has three chunks
HIDDEN = (1024, 1024)
CHUNKS = 3
Cut = tuple[int, int | None]
"""The how manieth PUT is cut, and after how many bytes; None: it arrives, and its answer is lost."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


class Line(httpx.HTTPTransport):
    """Counts the chunks that are PUT, and is cut once."""

    def __init__(self, cut: Cut | None) -> None:
        super().__init__()
        self.puts: list[int] = []
        self._cut = cut

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "PUT":
            return super().handle_request(request)
        self.puts.append(int(request.url.path.rpartition("/")[2]))
        if self._cut is None or self._cut[0] != len(self.puts) - 1:
            return super().handle_request(request)
        if self._cut[1] is None:
            assert super().handle_request(request).status_code == 201
            raise httpx.ReadError("the answer is lost")
        request.stream = Broken(request.content[: self._cut[1]])
        return super().handle_request(request)


class Broken(httpx.SyncByteStream):
    """The first bytes of a body; then the line is dead."""

    def __init__(self, start: bytes) -> None:
        self._start = start

    def __iter__(self) -> Iterator[bytes]:
        yield self._start
        raise httpx.WriteError("the line is cut")


class Node:
    """What uploads at a silo, on its folder: each `life` is a new process of it, with nothing in memory."""

    def __init__(self, silo: FakeSilo, hub: HubProcess, folder: Path) -> None:
        self.silo, self.hub, self.folder = silo, hub, folder
        self.chunks: list[bytes] = []
        folder.mkdir(mode=0o700)

    def life(self, said: dict[str, Any], cut: Cut | None = None) -> list[int]:
        """Uploads until it is done or cut; the chunks that were PUT, the cut one included."""
        identity, line = Identity(self.silo.name, self.silo.key, self.silo.envelope), Line(cut)
        session, journal, tasks = self.session(line), Journal(self.folder / "journal.sqlite"), Tasks(self.folder)
        silo: Any = SimpleNamespace(hub=session, voice=Voice(identity, journal, tasks, session, _now), clock=_now)
        place: Any = SimpleNamespace(index=said["round"], attempt=said["attempt"])
        study: Any = SimpleNamespace(id=said["study"])
        files = [self.folder / f"{number}" for number in range(len(self.chunks))]
        for file, chunk in zip(files, self.chunks, strict=True):
            file.write_bytes(chunk)
        digests = tuple(canonical.digest(chunk) for chunk in self.chunks)

        def build(opening: Opening) -> UploadComplete:
            return UploadComplete(type="upload-complete", **{**said, "chunks": digests}, **opening)

        try:
            send_term(silo, study, place, files, digests, Saying("uploaded", build))
        except HubUnreachable:
            assert cut is not None
        else:
            assert cut is None
        finally:
            session.close()
            journal.close()
            tasks.close()
        return line.puts

    def session(self, line: Line) -> HubSession:
        identity = Identity(self.silo.name, self.silo.key, self.silo.envelope)
        audience = routes.audience(self.hub.card["log_origin"])
        made = HubSession(self.hub.url, identity, audience, 30.0, Backoff(1, 0.0, 0.0, lambda _: None, lambda: 0.0))
        made._http = httpx.Client(base_url=self.hub.url, transport=line, timeout=30)
        return made

    def held(self, said: dict[str, Any]) -> list[int]:
        """The chunks that the hub says it has of this silo; each must be the sealed one."""
        session = self.session(Line(None))
        listed = session.received_chunks(said["study"], said["round"], said["attempt"])
        session.close()
        assert len(listed) == len(self.chunks) == CHUNKS
        assert all(one in (None, canonical.digest(self.chunks[at])) for at, one in enumerate(listed))
        return [at for at, one in enumerate(listed) if one is not None]

    def take_over(self, upload: Callable[[dict[str, Any]], None]) -> None:
        """In `ROUND`, `upload` gets the fields of upload-complete in place of the silo's own PUTs and statement."""
        put, say = self.silo.put_chunk, self.silo.say

        def put_chunk(study: str, index: int, attempt: int, at: int, chunk: bytes, **headers: str) -> Any:
            if index != ROUND:
                return put(study, index, attempt, at, chunk, **headers)
            self.chunks.append(chunk)
            return httpx.Response(200)

        def say_or_upload(kind: str, **fields: Any) -> list[int]:
            if kind != "upload-complete" or fields["round"] != ROUND:
                return say(kind, **fields)
            upload(fields)
            return []

        self.silo.put_chunk = put_chunk  # type: ignore[method-assign, assignment]
        self.silo.say = say_or_upload  # type: ignore[method-assign]


def _now() -> datetime:
    return datetime.now(UTC)


def finished(consortium: Consortium, node: Node, **given: Any) -> str:
    """A study that went through; the sum of `ROUND` must be that of all four silos."""
    study = consortium.start(hidden=HIDDEN, timeout_s=60, **given)
    with consortium.running(study):
        status = consortium.finish(study, timeout_s=120)
    assert (status["state"], status["suspended"]) == ("completed", [])
    expected = sum(silo.sent[study, ROUND] for silo in consortium.silos)
    assert np.array_equal(consortium.silo("ada").totals[study, ROUND], expected)
    return study


def test_only_missing_chunks_travel_again_when_line_hub_and_client_fail_in_turn(
    hub: HubProcess, consortium: Consortium, tmp_path: Path
) -> None:
    node, lives, shown = Node(consortium.silo("bern"), hub, tmp_path / "bern"), [], []

    def upload(said: dict[str, Any]) -> None:
        lives.append((node.life(said, cut=(1, 500_000)), node.held(said)))
        shown.append(consortium.status(said["study"])["current"])
        hub.kill()
        hub.start()
        lives.append((node.life(said, cut=(0, None)), node.held(said)))
        hub.kill()
        hub.start()
        shown.append(consortium.status(said["study"])["current"])
        lives.append((node.life(said), [0, 1, 2]))

    others = [silo for silo in consortium.silos if silo is not node.silo]
    for party in (*others, consortium.lead, node.silo):
        _make_stubborn(party)
    node.take_over(upload)
    finished(consortium, node)
    assert lives == [([0, 1], [0]), ([1], [0, 1]), ([2], [0, 1, 2])]
    assert [(one["chunks"], one["chunks_received"]["bern"]) for one in shown] == [(CHUNKS, 1), (CHUNKS, 2)]


def _make_stubborn(party: Any) -> None:
    """Retry on a broken line, as every real client does; all that is sent again is the same bytes."""
    send = party.http.send

    def resend(request: httpx.Request, **given: Any) -> httpx.Response:
        for _ in range(600):
            try:
                return send(request, **given)  # type: ignore[no-any-return]
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the hub didn't come back")

    party.http.send = resend


def test_a_chunk_cut_after_any_byte_is_not_there_and_travels_whole_the_next_time(
    hub: HubProcess, consortium: Consortium, tmp_path: Path
) -> None:
    node, cuts = Node(consortium.silo("cork"), hub, tmp_path / "cork"), []

    def upload(said: dict[str, Any]) -> None:
        size = len(node.chunks[1])
        drawn = np.random.default_rng(3).integers(2, size - 1, 8).tolist()
        assert node.life(said, cut=(1, 0)) == [0, 1]
        for after in (1, *drawn, size - 1):
            cuts.append(after)
            assert node.life(said, cut=(0, after)) == [1]
            assert node.held(said) == [0]
        assert node.life(said) == [1, 2]

    node.take_over(upload)
    finished(consortium, node)
    assert len(cuts) == 10


def test_only_a_silo_of_the_frozen_round_is_told_which_of_its_own_chunks_arrived(
    hub: HubProcess, consortium: Consortium, tmp_path: Path
) -> None:
    node, answers = Node(consortium.silo("dale"), hub, tmp_path / "dale"), []

    def upload(said: dict[str, Any]) -> None:
        path = routes.CHUNKS.format(study=said["study"], round=ROUND, attempt=1)
        assert node.life(said, cut=(2, 10)) == [0, 1, 2]
        stranger = FakeSilo("eve", hub.url, hub.card)
        for party in (consortium.officer, consortium.lead):
            with pytest.raises(Refusal) as refused:
                party.get(path)
            answers.append(refused.value.status)
        assert stranger.http.get(path).status_code == 401
        with pytest.raises(Refusal) as refused:
            node.silo.get(routes.CHUNKS.format(study=said["study"], round=ROUND, attempt=2))
        answers.append(refused.value.status)
        assert node.held(said) == [0, 1]
        assert node.life(said) == [2]

    node.take_over(upload)
    study = finished(consortium, node)
    assert answers == [403, 403, 409]
    with pytest.raises(HubRefused, match="taken while it is frozen"):
        node.held({"study": study, "round": ROUND, "attempt": 1})
