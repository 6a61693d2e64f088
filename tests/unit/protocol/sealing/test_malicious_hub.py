"""What a hub may try that doesn't know the study secret.

Every attack on the sum must end in SumRejected *before* anything is decrypted: a silo that decrypts what the
hub made up answers questions about the key.

Not attacks: another order of the survivors or of a ciphertext's seeds (a sum has none), a resend of the same bytes.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.sealing import term, wire
from protocol.sealing.authenticator import Authenticator
from protocol.sealing.errors import ChunkRefused, Failure, SumRejected
from protocol.sealing.parameters import CIPHER_MODULUS, PLAIN_MODULUS, Layout
from protocol.sealing.secret import StudySecret
from tests.unit.protocol.sealing.conftest import UNMASKED

Records = np.ndarray


def unchecked_sum(chunks: list[bytes], weights: list[int] | None = None) -> bytes:
    """What the hub's addition would give if it checked nothing and could weigh terms."""
    terms = [np.frombuffer(chunk, wire.chunk_type(1)) for chunk in chunks]
    total = wire.blank_chunk(len(terms[0]), len(terms))
    weights = weights or [1] * len(terms)
    coefficients = np.zeros((len(terms[0]), 4096), dtype=object)
    tags = np.zeros(len(terms[0]), dtype=object)
    for position, (its, weight) in enumerate(zip(terms, weights, strict=True)):
        coefficients += wire.polynomials(its).astype(object) * weight
        tags += its["tag"].astype(object) * weight
        total["seeds"][:, position] = its["seeds"][:, 0]
    wire.put_polynomials(total, (coefficients % CIPHER_MODULUS).astype(np.uint64))
    total["tag"] = (tags % CIPHER_MODULUS).astype(np.uint64)
    return total.tobytes()


def altered(chunk: bytes, seeds: int, change: Callable[[Records], None]) -> bytes:
    records = np.frombuffer(chunk, wire.chunk_type(seeds)).copy()
    change(records)
    return records.tobytes()


