"""An upload that goes on where it stopped, before hubs that are honest, forgetful or lying about what they hold."""

import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from protocol.canonical import digest
from protocol.round_statements import UploadComplete
from silo_node.agent.answers import under_way
from silo_node.agent.tasks import Tasks
from silo_node.agent.uploading import send_term
from silo_node.agent.voice import Saying, Voice
from silo_node.agent.voyage import Voyage
from silo_node.errors import HubDistrusted, HubRefused, HubUnreachable, StudyHalted
from silo_node.hub_client.identity import Identity
from silo_node.journal.chain import Journal
from tests.unit.silo_node.agent.story import begin_study

CHUNKS = [bytes([number]) * (9 + number) for number in range(5)]
DIGESTS = tuple(digest(chunk) for chunk in CHUNKS)
STUDY = "a" * 64
NUMBERS = st.sets(st.integers(0, len(CHUNKS) - 1))


class Shelf:
    """A hub that takes chunks, and the upload's completion once all are there. ``claims``: what it says it holds."""

    def __init__(self, held=()):
        self.held, self.claims = {number: CHUNKS[number] for number in held}, None
        self.puts, self.posts, self.asked, self.completed, self.dies_after = [], 0, 0, False, None

    def received_chunks(self, study, index, attempt):
        self.asked += 1
        held = self.held if self.claims is None else self.claims
        return tuple(DIGESTS[number] if number in held else None for number in range(len(CHUNKS)))

    def put_chunk(self, study, index, attempt, number, chunk):
        if self.dies_after == len(self.puts):
            raise HubUnreachable("cut")
        self.puts.append(number)
        self.held[number] = chunk

    def post(self, statements):
        self.posts += 1
        if len(self.held) < len(CHUNKS):
            raise HubRefused("the hub answered 409: chunks are missing", 409)
        self.completed = True
        return range(len(statements))


