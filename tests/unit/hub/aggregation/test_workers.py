"""Adding chunks in processes: the sums are right, bad terms are found, dead workers are replaced."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hub.aggregation.aggregator import Added, BadTerm, Outcome, SumJob
from hub.aggregation.workers import WorkerPool, add
from hub.store.blobs import BlobPlace, Blobs, open_blobs, sum_name, upload_name
from protocol.sealing.masks import MaskStream
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import open_sum, seal

SILOS = ("ada", "bern", "cork")
LAYOUT = Layout.single(50, 3, 3)
FREEZE = bytes(32)
UNMASKED = MaskStream((), ())
STUDY = "a" * 64


@pytest.fixture(scope="module")
def secret() -> StudySecret:
    return StudySecret.generate()


@pytest.fixture
def place(tmp_path: Path) -> BlobPlace:
    return BlobPlace(f"file://{tmp_path}")


@pytest.fixture
def blobs(place: BlobPlace) -> Blobs:
    return open_blobs(place)


def put(blobs: Blobs, silo: str, chunk: bytes) -> None:
    assert blobs.create(upload_name(STUDY, 0, 1, silo, 0), chunk)


def upload_all(blobs: Blobs, secret: StudySecret) -> np.ndarray:
    total = np.zeros(LAYOUT.values, dtype=np.uint64)
    for silo in SILOS:
        levels = np.random.default_rng().integers(0, 99, LAYOUT.values, dtype=np.uint64)
        total += levels
        put(blobs, silo, next(seal(secret, FREEZE, silo, levels, LAYOUT, UNMASKED)))
    return total


def job(place: BlobPlace, position: int = 0) -> SumJob:
    return SumJob(place, STUDY, 0, 1, "s" * 64, position, SILOS, SILOS[::-1], LAYOUT)


def test_the_sum_opens_to_the_total_and_adding_again_changes_nothing(
    place: BlobPlace, blobs: Blobs, secret: StudySecret
) -> None:
    total = upload_all(blobs, secret)
    first, second = add(job(place)), add(job(place))
    assert isinstance(first, Added)
    assert first == second
    stored = blobs.read(sum_name(STUDY, 0, 1, "s" * 64, 0))
    np.testing.assert_array_equal(open_sum(secret, FREEZE, SILOS, lambda: [stored], LAYOUT, UNMASKED), total)


def test_a_term_that_is_no_ciphertext_is_found(place: BlobPlace, blobs: Blobs, secret: StudySecret) -> None:
    for silo in ("ada", "cork"):
        put(blobs, silo, next(seal(secret, FREEZE, silo, np.zeros(50, dtype=np.uint64), LAYOUT, UNMASKED)))
    put(blobs, "bern", b"\xff" * LAYOUT.upload_chunk_bytes(0))
    outcome = add(job(place))
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "bern"


def test_of_two_equal_terms_the_one_that_came_later_is_bad(place: BlobPlace, blobs: Blobs, secret: StudySecret) -> None:
    chunk = next(seal(secret, FREEZE, "ada", np.zeros(50, dtype=np.uint64), LAYOUT, UNMASKED))
    put(blobs, "ada", chunk)
    put(blobs, "bern", next(seal(secret, FREEZE, "bern", np.zeros(50, dtype=np.uint64), LAYOUT, UNMASKED)))
    put(blobs, "cork", chunk)
    outcome = add(job(place))
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "ada"  # cork was first


def test_a_term_that_went_missing_is_its_silos_failure(place: BlobPlace, blobs: Blobs, secret: StudySecret) -> None:
    upload_all(blobs, secret)
    blobs.delete_under([f"uploads/{STUDY}/0/1/bern/"])
    assert add(job(place)) == BadTerm("bern", "chunk 0 is not in the store")


class Results:
    def __init__(self) -> None:
        self.all: list[Outcome] = []
        self.arrived = threading.Event()

    def done(self, job: SumJob, outcome: Outcome) -> None:
        self.all.append(outcome)
        self.arrived.set()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1)
    yield made
    made.close()


def test_a_killed_worker_is_replaced_and_its_chunk_is_added_all_the_same(
    pool: WorkerPool, place: BlobPlace, blobs: Blobs, secret: StudySecret
) -> None:
    upload_all(blobs, secret)
    results = Results()
    pool.start(results.done)
    assert pool._pool is not None
    (worker,) = pool._pool._processes.values()
    os.kill(worker.pid or 0, signal.SIGKILL)
    pool.submit(job(place))
    assert results.arrived.wait(60)
    assert isinstance(results.all[0], Added)


def test_a_job_under_way_is_not_run_twice(
    pool: WorkerPool, place: BlobPlace, blobs: Blobs, secret: StudySecret
) -> None:
    upload_all(blobs, secret)
    results = Results()
    pool.start(results.done)
    for _ in range(5):
        pool.submit(job(place))
    assert results.arrived.wait(60)
    pool.close()
    assert len(results.all) == 1
