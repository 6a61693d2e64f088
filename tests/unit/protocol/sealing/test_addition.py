"""The hub's checks. What is wrong shows in sizes and ranges; the tags are for the silos to check."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from protocol.sealing import wire
from protocol.sealing.addition import add_chunks, check_upload_chunk
from protocol.sealing.errors import ChunkRefused, LayoutRefused
from protocol.sealing.parameters import CIPHER_MODULUS


def test_an_honest_upload_passes(small, wide) -> None:
    for exchange in (small, wide):
        for upload in exchange.uploads:
            for index, chunk in enumerate(upload):
                check_upload_chunk(chunk, exchange.layout, index)
                assert len(chunk) == exchange.layout.upload_chunk_bytes(index)


def test_the_hub_needs_no_bfv_library() -> None:
    code = "import sys, protocol.sealing.addition; sys.exit(any('tenseal' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sum_has_the_size_that_the_layout_says_for_its_survivors(wide) -> None:
    for who in ([0, 1], [0, 1, 2]):
        for index, chunk in enumerate(wide.added(who)):
            assert len(chunk) == wide.layout.sum_chunk_bytes(index, len(who))


def edited(chunk: bytes, edit: Callable[[np.ndarray], None]) -> bytes:
    records = np.frombuffer(chunk, wire.chunk_type(1)).copy()
    edit(records)
    return records.tobytes()


def with_coefficient(value: int) -> Callable[[np.ndarray], None]:
    def edit(records: np.ndarray) -> None:
        coefficients = wire.polynomials(records)
        coefficients[-1, 17] = value
        wire.put_polynomials(records, coefficients)

    return edit


def zero_polynomial(records: np.ndarray) -> None:
    wire.put_polynomials(records[:1], np.zeros((1, 4096), dtype=np.uint64))


def zero_seed(records: np.ndarray) -> None:
    records["seeds"][0] = 0


def large_tag(records: np.ndarray) -> None:
    records["tag"][0] = CIPHER_MODULUS


def same_seed_twice(records: np.ndarray) -> None:
    records[1] = records[0]


BAD_CHUNKS = {
    "empty": lambda chunk: b"",
    "truncated": lambda chunk: chunk[:-1],
    "oversize": lambda chunk: chunk + b"\0",
    "one ciphertext less": lambda chunk: chunk[: len(chunk) // 2],
    "coefficient at the modulus": lambda chunk: edited(chunk, with_coefficient(CIPHER_MODULUS)),
    "coefficient of all ones": lambda chunk: edited(chunk, with_coefficient(2**60 - 1)),
    "tag at the modulus": lambda chunk: edited(chunk, large_tag),
    "zero first polynomial": lambda chunk: edited(chunk, zero_polynomial),
    "zero seed": lambda chunk: edited(chunk, zero_seed),
    "a ciphertext twice": lambda chunk: edited(chunk, same_seed_twice),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_broken_chunk_is_refused_and_never_added(small, name: str) -> None:
    bad = BAD_CHUNKS[name](small.uploads[0][0])
    with pytest.raises(ChunkRefused, match="chunk 0: "):
        check_upload_chunk(bad, small.layout, 0)
    with pytest.raises(ChunkRefused, match="chunk 0: "):
        add_chunks([bad, small.uploads[1][0]], small.layout, 0)


def test_a_chunk_of_another_index_is_refused_by_its_size(wide) -> None:
    with pytest.raises(ChunkRefused, match="length"):
        check_upload_chunk(wide.uploads[0][0], wide.layout, 1)
    with pytest.raises(LayoutRefused, match="index"):
        check_upload_chunk(wide.uploads[0][0], wide.layout, 2)


def test_one_term_alone_is_not_a_sum(small) -> None:
    for count in (0, 1, 5):
        with pytest.raises(ChunkRefused, match="survivors"):
            add_chunks([small.uploads[0][0]] * count, small.layout, 0)


def test_a_term_that_copies_another_is_not_added(small) -> None:
    first, second = small.uploads[0][0], small.uploads[1][0]
    half = len(first) // 2
    for copied in (first, first[:half] + second[half:]):
        with pytest.raises(ChunkRefused, match="two terms"):
            add_chunks([first, copied], small.layout, 0)
