"""Adding in a worker: whose fault a failure is, that a wrong job is nobody's, and the memory that many silos take."""

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hub.aggregation.adding import add
from hub.aggregation.aggregator import Added, BadTerm, Failed, SumJob
from hub.store.blobs import BlobPlace, open_blobs, upload_name
from protocol.sealing import wire
from protocol.sealing.parameters import RING_DEGREE, Layout

SILOS = ("ada", "bern", "cork")
LAYOUT = Layout.single(40_000, 3, 3)
MANY = tuple(f"silo-{number:03}" for number in range(256))
LONG = Layout.single(8 * 4095, len(MANY), 1)


@pytest.fixture
def job(tmp_path: Path) -> SumJob:
    return SumJob(BlobPlace(f"file://{tmp_path}"), "a" * 64, 0, 1, "5" * 64, 0, SILOS, SILOS[::-1], LAYOUT)


@pytest.fixture
def wide(job: SumJob) -> SumJob:
    return replace(job, silos=MANY, arrived=MANY[::-1], layout=LONG)


def records(layout: Layout) -> np.ndarray:
    """A chunk of ciphertexts that nobody can open: to the hub any coefficients below Q are one."""
    made = wire.blank_chunk(layout.ciphertexts_in(0), seeds=1)
    coefficients = np.random.default_rng().integers(1, 1 << 59, (made.size, RING_DEGREE), dtype=np.uint64)
    wire.put_polynomials(made, coefficients)
    made["seeds"] = np.frombuffer(os.urandom(made["seeds"].nbytes), np.uint8).reshape(made["seeds"].shape)
    return made


def put(job: SumJob, silo: str, chunk: bytes) -> None:
    assert open_blobs(job.blobs).create(upload_name(job.study, job.round, job.attempt, silo, 0), chunk)


def put_terms(job: SumJob, **changed: bytes) -> None:
    for silo in job.silos:
        put(job, silo, changed[silo] if silo in changed else records(job.layout).tobytes())


def test_of_two_equal_terms_the_one_that_came_later_is_bad(job: SumJob) -> None:
    chunk = records(LAYOUT).tobytes()
    put_terms(job, ada=chunk, cork=chunk)
    outcome = add(job)
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "ada"  # cork was first


def test_one_copied_ciphertext_among_new_ones_is_enough(job: SumJob) -> None:
    first, later = records(LAYOUT), records(LAYOUT)
    later[2] = first[2]
    put_terms(job, cork=first.tobytes(), bern=later.tobytes())
    outcome = add(job)
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "bern"


@pytest.mark.parametrize("size", [0, LAYOUT.upload_chunk_bytes(0) - 1, LAYOUT.upload_chunk_bytes(0) + 1])
def test_a_term_of_another_length_is_its_silos_fault(job: SumJob, size: int) -> None:
    put_terms(job, bern=(records(LAYOUT).tobytes() + b"\0")[:size])
    outcome = add(job)
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "bern"


@pytest.mark.parametrize("silos", [("ada",), (*SILOS, "dale")])
def test_a_job_over_too_few_or_too_many_silos_blames_nobody(job: SumJob, silos: tuple[str, ...]) -> None:
    wrong = replace(job, silos=silos, arrived=silos[::-1])
    put_terms(wrong)
    outcome = add(wrong)
    assert isinstance(outcome, Failed)
    assert "survivors" in outcome.reason


def test_no_reason_holds_a_byte_of_a_chunk(job: SumJob) -> None:
    chunk = records(LAYOUT)
    put_terms(job, ada=chunk.tobytes(), cork=chunk.tobytes())
    outcome = add(job)
    assert isinstance(outcome, BadTerm)
    assert outcome.reason == "chunk 0: holds a ciphertext of a term that arrived before it"


def peak_of(job: SumJob) -> tuple[object, int]:
    tracemalloc.start()
    try:
        return add(job), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def chunks_held(peak: int) -> float:
    return peak / LONG.upload_chunk_bytes(0)


def test_a_sum_of_256_terms_holds_a_few_chunks_and_not_256(wide: SumJob) -> None:
    put_terms(wide)
    outcome, peak = peak_of(wide)
    assert isinstance(outcome, Added)
    assert chunks_held(peak) < 12


def test_a_bad_term_among_256_is_found_in_the_same_memory(wide: SumJob) -> None:
    chunk = records(LONG).tobytes()
    put_terms(wide, **{"silo-000": chunk, "silo-255": chunk})
    outcome, peak = peak_of(wide)
    assert isinstance(outcome, BadTerm)
    assert outcome.silo == "silo-000"  # the last of them to arrive
    assert chunks_held(peak) < 24
