import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing.errors import LayoutRefused
from protocol.sealing.parameters import PLAIN_MODULUS, Layout, Part, most_bits, radix_for


@pytest.mark.parametrize(
    ("terms", "bits"), [(4, {2: 21, 3: 13, 4: 9}), (16, {2: 19, 3: 11, 4: 7}), (100, {2: 16, 3: 8, 4: 4})]
)
def test_the_bits_are_those_of_the_design(terms: int, bits: dict[int, int]) -> None:
    assert {per_slot: Layout.single(1, terms, per_slot).parts[0].bits for per_slot in bits} == bits


@given(st.integers(2, 256), st.integers(1, 8))
def test_the_most_bits_fit_a_slot_and_one_more_would_not(terms: int, per_slot: int) -> None:
    bits = most_bits(terms, per_slot)
    assert radix_for(terms, bits) ** per_slot <= PLAIN_MODULUS < radix_for(terms, bits + 1) ** per_slot


@settings(deadline=None)
@given(st.integers(1, 2**31), st.integers(2, 256), st.integers(1, 4))
def test_chunks_hold_every_value_and_no_ciphertext_is_empty(values: int, terms: int, per_slot: int) -> None:
    layout = Layout.single(values, terms, per_slot)
    assert (layout.ciphertexts - 1) * 4095 * per_slot < values <= layout.ciphertexts * 4095 * per_slot
    assert [layout.run(at, 1)[0] for at in (0, layout.ciphertexts - 1)] == [
        0,
        (layout.ciphertexts - 1) * 4095 * per_slot,
    ]
    assert layout.run(0, layout.ciphertexts) == (0, values)
    last = layout.chunks - 1
    assert last * 32 + layout.ciphertexts_in(last) == layout.ciphertexts
    assert last * layout.upload_chunk_bytes(0) + layout.upload_chunk_bytes(last) == layout.upload_bytes or last == 0


def test_a_layout_with_the_bits_left_out_equals_one_that_names_them() -> None:
    assert Layout.single(10, 4) == Layout.single(10, 4, bits=13) != Layout.single(10, 4, bits=12)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("vector.values 0", (0, 4)),
        ("vector.values 2147483649", (2**31 + 1, 4)),
        ("vector.values True", (True, 4)),
        ("terms 1", (10, 1)),
        ("terms 257", (10, 257)),
        ("vector.per_slot 0", (10, 4, 0)),
        ("vector.per_slot 9", (10, 4, 9)),
        ("vector.per_slot 8", (10, 256, 8)),
        ("vector.bits 14", (10, 4, 3, 14)),
        ("vector.bits 0", (10, 4, 3, 0)),
        ("vector.bits 13.0", (10, 4, 3, 13.0)),
    ],
)
def test_what_does_not_fit_is_refused_by_name(field: str, asked: tuple[int, ...]) -> None:
    with pytest.raises(LayoutRefused, match=f"^{field}: "):
        Layout.single(*asked)


@pytest.mark.parametrize("name", ["", "Ages", "1st", "a b", "a.b", "é", "a" * 64, "a\n", None, 3])
def test_a_name_that_is_not_short_and_plain_is_refused(name) -> None:
    with pytest.raises(LayoutRefused, match=r"^name .*rename the part"):
        Part(name, 10)


def test_no_two_parts_have_one_name_and_there_is_at_least_one_part() -> None:
    with pytest.raises(LayoutRefused, match="named ages; rename"):
        Layout((Part("ages", 10), Part("stays", 10), Part("ages", 11)), 4)
    for count in (0, 1025):
        with pytest.raises(LayoutRefused, match=f"^parts {count}: "):
            Layout(tuple(Part(f"part-{number}", 1) for number in range(count)), 4)


def test_parts_are_no_longer_together_than_one_may_be_alone() -> None:
    with pytest.raises(LayoutRefused, match=r"^values 2147483649: "):
        Layout((Part("ages", 2**30), Part("stays", 2**30 + 1)), 4)


def test_every_part_gets_the_bits_that_its_values_a_slot_leave() -> None:
    layout = Layout((Part("ages", 10), Part("stays", 10, 2), Part("deaths", 1, 1, 7)), 4)
    assert [part.bits for part in layout.parts] == [13, 21, 7]
    assert layout != Layout((layout.parts[1], layout.parts[0], layout.parts[2]), 4)


def test_a_chunk_or_a_number_of_survivors_outside_the_layout_has_no_size() -> None:
    layout = Layout.single(10, 4)
    for index in (-1, 1):
        with pytest.raises(LayoutRefused, match="index"):
            layout.upload_chunk_bytes(index)
    for survivors in (1, 5):
        with pytest.raises(LayoutRefused, match="survivors"):
            layout.sum_chunk_bytes(0, survivors)


def test_an_upload_takes_less_than_2_75_bytes_a_value_at_three_values_a_slot() -> None:
    assert Layout.single(1_000_000, 4).upload_bytes / 1_000_000 < 2.75
