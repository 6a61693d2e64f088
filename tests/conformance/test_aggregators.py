"""One suite over every aggregator: the same sums, the same blame, the same tries, in a pool of processes and on Ray.

What happens in the middle of a job is arranged with a chunk that is a named pipe: its reader is the worker, it waits.
"""

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hub.aggregation.aggregator import Added, Aggregator, BadTerm, Failed, Outcome, SumJob
from hub.aggregation.process_pool import ProcessPool
from hub.aggregation.ray_driver import LOCAL, RayCluster
from hub.aggregation.ray_executor import RayExecutor
from hub.aggregation.supervisor import MAX_TRIES, Supervisor
from hub.store.blobs import BlobPlace, open_blobs, sum_name, upload_name
from protocol.sealing.addition import add_chunks
from protocol.sealing.masks import MaskStream
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import open_sum, seal

SILOS = ("ada", "bern", "cork")
LAYOUT = Layout.single(50, 3, 3)
FREEZE = bytes(32)
UNMASKED = MaskStream((), ())
STUDY = "a" * 64
SURVIVORS = "5" * 64
WORKERS = 2
SOON_S = 60.0

EXECUTORS = {
    "processes": lambda: ProcessPool(WORKERS),
    "ray": lambda: RayExecutor(RayCluster(LOCAL, WORKERS)),
}


class Running:
    """An aggregator that was started, and what it told."""

    def __init__(self, aggregator: Aggregator) -> None:
        self.submit = aggregator.submit
        self._told: queue.Queue[tuple[SumJob, Outcome]] = queue.Queue()
        aggregator.start(lambda job, outcome: self._told.put((job, outcome)))

    def told(self) -> tuple[SumJob, Outcome]:
        return self._told.get(timeout=SOON_S)

    def outcome(self, job: SumJob) -> Outcome:
        about, outcome = self.told()
        assert about == job
        return outcome

    def run(self, job: SumJob) -> Outcome:
        self.submit(job)
        return self.outcome(job)


@pytest.fixture(scope="module", params=["processes", pytest.param("ray", marks=pytest.mark.slow)])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    aggregator = Supervisor(EXECUTORS[request.param])
    yield Running(aggregator)
    aggregator.close()


@pytest.fixture(scope="module")
def secret() -> StudySecret:
    return StudySecret.generate()


@pytest.fixture(scope="module")
def levels() -> dict[str, np.ndarray]:
    drawn = np.random.default_rng().integers(0, 99, (len(SILOS), LAYOUT.values), dtype=np.uint64)
    return dict(zip(SILOS, drawn, strict=True))


