import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing.errors import Failure, LayoutRefused, LevelsRefused, SumRejected
from protocol.sealing.packing import check_levels, join, pack, split, unpack
from protocol.sealing.parameters import COUNT_SLOT, PLAIN_MODULUS, Layout, Part, most_bits
from tests.unit.protocol.sealing.conftest import layouts, levels_of

VECTORS = Path(__file__).parents[3] / "vectors"
SMALL = Layout((Part("ages", 20, 3, 13), Part("deaths", 1, 1, 20), Part("stays", 7, 2, 8)), 4)


@settings(deadline=None, max_examples=40)
@given(layouts(longest=20_000), st.data())
def test_totals_of_any_parts_and_any_number_of_silos_are_exact(layout: Layout, data: st.DataObject) -> None:
    survivors = data.draw(st.integers(2, layout.terms))
    source = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Extremes overflow first: one of three silos is at the top throughout, the others anywhere.
    top, others = levels_of(layout, source, top=True), [levels_of(layout, source, top=False) for _ in range(2)]
    times = [-(-survivors // 3), -(-(survivors - 1) // 3), survivors // 3]
    total = np.zeros((layout.ciphertexts, 4096), dtype=np.int64)
    expected = np.zeros(layout.values, dtype=np.uint64)
    for levels, count in zip([top, *others], times, strict=True):
        total = (total + pack(levels, layout) * count) % PLAIN_MODULUS
        expected += levels * np.uint64(count)
    assert sum(times) == survivors
    assert np.array_equal(unpack(total, layout, survivors), expected)


@settings(deadline=None, max_examples=40)
@given(layouts(longest=60_000), st.data())
def test_any_run_of_ciphertexts_packs_and_unpacks_as_it_does_within_the_whole(layout: Layout, data) -> None:
    first = data.draw(st.integers(0, layout.ciphertexts - 1))
    count = data.draw(st.integers(1, layout.ciphertexts - first))
    levels = levels_of(layout, np.random.default_rng(data.draw(st.integers(0, 2**32))), top=False)
    start, stop = layout.run(first, count)
    block, whole = levels[start:stop], pack(levels, layout)
    check_levels(block, layout, first, count)
    assert np.array_equal(pack(block, layout, first, count), whole[first : first + count])
    assert np.array_equal(unpack(2 * whole[first : first + count], layout, 2, first), 2 * block)


@settings(deadline=None)
@given(st.integers(3, 256), st.integers(1, 8), st.integers(0, 2**32), st.data())
def test_every_digit_of_a_slot_comes_back_whatever_the_others_are(terms: int, per_slot: int, seed: int, data) -> None:
    if most_bits(terms, per_slot) < 1:
        return
    layout = Layout.single(4000 * per_slot, terms, per_slot, data.draw(st.integers(1, most_bits(terms, per_slot))))
    source, top = np.random.default_rng(seed), terms * layout.parts[0].level_max
    near = source.choice(np.array([0, 1, top // 2, top - 1, top], dtype=np.uint64), layout.values)
    totals = np.where(source.random(layout.values) < 0.5, near, source.integers(0, top, layout.values, np.uint64))
    slots = pack(totals, layout)
    slots[:, COUNT_SLOT] = terms
    assert np.array_equal(unpack(slots, layout, terms), totals)


def test_parts_begin_with_a_slot_of_their_own_and_leave_no_gap() -> None:
    slots = pack(levels_of(SMALL, np.random.default_rng(1), top=True), SMALL)
    assert slots.shape == (1, 4096)
    assert (slots[0, :12] > 0).all() and not slots[0, 12:COUNT_SLOT].any()
    assert slots[0, 7] == 2**20 - 1


def test_ten_histograms_of_twenty_bins_cost_one_ciphertext() -> None:
    layout = Layout(tuple(Part(f"bins-{number}", 20, 2, 4 + number) for number in range(10)), 256)
    assert (layout.ciphertexts, layout.chunks, layout.upload_bytes) == (1, 1, 30_792)


def test_a_part_that_ends_in_one_ciphertext_lets_the_next_begin_in_it() -> None:
    layout = Layout((Part("long", 3 * 4090, 3, 13), Part("next", 10, 1, 30)), 4)
    assert [(p.part.name, p.slot, p.slots, p.start, p.stop) for p in layout.pieces(0, 1)] == [
        ("long", 0, 4090, 0, 12_270),
        ("next", 4090, 5, 12_270, 12_275),
    ]
    assert layout.run(1, 1) == (12_275, 12_280)


@pytest.mark.parametrize("case", json.loads((VECTORS / "sealing_packing.json").read_text()))
def test_packing_reproduces_the_golden_slots(case: dict) -> None:
    parts = [Part(one["name"], len(one["levels"]), one["per_slot"], one["bits"]) for one in case["parts"]]
    layout = Layout(tuple(parts), case["terms"])
    levels = {one["name"]: np.array(one["levels"], dtype=np.uint64) for one in case["parts"]}
    slots = pack(join(levels, layout), layout)
    assert slots[0, : len(case["slots"])].tolist() == case["slots"]
    assert slots[0, COUNT_SLOT] == 1
    assert not slots[0, len(case["slots"]) : COUNT_SLOT].any()


def test_vectors_are_joined_and_split_by_name_whatever_their_order() -> None:
    whole = levels_of(SMALL, np.random.default_rng(2), top=False)
    named = split(whole, SMALL)
    assert {name: its.size for name, its in named.items()} == {"ages": 20, "deaths": 1, "stays": 7}
    assert np.array_equal(join(dict(reversed(named.items())), SMALL), whole)


def test_vectors_of_other_names_or_lengths_are_not_joined() -> None:
    named = split(np.zeros(28, dtype=np.uint64), SMALL)
    for wrong in ({}, {**named, "more": named["ages"]}, {"ages": named["ages"]}):
        with pytest.raises(LevelsRefused, match="ages, deaths, stays"):
            join(wrong, SMALL)
    with pytest.raises(LevelsRefused, match=r"^deaths: .*\(1,\)"):
        join({**named, "deaths": named["stays"]}, SMALL)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(27, dtype=np.uint64),
        np.zeros(28, dtype=np.int64),
        np.zeros((28, 1), dtype=np.uint64),
        np.full(28, 2**13, dtype=np.uint64),
        [0] * 28,
    ],
)
def test_levels_of_another_length_type_or_range_are_refused(wrong) -> None:
    with pytest.raises(LevelsRefused):
        check_levels(wrong, SMALL)


def test_each_part_has_a_range_of_its_own() -> None:
    for name, top in (("ages", 2**13), ("deaths", 2**20), ("stays", 2**8)):
        named = split(np.zeros(28, dtype=np.uint64), SMALL)
        named[name][-1] = top - 1
        check_levels(join(named, SMALL), SMALL)
        named[name][-1] = top
        with pytest.raises(LevelsRefused, match=f"^{name}: some levels exceed {top - 1}"):
            check_levels(join(named, SMALL), SMALL)


AGES, STAYS = 4 * (2**13 - 1) + 1, 4 * (2**8 - 1) + 1


@pytest.mark.parametrize(
    ("what", "slot", "value"),
    [
        ("count slot: ", COUNT_SLOT, 2),
        ("count slot: ", COUNT_SLOT, 4),
        ("slot: .*ages", 0, AGES**3),
        ("slot: .*ages", 0, -1),
        ("slot: .*deaths", 7, 4 * (2**20 - 1) + 1),
        ("slot: .*stays", 8, STAYS**2),
        ("total: .*ages", 0, AGES - 1),  # four silos could reach it, three can't
        ("total: .*deaths", 7, 4 * (2**20 - 1)),
        ("total: .*stays", 11, STAYS - 1),
        ("padding: .*ages", 6, AGES**2),  # the third digit of its last slot
        ("padding: .*stays", 11, STAYS),
        ("padding: .*last part", 12, 1),
        ("padding: .*last part", COUNT_SLOT - 1, 1),
    ],
)
def test_a_total_that_honest_terms_cannot_give_is_rejected(what: str, slot: int, value: int) -> None:
    total = 3 * pack(np.concatenate([np.full(p.values, p.level_max, np.uint64) for p in SMALL.parts]), SMALL)
    unpack(total, SMALL, 3)
    total[0, slot] = value
    with pytest.raises(SumRejected, match=f"^{what}") as rejected:
        unpack(total, SMALL, 3)
    assert rejected.value.failure is Failure.CONTENT


def test_a_part_that_the_layout_lacks_is_an_error_that_names_those_it_has() -> None:
    assert SMALL.part("stays").level_max == 255
    with pytest.raises(LayoutRefused, match="'stay': this layout has ages, deaths, stays"):
        SMALL.part("stay")