def shift_plaintext(records: Records) -> None:
    """Add the encryption of a constant polynomial: Delta times 5 on the first coefficient."""
    coefficients = wire.polynomials(records)
    coefficients[0, 0] = (int(coefficients[0, 0]) + 5 * (CIPHER_MODULUS // PLAIN_MODULUS)) % CIPHER_MODULUS
    wire.put_polynomials(records, coefficients)


def shift_noise(records: Records) -> None:
    """A change too small to change what decrypts: the reaction attack's question."""
    coefficients = wire.polynomials(records)
    coefficients[0, 9] = (int(coefficients[0, 9]) + 1) % CIPHER_MODULUS
    wire.put_polynomials(records, coefficients)


def scale_both(records: Records) -> None:
    doubled = wire.polynomials(records)
    wire.add_modulo(doubled, wire.polynomials(records))
    wire.put_polynomials(records, doubled)
    records["tag"] = (records["tag"] * np.uint64(2)) % np.uint64(CIPHER_MODULUS)


def swap_ciphertexts(records: Records) -> None:
    records[[0, 1]] = records[[1, 0]]


def swap_tags(records: Records) -> None:
    records["tag"][[0, 1]] = records["tag"][[1, 0]]


def zero_everything(records: Records) -> None:
    records[...] = np.zeros_like(records)


def new_seed(records: Records) -> None:
    records["seeds"][0, 0] = 7


def one_bit_of_a_seed(records: Records) -> None:
    records["seeds"][1, 2, 63] ^= 128


def seed_twice(records: Records) -> None:
    records["seeds"][0, 0] = records["seeds"][0, 1]


def swap_seeds_between_ciphertexts(records: Records) -> None:
    records["seeds"][[0, 1]] = records["seeds"][[1, 0]]


def swap_one_terms_seeds(records: Records) -> None:
    records["seeds"][[0, 1], 1] = records["seeds"][[1, 0], 1]


def swap_seeds_of_two_terms(records: Records) -> None:
    """One term's seed of the first ciphertext against another's of the second."""
    held = records["seeds"][0, 0].copy()
    records["seeds"][0, 0] = records["seeds"][1, 2]
    records["seeds"][1, 2] = held


def move_seeds_round(records: Records) -> None:
    """Every seed stays in the sum, each at a ciphertext that is not its own."""
    records["seeds"][...] = np.roll(records["seeds"].reshape(-1, 64), 1, axis=0).reshape(records["seeds"].shape)


ALTERATIONS = {
    "adds a constant": shift_plaintext,
    "adds one to a coefficient": shift_noise,
    "doubles polynomial and tag": scale_both,
    "swaps two ciphertexts": swap_ciphertexts,
    "swaps two tags": swap_tags,
    "sends zeros": zero_everything,
    "replaces a seed": new_seed,
    "changes one bit of a seed": one_bit_of_a_seed,
    "puts a seed twice": seed_twice,
    "swaps two ciphertexts' seeds": swap_seeds_between_ciphertexts,
    "swaps one term's seeds": swap_one_terms_seeds,
    "swaps the seeds of two terms": swap_seeds_of_two_terms,
    "moves every seed on by one": move_seeds_round,
}


def assert_rejected(
    exchange, decrypted: list[int], chunks: list[bytes], failure: Failure = Failure.TAG, **other
) -> None:
    secret = other.get("secret", exchange.secret)
    freeze, silos = other.get("freeze", exchange.freeze), other.get("silos", exchange.silos)
    with pytest.raises(SumRejected) as rejected:
        term.verify_sum(secret, freeze, silos, iter(chunks), exchange.layout)
    assert rejected.value.failure is failure
    with pytest.raises(SumRejected):
        term.open_sum(secret, freeze, silos, lambda: iter(chunks), exchange.layout, UNMASKED)
    assert decrypted == [], "something that failed was decrypted"


def test_the_spy_sees_an_honest_sum_decrypted(small, decrypted: list[int]) -> None:
    term.open_sum(small.secret, small.freeze, small.silos, lambda: small.sum_chunks, small.layout, UNMASKED)
    assert len(decrypted) == small.layout.ciphertexts


def test_the_unchecked_addition_of_these_tests_is_the_hubs(small) -> None:
    assert [unchecked_sum([upload[0] for upload in small.uploads])] == small.sum_chunks


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_sum_is_rejected_undecrypted(small, decrypted: list[int], name: str) -> None:
    chunk = altered(small.sum_chunks[0], 3, ALTERATIONS[name])
    assert chunk != small.sum_chunks[0]
    assert_rejected(small, decrypted, [chunk])


def test_a_dropped_term_with_the_count_kept_is_rejected(small, decrypted: list[int]) -> None:
    first, second, _ = (upload[0] for upload in small.uploads)
    # The third seed must be there for the length; nothing or a repetition goes with it.
    assert_rejected(small, decrypted, [unchecked_sum([first, second, second], [1, 1, 0])])
    assert_rejected(small, decrypted, [unchecked_sum([first, second, second])])


def test_a_term_counted_for_everybody_is_rejected(small, decrypted: list[int]) -> None:
    first = small.uploads[0][0]
    assert_rejected(small, decrypted, [unchecked_sum([first, first, first])])


def test_a_scaled_term_is_rejected(small, decrypted: list[int]) -> None:
    chunks = [upload[0] for upload in small.uploads]
    for weights in ([2, 1, 1], [2, 2, 2], [1, 1, -1], [3, 0, 0]):
        assert_rejected(small, decrypted, [unchecked_sum(chunks, weights)])


def test_two_silos_sum_passed_off_for_three_or_for_others_is_rejected(small, decrypted: list[int]) -> None:
    two = small.added([0, 1])
    assert_rejected(small, decrypted, two, Failure.FORMAT)
    assert_rejected(small, decrypted, two, silos=["silo-0", "silo-2"])
    assert_rejected(small, decrypted, two, silos=["silo-0", "silo-9"])


def test_survivor_lists_that_name_nobody_one_or_somebody_twice_are_rejected(small, decrypted: list[int]) -> None:
    for silos in ([], ["silo-0"], ["silo-0", "silo-0", "silo-1"], [*small.silos, "silo-3", "silo-4"]):
        assert_rejected(small, decrypted, small.sum_chunks, Failure.FORMAT, silos=silos)


def test_one_silos_upload_is_not_opened_as_a_sum_of_one(small, decrypted: list[int]) -> None:
    # An upload has the very form of a sum with one seed, and its tag is valid: only the count protects the term.
    assert_rejected(small, decrypted, [small.uploads[0][0]], Failure.FORMAT, silos=["silo-0"])


def test_the_order_of_the_survivors_does_not_matter(small) -> None:
    term.verify_sum(small.secret, small.freeze, small.silos[::-1], small.sum_chunks, small.layout)


def test_the_order_of_a_ciphertexts_seeds_does_not_matter_and_changes_no_total(small) -> None:
    def turn(records: Records) -> None:
        records["seeds"][...] = records["seeds"][:, ::-1].copy()

    chunk = altered(small.sum_chunks[0], 3, turn)
    assert chunk != small.sum_chunks[0]
    opened = term.open_sum(small.secret, small.freeze, small.silos, lambda: [chunk], small.layout, UNMASKED)
    assert np.array_equal(opened, small.totals)


def test_an_uploaded_seed_that_is_not_its_ciphertexts_fails_the_sum(small, decrypted: list[int]) -> None:
    """As when the hub, or one who uploads under a silo's name, puts another seed to an honest polynomial."""
    honest = [upload[0] for upload in small.uploads]
    for change in (swap_seeds_between_ciphertexts, lambda records: records["seeds"].fill(9)):
        first = altered(honest[0], 1, change)
        assert_rejected(small, decrypted, [unchecked_sum([first, *honest[1:]])])


def test_a_tag_that_leaves_the_seed_out_fails_the_sum(small, decrypted: list[int], monkeypatch) -> None:
    honest = Authenticator.mark
    monkeypatch.setattr(Authenticator, "mark", lambda *_: 0)
    unmarked = small.resealed(small.freeze)
    monkeypatch.setattr(Authenticator, "mark", honest)
    assert_rejected(small, decrypted, unmarked.sum_chunks)


def test_last_rounds_sum_is_rejected(small, decrypted: list[int]) -> None:
    assert_rejected(small, decrypted, small.sum_chunks, freeze=bytes(32))


def test_one_term_of_last_round_in_this_rounds_sum_is_rejected(small, decrypted: list[int]) -> None:
    now = small.resealed(bytes(32))
    mixed = [small.uploads[0][0], now.uploads[1][0], now.uploads[2][0]]
    assert_rejected(now, decrypted, [term.add_chunks(mixed, now.layout, 0)])


def test_a_term_uploaded_under_another_silos_name_is_rejected(small, decrypted: list[int]) -> None:
    own = small.uploads[0][0]
    fourth = b"".join(term.seal(small.secret, small.freeze, "silo-9", small.levels[1], small.layout, UNMASKED))
    assert_rejected(small, decrypted, [term.add_chunks([own, fourth, small.uploads[2][0]], small.layout, 0)])


def test_another_studys_secret_rejects_the_sum(small, decrypted: list[int]) -> None:
    assert_rejected(small, decrypted, small.sum_chunks, secret=StudySecret.generate())
    only_mac = StudySecret(small.secret.bfv_key, bytes(32))
    assert_rejected(small, decrypted, small.sum_chunks, secret=only_mac)


def test_chunks_swapped_missing_repeated_or_added_are_rejected(make_exchange, decrypted: list[int]) -> None:
    full = make_exchange(Layout.single(4095 * 64, 2, per_slot=1), 2)
    first, second = full.sum_chunks
    assert_rejected(full, decrypted, [second, first])
    assert_rejected(full, decrypted, [first, first])
    for chunks in ([], [first], [first, second, second]):
        assert_rejected(full, decrypted, chunks, Failure.FORMAT)


@pytest.mark.parametrize("wrong", [b"", b"\0", bytes(10**6)])
def test_chunks_of_another_size_are_rejected(small, decrypted: list[int], wrong: bytes) -> None:
    good = small.sum_chunks[0]
    for chunk in (wrong, good[:-1], good + wrong + b"\0", good[1:]):
        assert_rejected(small, decrypted, [chunk], Failure.FORMAT)


def test_coefficients_and_tags_at_or_above_the_modulus_are_rejected(small, decrypted: list[int]) -> None:
    def large_coefficient(records: Records) -> None:
        coefficients = wire.polynomials(records)
        coefficients[1, 4095] = CIPHER_MODULUS
        wire.put_polynomials(records, coefficients)

    def large_tag(records: Records) -> None:
        records["tag"][0] += np.uint64(CIPHER_MODULUS)  # the same tag, not reduced

    for change in (large_coefficient, large_tag):
        assert_rejected(small, decrypted, [altered(small.sum_chunks[0], 3, change)], Failure.FORMAT)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_single_bit_of_the_sum_can_be_flipped(small, decrypted: list[int], data: st.DataObject) -> None:
    chunk = bytearray(small.sum_chunks[0])
    bit = data.draw(st.integers(0, 8 * len(chunk) - 1))
    chunk[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(SumRejected):
        term.open_sum(small.secret, small.freeze, small.silos, lambda: [bytes(chunk)], small.layout, UNMASKED)
    assert decrypted == []


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_single_bit_of_an_upload_can_be_flipped(small, decrypted: list[int], data: st.DataObject) -> None:
    chunk = bytearray(small.uploads[0][0])
    bit = data.draw(st.integers(0, 8 * len(chunk) - 1))
    chunk[bit // 8] ^= 1 << (bit % 8)
    try:
        total = term.add_chunks([bytes(chunk), *(upload[0] for upload in small.uploads[1:])], small.layout, 0)
    except ChunkRefused:
        return  # the hub itself noticed
    assert_rejected(small, decrypted, [total])


def test_a_failing_sum_is_examined_to_its_end(wide, monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[int] = []
    honest = Authenticator.weigh

    def counting(self: Authenticator, index: int, polynomial: np.ndarray) -> int:
        examined.append(index)
        return honest(self, index, polynomial)

    monkeypatch.setattr(Authenticator, "weigh", counting)
    chunks = wide.sum_chunks
    with pytest.raises(SumRejected):
        term.verify_sum(
            wide.secret, wide.freeze, wide.silos, [altered(chunks[0], 3, shift_noise), chunks[1]], wide.layout
        )
    assert examined == list(range(wide.layout.ciphertexts))


def changing(*readings: list[bytes]) -> Callable[[], list[bytes]]:
    source = iter(readings)
    return lambda: next(source)


def test_bytes_that_change_after_verification_are_not_decrypted(small, decrypted: list[int]) -> None:
    good = small.sum_chunks
    for second in ([altered(good[0], 3, shift_noise)], [good[0][:-1]], [small.added([0, 1])[0]]):
        with pytest.raises(SumRejected) as rejected:
            term.open_sum(small.secret, small.freeze, small.silos, changing(good, second), small.layout, UNMASKED)
        assert rejected.value.failure is Failure.CHANGED
    assert decrypted == []


def test_chunks_missing_or_added_in_the_second_reading_give_no_totals(wide) -> None:
    good = wide.sum_chunks
    for second in ([], good[:1], [*good, good[0]], good[::-1]):
        with pytest.raises(SumRejected) as rejected:
            term.open_sum(wide.secret, wide.freeze, wide.silos, changing(good, second), wide.layout, UNMASKED)
        assert rejected.value.failure is Failure.CHANGED