@pytest.fixture(scope="module")
def chunks(secret: StudySecret, levels: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {silo: next(seal(secret, FREEZE, silo, levels[silo], LAYOUT, UNMASKED)) for silo in SILOS}


@pytest.fixture
def job(tmp_path: Path) -> SumJob:
    place = BlobPlace(f"file://{tmp_path / 'blobs'}")
    return SumJob(place, STUDY, 0, 1, SURVIVORS, 0, SILOS, SILOS[::-1], LAYOUT)


def upload(job: SumJob, chunks: dict[str, bytes]) -> None:
    for silo, chunk in chunks.items():
        assert open_blobs(job.blobs).create(upload_name(job.study, job.round, job.attempt, silo, 0), chunk)


def stored(job: SumJob) -> bytes:
    return open_blobs(job.blobs).read(sum_name(job.study, job.round, job.attempt, job.survivors, 0))


class HeldUp:
    """The chunk of a silo whose reader waits until it is let through."""

    def __init__(self, job: SumJob, silo: str) -> None:
        name = upload_name(job.study, job.round, job.attempt, silo, 0)
        self._path = Path(job.blobs.url.removeprefix("file://")) / name
        self._path.parent.mkdir(parents=True)
        os.mkfifo(self._path)
        self._end: int | None = None

    def reader(self) -> int:
        """The process id of the worker that reads, once one does."""
        _await(self._opened, "a worker opens the chunk")
        _await(lambda: bool(self._readers()), "it has opened it")
        (found,) = self._readers()
        return found

    def kill_reader(self) -> None:
        worker = self.reader()
        os.kill(worker, signal.SIGKILL)
        self._close()
        _await(lambda: not _reads(worker, self._path), "the worker is gone")

    def let_through(self, chunk: bytes) -> None:
        self.reader()
        assert self._end is not None
        os.set_blocking(self._end, True)
        assert os.write(self._end, chunk) == len(chunk)
        self._close()

    def let_go(self) -> None:
        """Whoever still reads reads nothing, and the next one finds no such chunk."""
        self._end = self._end or os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._path.unlink()
        self._close()

    def _readers(self) -> list[int]:
        return [int(pid.name) for pid in Path("/proc").glob("[0-9]*") if _reads(int(pid.name), self._path)]

    def _opened(self) -> bool:
        """A pipe can't be opened for writing before somebody reads."""
        try:
            self._end = self._end or os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    def _close(self) -> None:
        if self._end is not None:
            os.close(self._end)
        self._end = None


@pytest.fixture
def hold_up() -> Iterator["Hold"]:
    made: list[HeldUp] = []

    def hold(job: SumJob, silo: str) -> HeldUp:
        made.append(HeldUp(job, silo))
        return made[-1]

    yield hold
    for one in made:
        one.let_go()


Hold = Callable[[SumJob, str], HeldUp]


def _reads(process: int, path: Path) -> bool:
    if process == os.getpid():
        return False
    try:
        return any(os.readlink(handle) == str(path) for handle in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def _await(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_sum_opens_to_the_total_of_its_terms_and_is_the_librarys_own(
    running: Running, job: SumJob, chunks: dict[str, bytes], secret: StudySecret, levels: dict[str, np.ndarray]
) -> None:
    upload(job, chunks)
    assert isinstance(running.run(job), Added)
    assert stored(job) == add_chunks(chunks.values(), LAYOUT, 0)
    opened = open_sum(secret, FREEZE, SILOS, lambda: [stored(job)], LAYOUT, UNMASKED)
    np.testing.assert_array_equal(opened, sum(levels.values()))


def test_the_same_job_again_gives_the_same_bytes_and_answer(
    running: Running, job: SumJob, chunks: dict[str, bytes]
) -> None:
    upload(job, chunks)
    first, content = running.run(job), stored(job)
    assert running.run(job) == first
    assert stored(job) == content


def test_other_bytes_in_the_place_of_the_sum_are_kept_and_nobody_is_blamed(
    running: Running, job: SumJob, chunks: dict[str, bytes]
) -> None:
    upload(job, chunks)
    open_blobs(job.blobs).create(sum_name(STUDY, 0, 1, SURVIVORS, 0), b"another sum")
    assert running.run(job) == Failed("another sum lies in this place")
    assert stored(job) == b"another sum"


def test_a_term_that_is_no_ciphertext_is_its_silos_fault(
    running: Running, job: SumJob, chunks: dict[str, bytes]
) -> None:
    upload(job, {**chunks, "bern": b"\xff" * LAYOUT.upload_chunk_bytes(0)})
    outcome = running.run(job)
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "bern"


def test_a_term_that_went_missing_is_its_silos_fault(running: Running, job: SumJob, chunks: dict[str, bytes]) -> None:
    upload(job, {silo: chunks[silo] for silo in ("ada", "cork")})
    assert running.run(job) == BadTerm("bern", "chunk 0 is not in the store")


def test_workers_that_cannot_open_the_blobs_have_failed_and_nobody_is_blamed(running: Running, job: SumJob) -> None:
    nowhere = BlobPlace("s3://bucket/prefix", region="nowhere", credentials=Path("/nowhere/s3.toml"))
    assert running.run(replace(job, blobs=nowhere)) == Failed("SetupRefused")


def test_a_job_under_way_is_not_run_twice(
    running: Running, job: SumJob, hold_up: Hold, chunks: dict[str, bytes]
) -> None:
    held = hold_up(job, "ada")
    upload(job, {silo: chunks[silo] for silo in ("bern", "cork")})
    for _ in range(5):
        running.submit(job)
    held.let_through(chunks["ada"])
    assert isinstance(running.outcome(job), Added)
    other = replace(job, round=1)
    assert running.run(other) == BadTerm("cork", "chunk 0 is not in the store")  # no second answer came before it


def test_two_jobs_run_in_two_processes_at_once(
    running: Running, job: SumJob, hold_up: Hold, chunks: dict[str, bytes]
) -> None:
    jobs = [replace(job, round=index) for index in range(WORKERS)]
    held = [hold_up(one, "ada") for one in jobs]
    for one in jobs:
        upload(one, {silo: chunks[silo] for silo in ("bern", "cork")})
        running.submit(one)
    assert len({one.reader() for one in held}) == WORKERS  # and none was let through before all were being read
    for one in held:
        one.let_through(chunks["ada"])
    assert {running.told()[0] for _ in jobs} == set(jobs)


def test_a_job_whose_worker_is_killed_is_done_by_another(
    running: Running, job: SumJob, hold_up: Hold, chunks: dict[str, bytes]
) -> None:
    held = hold_up(job, "ada")
    upload(job, {silo: chunks[silo] for silo in ("bern", "cork")})
    running.submit(job)
    for _ in range(MAX_TRIES - 1):
        held.kill_reader()
    held.let_through(chunks["ada"])
    assert isinstance(running.outcome(job), Added)


def test_a_job_that_kills_every_worker_fails_after_three_tries_and_the_next_one_is_done(
    running: Running, job: SumJob, hold_up: Hold, chunks: dict[str, bytes]
) -> None:
    held = hold_up(job, "ada")
    running.submit(job)
    for _ in range(MAX_TRIES):
        held.kill_reader()
    assert isinstance(running.outcome(job), Failed)
    upload(replace(job, round=1), chunks)
    assert isinstance(running.run(replace(job, round=1)), Added)
