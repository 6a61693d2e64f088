import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing import wire
from protocol.sealing.parameters import CIPHER_MODULUS, POLYNOMIAL_BYTES, Layout


def random_coefficients(seed: int, ciphertexts: int):
    return np.random.default_rng(seed).integers(0, CIPHER_MODULUS, (ciphertexts, 4096), dtype=np.uint64)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 4))
def test_coefficients_come_back_from_60_bits_each(seed: int, ciphertexts: int, seeds: int) -> None:
    coefficients = random_coefficients(seed, ciphertexts)
    records = wire.blank_chunk(ciphertexts, seeds)
    wire.put_polynomials(records, coefficients)
    parsed = wire.parse(records.tobytes(), ciphertexts, seeds)
    assert not isinstance(parsed, str)
    assert np.array_equal(parsed[1], coefficients)


def test_a_packed_polynomial_wastes_no_bit() -> None:
    records = wire.blank_chunk(1, 1)
    assert records["c0"].dtype.itemsize == POLYNOMIAL_BYTES == 4096 * 60 // 8
    wire.put_polynomials(records, np.full((1, 4096), 2**60 - 1, dtype=np.uint64))
    assert records["c0"].tobytes() == b"\xff" * POLYNOMIAL_BYTES


def test_record_sizes_are_those_of_the_layout() -> None:
    layout = Layout.single(1000, 5)
    assert wire.chunk_type(1).itemsize == layout.upload_chunk_bytes(0)
    assert wire.chunk_type(5).itemsize == layout.sum_chunk_bytes(0, 5)


@pytest.mark.parametrize("position", [0, 2047, 2048, 4095])
def test_a_coefficient_that_is_not_below_the_modulus_is_found_wherever_it_stands(position: int) -> None:
    coefficients = random_coefficients(3, 2)
    records = wire.blank_chunk(2, 1)
    for value, fine in [(CIPHER_MODULUS - 1, True), (CIPHER_MODULUS, False), (2**60 - 1, False)]:
        coefficients[1, position] = value
        wire.put_polynomials(records, coefficients)
        assert isinstance(wire.parse(records.tobytes(), 2, 1), tuple) == fine


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_addition_modulo_q_agrees_with_whole_numbers(seed: int) -> None:
    total, term = random_coefficients(seed, 1), random_coefficients(seed + 1, 1)
    total[0, :3] = CIPHER_MODULUS - 1
    term[0, :3] = [CIPHER_MODULUS - 1, 0, 1]
    expected = [(int(a) + int(b)) % CIPHER_MODULUS for a, b in zip(total[0], term[0], strict=True)]
    wire.add_modulo(total, term)
    assert total[0].tolist() == expected