class Life:
    """A node's run on ``folder``, from start to stop."""

    def __init__(self, folder, group, hub):
        folder.mkdir(mode=0o700, exist_ok=True)
        party = group.silos["alpha"]
        self.journal, self.tasks = Journal(folder / "journal.sqlite"), Tasks(folder)
        self.voice = Voice(
            Identity("alpha", party.signing, party.receiving), self.journal, self.tasks, hub, lambda: datetime.now(UTC)
        )
        self.silo = SimpleNamespace(hub=hub, voice=self.voice, clock=lambda: datetime.now(UTC))
        self.files = [folder / f"{number}" for number in range(len(CHUNKS))]
        for file, chunk in zip(self.files, CHUNKS, strict=True):
            file.write_bytes(chunk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.journal.close()
        self.tasks.close()

    def upload(self, index=1, attempt=1):
        def build(opening):
            words = {"type": "upload-complete", "study": STUDY, "round": index, "attempt": attempt}
            return UploadComplete(**words, freeze="b" * 64, chunks=DIGESTS, **opening)

        place = SimpleNamespace(index=index, attempt=attempt)
        done = Saying(f"uploaded {index} {attempt}", build)
        send_term(self.silo, SimpleNamespace(id=STUDY), place, self.files, DIGESTS, done)


@settings(max_examples=25, deadline=None)
@given(held=NUMBERS, cuts=st.lists(st.integers(0, len(CHUNKS)), max_size=3))
def test_whatever_was_cut_and_however_often_every_chunk_travels_once(group, held, cuts):
    with tempfile.TemporaryDirectory() as folder:
        hub = Shelf(held)
        for cut in [*cuts, None]:
            hub.dies_after = None if cut is None else len(hub.puts) + cut
            missing = sorted(set(range(len(CHUNKS))) - set(hub.held))
            with Life(Path(folder) / "silo", group, hub) as life:
                if cut is not None and cut < len(missing):
                    with pytest.raises(HubUnreachable):
                        life.upload()
                else:
                    life.upload()
        assert hub.puts == sorted(set(range(len(CHUNKS))) - held)
        assert hub.completed


@settings(max_examples=25, deadline=None)
@given(held=NUMBERS, claims=NUMBERS)
def test_a_hub_that_lies_about_what_it_holds_gets_every_chunk_it_lacks_and_each_at_most_once(group, held, claims):
    with tempfile.TemporaryDirectory() as folder:
        hub = Shelf(held)
        hub.claims = claims
        with Life(Path(folder) / "silo", group, hub) as life:
            life.upload()
        assert hub.completed
        assert len(set(hub.puts)) == len(hub.puts)
        assert set(range(len(CHUNKS))) - claims <= set(hub.puts)
        assert (hub.asked, hub.posts) == (1, 1 if claims <= held else 2)


def test_a_hub_that_never_completes_the_upload_is_not_sent_the_same_chunks_over_and_over(group, tmp_path):
    hub = Shelf()
    hub.claims = {0, 1, 2, 3, 4}
    hub.put_chunk = lambda study, index, attempt, number, chunk: hub.puts.append(number)
    with Life(tmp_path / "silo", group, hub) as life:
        for _ in range(4):
            with pytest.raises(HubRefused, match="chunks are missing"):
                life.upload()
    assert hub.puts == [0, 1, 2, 3, 4]
    assert (hub.asked, hub.posts) == (1, 5)


def test_a_later_attempt_is_sent_whole_though_the_one_before_was(group, tmp_path):
    hub = Shelf()
    with Life(tmp_path / "silo", group, hub) as life:
        life.upload(attempt=1)
        hub.held, hub.completed, hub.dies_after = {}, False, len(CHUNKS) + 1
        with pytest.raises(HubUnreachable):
            life.upload(attempt=2)
        hub.dies_after = None
        life.upload(attempt=2)
    assert hub.completed
    assert hub.puts == [0, 1, 2, 3, 4] * 2


def test_a_hub_that_holds_another_chunk_is_an_error_that_names_it_and_sends_nothing(group, tmp_path):
    hub = Shelf()
    hub.received_chunks = lambda *_: (DIGESTS[0], None, "c" * 64, None, None)
    with Life(tmp_path / "silo", group, hub) as life, pytest.raises(HubDistrusted, match="another chunk 2"):
        life.upload()
    assert (hub.puts, hub.posts) == ([], 0)


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_list_of_another_length_than_the_term_is_refused(group, tmp_path, count):
    hub = Shelf()
    hub.received_chunks = lambda *_: (None,) * count
    with Life(tmp_path / "silo", group, hub) as life, pytest.raises(HubDistrusted, match=f"counts {count} chunks"):
        life.upload()
    assert hub.puts == []


def test_a_damaged_chunk_is_not_sent(group, tmp_path):
    hub = Shelf()
    with Life(tmp_path / "silo", group, hub) as life:
        life.files[3].write_bytes(b"rotten")
        with pytest.raises(StudyHalted, match="chunk 3 kept here is damaged"):
            life.upload()
    assert hub.puts == [0, 1, 2]
    assert hub.posts == 0


def test_the_journal_tells_how_many_chunks_left_also_after_a_restart(group, tmp_path):
    hub = Shelf()
    hub.dies_after = 2
    with Life(tmp_path / "silo", group, hub) as life, pytest.raises(HubUnreachable):
        life.upload()
    with Life(tmp_path / "silo", group, hub) as life:
        assert life.voice.chunks_sent(STUDY, 1, 1, 5) == 3  # the third is in the journal, and was cut on its way
        hub.dies_after = None
        life.upload()
        assert life.voice.chunks_sent(STUDY, 1, 1, 5) == 5
        assert life.voice.chunks_sent(STUDY, 1, 2, 5) == life.voice.chunks_sent("b" * 64, 1, 1, 5) == 0


@given(total=st.integers(1, 400), step_s=st.floats(0.001, 100))
def test_progress_is_logged_rarely_and_at_the_end(total, step_s):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    said_at = []
    with capture_logs() as lines:
        voyage = Voyage("chunks-sent", STUDY, 3, total, lambda: now)
        for done in range(1, total + 1):
            now += timedelta(seconds=step_s)
            before = len(lines)
            voyage.at(done)
            said_at += [now] * (len(lines) - before)
    assert 1 <= len(lines) <= 11
    assert (lines[-1]["event"], lines[-1]["done"], lines[-1]["total"]) == ("chunks-sent", total, total)
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(said_at[:-1])]
    assert all(gap >= 2 for gap in gaps)


def test_an_owner_sees_what_is_sent_and_fetched_while_it_is_under_way(node, peers, monkeypatch):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    assert under_way(node.silo, peers.record) is None
    peers.freeze()
    total = peers.record.layout(peers.record.current).chunks
    assert under_way(node.silo, peers.record) == f"round 0 attempt 1: 0/{total} sealed chunks sent"
    node.go()
    assert under_way(node.silo, peers.record) is None
    peers.upload()
    peers.serve()
    assert under_way(node.silo, peers.record) == f"round 0 attempt 1: 0/{total} chunks of the sum fetched"
    folder = node.silo.files.sum_folder(peers.study, 0)
    (folder / "0").write_bytes(b"fetched")
    (folder / "1.part").write_bytes(b"half")
    assert under_way(node.silo, peers.record) == f"round 0 attempt 1: 1/{total} chunks of the sum fetched"
    node.go()
    assert "signed, 0 of 3 silos gave their shares" in under_way(node.silo, peers.record)
    peers.unmask(node)
    assert under_way(node.silo, peers.record) is None
