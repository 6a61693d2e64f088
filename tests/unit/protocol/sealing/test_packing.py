import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing.errors import Failure, LevelsRefused, SumRejected
from protocol.sealing.packing import check_levels, pack, unpack
from protocol.sealing.parameters import COUNT_SLOT, PLAIN_MODULUS, Layout

VECTORS = Path(__file__).parents[3] / "vectors"


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 256), st.integers(1, 4), st.integers(1, 30_000), st.randoms(use_true_random=False))
def test_totals_of_any_number_of_silos_are_exact(terms: int, per_slot: int, values: int, random) -> None:
    layout = Layout(values, terms, per_slot)
    survivors = random.randint(2, terms)
    source = np.random.default_rng(random.getrandbits(64))
    total = np.zeros((layout.ciphertexts, 4096), dtype=np.int64)
    expected = np.zeros(values, dtype=np.uint64)
    for number in range(survivors):
        # Extremes overflow first: some silos are all at the top.
        low = layout.level_max if number % 3 == 0 else 0
        levels = source.integers(low, layout.level_max, values, dtype=np.uint64, endpoint=True)
        total = (total + pack(levels, layout)) % PLAIN_MODULUS
        expected += levels
    assert np.array_equal(unpack(total, layout, survivors), expected)


def test_a_run_of_ciphertexts_packs_as_it_does_within_the_whole() -> None:
    layout = Layout(60_000, 4)
    levels = np.arange(60_000, dtype=np.uint64) % (layout.level_max + 1)
    assert np.array_equal(pack(levels, layout)[2:4], pack(levels, layout, 2, 2))
    assert np.array_equal(
        unpack(2 * pack(levels, layout, 4, 1), layout, 2, first=4), 2 * levels[4 * layout.values_per_ciphertext :]
    )


@pytest.mark.parametrize("case", json.loads((VECTORS / "sealing_packing.json").read_text()))
def test_packing_reproduces_the_golden_slots(case: dict) -> None:
    layout = Layout(case["values"], case["terms"], case["per_slot"])
    levels = np.array(case["levels"], dtype=np.uint64)
    slots = pack(levels, layout)
    assert layout.bits == case["bits"]
    assert slots[0, : len(case["slots"])].tolist() == case["slots"]
    assert slots[0, COUNT_SLOT] == 1
    assert not slots[0, len(case["slots"]) : COUNT_SLOT].any()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(9, dtype=np.uint64),
        np.zeros(10, dtype=np.int64),
        np.zeros((10, 1), dtype=np.uint64),
        np.full(10, 2**13, dtype=np.uint64),
    ],
)
def test_levels_of_another_length_type_or_range_are_refused(wrong) -> None:
    with pytest.raises(LevelsRefused):
        check_levels(wrong, Layout(10, 4))


def broken(row: int, slot: int, value: int):
    layout = Layout(20, 4)
    total = 3 * pack(np.full(20, layout.level_max, dtype=np.uint64), layout)
    total[row, slot] = value
    return layout, total


@pytest.mark.parametrize(
    ("what", "slot", "value"),
    [
        ("count slot", COUNT_SLOT, 2),
        ("count slot", COUNT_SLOT, 4),
        ("slot", 0, Layout(20, 4).slot_limit),
        ("slot", 0, -1),
        ("total", 0, Layout(20, 4).radix - 1),  # four silos could reach it, three can't
        ("padding", 7, 1),
        ("padding", 6, Layout(20, 4).radix ** 2),  # the third digit of the last used slot
    ],
)
def test_a_total_that_honest_terms_cannot_give_is_rejected(what: str, slot: int, value: int) -> None:
    layout, total = broken(0, slot, value)
    with pytest.raises(SumRejected, match=f"^{what}: ") as rejected:
        unpack(total, layout, 3)
    assert rejected.value.failure is Failure.CONTENT
