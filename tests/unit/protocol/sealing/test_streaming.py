"""Vectors that never stand in memory whole: a reader of levels at one end, totals chunk by chunk at the other."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from protocol.sealing import bfv, packing, term, wire
from protocol.sealing.errors import ChunkRefused, Failure, LevelsRefused, SumRejected
from protocol.sealing.parameters import COUNT_SLOT, Layout, Part
from tests.unit.protocol.sealing.conftest import UNMASKED, levels_of
from tests.unit.protocol.sealing.test_insider import insider_chunk
from tests.unit.protocol.sealing.test_malicious_hub import altered, shift_noise


def streamed(exchange, chunks) -> Iterator[np.ndarray]:
    return term.stream_sum(
        exchange.secret, exchange.freeze, exchange.silos, lambda: iter(chunks), exchange.layout, UNMASKED
    )


def test_totals_come_chunk_by_chunk_and_are_those_of_one_array(wide) -> None:
    arrays = list(streamed(wide, wide.sum_chunks))
    assert [array.size for array in arrays] == [32 * 4095, 10]
    assert np.array_equal(np.concatenate(arrays), wide.totals)


@pytest.mark.parametrize("broken", [0, 1])
def test_no_total_comes_before_every_tag_has_held(wide, broken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("something that failed was decrypted")

    monkeypatch.setattr(bfv.Cipher, "decrypt", unexpected)
    chunks = wide.sum_chunks
    chunks[broken] = altered(chunks[broken], 3, shift_noise)
    with pytest.raises(SumRejected) as rejected:
        next(streamed(wide, chunks))
    assert rejected.value.failure is Failure.TAG


def test_after_malformed_content_no_more_totals_come_and_the_sum_is_rejected(wide) -> None:
    slots = packing.pack(np.zeros(wide.layout.values, dtype=np.uint64), wide.layout, 0, 32)
    slots[0, COUNT_SLOT] = 5
    parts = [wide.uploads[0][0], wide.uploads[1][0], insider_chunk(wide, "silo-2", slots)]
    chunks = [term.add_chunks(parts, wide.layout, 0), wide.sum_chunks[1]]
    with pytest.raises(SumRejected, match="count slot"):
        next(streamed(wide, chunks))


def peak_of_streaming(make_exchange, chunks: int) -> int:
    exchange = make_exchange(Layout.single(chunks * 32 * 4095 * 3, 2), 2)
    total = exchange.sum_chunks
    tracemalloc.start()
    for _ in streamed(exchange, total):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_streaming_a_longer_sum_takes_no_more_memory(make_exchange) -> None:
    # From two chunks on: a reader may hold one chunk's totals while the next is opened.
    grown = peak_of_streaming(make_exchange, 8) - peak_of_streaming(make_exchange, 2)
    assert grown < 6 * 2**13, "digests are all that is held of a chunk that is done"


def test_a_reader_is_asked_for_each_range_once_in_order_and_seals_the_same_levels(wide) -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return wide.levels[0][start:stop]

    upload = list(term.seal(wide.secret, wide.freeze, "silo-0", read, wide.layout, UNMASKED))
    assert asked == [(0, 32 * 4095), (32 * 4095, 32 * 4095 + 10)]
    others = wide.uploads[1:]
    chunks = [term.add_chunks([upload[at], *(one[at] for one in others)], wide.layout, at) for at in range(2)]
    assert np.array_equal(np.concatenate(list(streamed(wide, chunks))), wide.totals)


def test_a_reader_is_asked_for_runs_that_go_on_over_the_borders_of_parts(secret) -> None:
    layout = Layout((Part("one", 4095 * 20 * 3), Part("two", 4095 * 24, 2), Part("count", 1, 1, 20)), 3)
    whole, asked = levels_of(layout, np.random.default_rng(3)), []

    def read(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return whole[start:stop]

    streams = [term.seal(secret, bytes(32), name, read, layout, UNMASKED) for name in ("a", "b")]
    total = [term.add_chunks(pair, layout, at) for at, pair in enumerate(zip(*streams, strict=True))]
    assert sorted(set(asked)) == [(0, 4095 * 20 * 3 + 4095 * 24), (4095 * 20 * 3 + 4095 * 24, layout.values)]
    arrays = list(term.stream_sum(secret, bytes(32), ["a", "b"], lambda: total, layout, UNMASKED))
    assert np.array_equal(np.concatenate(arrays), 2 * whole)


@pytest.mark.parametrize("change", [lambda a: a[1:], lambda a: a.astype(np.int64), lambda a: a + np.uint64(2**46)])
def test_what_a_reader_gives_is_checked_like_an_array(wide, change) -> None:
    chunks = term.seal(
        wide.secret,
        wide.freeze,
        "silo-0",
        lambda start, stop: change(wide.levels[0][start:stop]),
        wide.layout,
        UNMASKED,
    )
    with pytest.raises(LevelsRefused):
        next(chunks)


def peak_of_adding(chunk: bytes, terms: int) -> int:
    layout = Layout.single(32 * 4095 * 3, 40)

    def given() -> Iterator[bytes]:
        for number in range(terms):
            records = np.frombuffer(chunk, wire.chunk_type(1)).copy()
            records["seeds"][:, 0, 0] = number  # no two terms with one seed
            yield records.tobytes()

    tracemalloc.start()
    term.add_chunks(given(), layout, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_addition_of_more_terms_takes_no_more_memory_than_their_seeds(secret) -> None:
    layout = Layout.single(32 * 4095 * 3, 40)
    levels = np.zeros(layout.values, dtype=np.uint64)
    (chunk,) = term.seal(secret, bytes(32), "a", levels, layout, UNMASKED)
    assert peak_of_adding(chunk, 40) - peak_of_adding(chunk, 4) < len(chunk)


def test_addition_stops_at_the_first_term_too_many(small) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(5):
            yield small.uploads[0][0]
        raise AssertionError("read on after the layout was full")

    with pytest.raises(ChunkRefused, match="survivors"):
        term.add_chunks(endless(), small.layout, 0)
