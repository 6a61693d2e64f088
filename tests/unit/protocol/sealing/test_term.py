import base64
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.sealing import term
from protocol.sealing.errors import KeyRefused, LevelsRefused, SealingError
from protocol.sealing.packing import split
from protocol.sealing.parameters import Layout, Part
from protocol.sealing.secret import StudySecret
from tests.unit.protocol.sealing.conftest import UNMASKED, layouts

VECTORS = Path(__file__).parents[3] / "vectors"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_sum_of_any_survivors_is_exact(make_exchange, data: st.DataObject) -> None:
    silos = data.draw(st.integers(2, 5))
    layout = data.draw(layouts(longest=9_000, terms=data.draw(st.integers(silos, 256))))
    exchange = make_exchange(layout, silos, data.draw(st.integers(0, 2**32)))
    who = data.draw(st.permutations(range(silos)).map(lambda p: p[: max(2, silos - 1)]))
    chunks = exchange.added(who)
    totals = term.open_sum(
        exchange.secret, exchange.freeze, [exchange.silos[w] for w in who], lambda: chunks, layout, UNMASKED
    )
    assert totals.dtype == np.uint64
    assert np.array_equal(totals, np.sum([exchange.levels[w] for w in who], axis=0, dtype=np.uint64))


def test_parts_that_cross_chunks_and_ciphertexts_are_exact(make_exchange) -> None:
    parts = (
        Part("first", 7),
        Part("long", 4095 * 31 * 2 + 5, 2),
        Part("across", 4095 * 3, 1, 30),
        Part("many", 8_001, 8, 4),
        Part("last", 1, 1, 40),
    )
    exchange = make_exchange(Layout(parts, 3), 3)
    assert exchange.layout.chunks == 2
    opened = term.open_sum(
        exchange.secret, exchange.freeze, exchange.silos, lambda: exchange.sum_chunks, exchange.layout, UNMASKED
    )
    assert np.array_equal(opened, exchange.totals)


def test_an_exchange_over_several_chunks_is_exact(wide) -> None:
    totals = term.open_sum(wide.secret, wide.freeze, wide.silos, lambda: wide.sum_chunks, wide.layout, UNMASKED)
    assert np.array_equal(totals, wide.totals)


@pytest.mark.parametrize("values", [1, 4094, 4095, 4096, 4095 * 3, 4095 * 3 + 1])
@pytest.mark.parametrize("per_slot", [1, 3])
def test_lengths_around_a_ciphertexts_border_are_exact(make_exchange, values: int, per_slot: int) -> None:
    exchange = make_exchange(Layout.single(values, 2, per_slot), 2)
    chunks = exchange.sum_chunks
    opened = term.open_sum(exchange.secret, exchange.freeze, exchange.silos, lambda: chunks, exchange.layout, UNMASKED)
    assert np.array_equal(opened, exchange.totals)


def test_256_silos_at_the_top_of_the_range_add_up_exactly(secret: StudySecret) -> None:
    layout = Layout.single(50, 256)
    levels = np.full(50, layout.parts[0].level_max, dtype=np.uint64)
    silos = [f"silo {number}" for number in range(256)]
    chunk = term.add_chunks(
        [b"".join(term.seal(secret, bytes(32), silo, levels, layout, UNMASKED)) for silo in silos], layout, 0
    )
    assert np.array_equal(term.open_sum(secret, bytes(32), silos, lambda: [chunk], layout, UNMASKED), 256 * levels)


def test_the_stored_exchange_still_opens() -> None:
    stored = json.loads((VECTORS / "sealing_exchange.json").read_text())
    layout = Layout(tuple(Part(**part) for part in stored["parts"]), stored["terms"])
    secret = StudySecret.from_bytes(base64.b64decode(stored["secret"]))
    freeze = bytes.fromhex(stored["freeze"])
    uploads = [base64.b64decode(upload) for upload in stored["uploads"]]
    total = base64.b64decode(stored["sum"])
    assert term.add_chunks(uploads, layout, 0) == total
    opened = term.open_sum(secret, freeze, stored["silos"], lambda: [total], layout, UNMASKED)
    assert {name: totals.tolist() for name, totals in split(opened, layout).items()} == stored["totals"]
    assert secret.commitment(b"golden").hex() == stored["commitment"]
    assert secret.state_mac(b"golden", b"state").hex() == stored["state_mac"]


def test_what_cannot_be_sealed_is_refused_before_the_first_chunk_is_asked_for(small) -> None:
    good = small.levels[0]
    with pytest.raises(LevelsRefused, match="exceed"):
        term.seal(small.secret, small.freeze, "a", good + np.uint64(2**13), small.layout, UNMASKED)
    with pytest.raises(LevelsRefused, match="shape"):
        term.seal(small.secret, small.freeze, "a", good[1:], small.layout, UNMASKED)
    with pytest.raises(LevelsRefused, match="silo"):
        term.seal(small.secret, small.freeze, "", good, small.layout, UNMASKED)
    with pytest.raises(KeyRefused, match="freeze"):
        term.seal(small.secret, small.freeze[1:], "a", good, small.layout, UNMASKED)


def test_every_refusal_is_a_sealing_error() -> None:
    with pytest.raises(SealingError):
        Layout.single(0, 4)


def peak_of_sealing(secret: StudySecret, values: int) -> int:
    layout = Layout.single(values, 4)
    levels = np.zeros(values, dtype=np.uint64)
    tracemalloc.start()
    for _ in term.seal(secret, bytes(32), "a", levels, layout, UNMASKED):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_sealing_a_longer_vector_takes_no_more_memory(secret: StudySecret) -> None:
    one_chunk = 32 * 4095 * 3
    assert peak_of_sealing(secret, 3 * one_chunk) < 1.1 * peak_of_sealing(secret, one_chunk) + 2**20


def test_opening_holds_no_more_than_a_chunk_beside_the_totals(make_exchange) -> None:
    layout = Layout.single(3 * 32 * 4095 * 3, 2)
    exchange = make_exchange(layout, 2)
    chunks = exchange.sum_chunks
    tracemalloc.start()
    totals = term.open_sum(exchange.secret, exchange.freeze, exchange.silos, lambda: iter(chunks), layout, UNMASKED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - totals.nbytes < 12 * 2**20
