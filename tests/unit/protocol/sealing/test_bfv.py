import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing import bfv, streams, wire
from protocol.sealing.errors import KeyRefused
from protocol.sealing.parameters import CIPHER_MODULUS, PLAIN_MODULUS

CIPHER = bfv.Cipher(bfv.generate_key())


def random_slots(seed: int):
    return np.random.default_rng(seed).integers(0, PLAIN_MODULUS, 4096)


@pytest.fixture(scope="module")
def key() -> bytes:
    return bfv.generate_key()


def test_what_was_encrypted_decrypts_to_the_same_slots(key: bytes) -> None:
    cipher, slots = bfv.Cipher(key), random_slots(1)
    first, seed = cipher.encrypt(slots)
    assert np.array_equal(cipher.decrypt(first, [seed]), slots)


@pytest.mark.parametrize("value", [0, 1, 2, PLAIN_MODULUS // 2, PLAIN_MODULUS // 2 + 1, PLAIN_MODULUS - 1])
def test_slots_at_the_ends_of_their_range_decrypt_to_themselves(key: bytes, value: int) -> None:
    cipher = bfv.Cipher(key)
    one_alone = np.zeros(4096, dtype=np.int64)
    one_alone[7] = value
    for slots in (np.full(4096, value), one_alone, one_alone[::-1].copy()):
        first, seed = cipher.encrypt(slots)
        assert np.array_equal(cipher.decrypt(first, [seed]), slots)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, PLAIN_MODULUS - 1), min_size=1, max_size=4096), st.integers(0, 2**32))
def test_any_slots_decrypt_to_themselves(some: list[int], seed: int) -> None:
    slots = random_slots(seed)
    slots[: len(some)] = some
    first, made = CIPHER.encrypt(slots)
    assert np.array_equal(CIPHER.decrypt(first, [made]), slots)


def test_a_slot_outside_the_plaintext_modulus_is_never_encrypted(key: bytes) -> None:
    for value in (PLAIN_MODULUS, -1, 2**62):
        with pytest.raises((RuntimeError, ValueError), match="invalid"):
            bfv.Cipher(key).encrypt(np.full(4096, value))


def test_256_terms_at_the_top_of_the_range_add_up_exactly(key: bytes) -> None:
    cipher = bfv.Cipher(key)
    slots = np.full(4096, (PLAIN_MODULUS - 1) // 256)
    total, seeds = np.zeros(4096, dtype=np.uint64), []
    for _ in range(256):
        first, seed = cipher.encrypt(slots)
        wire.add_modulo(total, first)
        seeds.append(seed)
    assert np.array_equal(cipher.decrypt(total, seeds), 256 * slots)


def test_the_same_slots_never_encrypt_to_the_same_bytes(key: bytes) -> None:
    cipher, slots = bfv.Cipher(key), random_slots(2)
    assert len({cipher.encrypt(slots)[1] for _ in range(8)}) == 8
    assert not np.array_equal(cipher.encrypt(slots)[0], cipher.encrypt(slots)[0])


def test_another_key_decrypts_to_noise(key: bytes) -> None:
    slots = random_slots(3)
    first, seed = bfv.Cipher(key).encrypt(slots)
    found = bfv.Cipher(bfv.generate_key()).decrypt(first, [seed])
    assert np.count_nonzero(found == slots) < 8


def test_a_sum_decrypts_alike_whatever_the_order_of_its_seeds(key: bytes) -> None:
    cipher, total, seeds = bfv.Cipher(key), np.zeros(4096, dtype=np.uint64), []
    for number in range(3):
        first, seed = cipher.encrypt(random_slots(number))
        wire.add_modulo(total, first)
        seeds.append(seed)
    expected = sum(random_slots(number) for number in range(3)) % PLAIN_MODULUS
    for order in (seeds, seeds[::-1], [seeds[1], seeds[0], seeds[2]]):
        assert np.array_equal(cipher.decrypt(total, order), expected)


def test_a_key_is_ternary_and_packs_into_1024_bytes(key: bytes) -> None:
    coefficients = bfv.unpack_key(key)
    assert set(coefficients.tolist()) == {0, 1, CIPHER_MODULUS - 1}
    assert bfv.pack_key(coefficients) == key
    assert len(key) == bfv.KEY_BYTES == 1024


@pytest.mark.parametrize(
    "wrong", [b"", bytes(1023), bytes(1025), bytes(1024), b"\x55" * 1024, b"\xff" * 1024, b"\xaa" * 1024]
)
def test_a_key_that_no_key_silo_could_have_drawn_is_refused(wrong: bytes) -> None:
    with pytest.raises(KeyRefused):
        bfv.Cipher(wrong)


def test_one_coefficient_that_is_not_ternary_is_enough_to_refuse_a_key(key: bytes) -> None:
    with pytest.raises(KeyRefused, match="not -1, 0 or 1"):
        bfv.Cipher(bytes([key[0] & 0xFC | 2]) + key[1:])


def test_without_memory_files_a_private_temporary_file_serves_and_is_removed(
    key: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(bfv, "_local", threading.local())
    slots = random_slots(4)
    cipher = bfv.Cipher(key)
    first, seed = cipher.encrypt(slots)
    (scratch,) = tmp_path.iterdir()
    assert scratch.stat().st_mode & 0o777 == 0o600
    assert np.array_equal(cipher.decrypt(first, [seed]), slots)
    del bfv._local.scratch  # as when its thread ends
    assert list(tmp_path.iterdir()) == []


def test_the_secret_key_does_not_stay_in_the_scratch_file() -> None:
    key = bfv.generate_key()
    assert bfv._scratch().read() == b""
    bfv.Cipher(key)
    assert bfv._scratch().read() == b""


def _encrypt_many(key: bytes, seed: int) -> bool:
    cipher, slots = bfv.Cipher(key), random_slots(seed)
    for _ in range(20):
        first, its_seed = cipher.encrypt(slots)
        if not np.array_equal(cipher.decrypt(first, [its_seed]), slots):
            return False
    return True


def test_threads_do_not_read_each_others_scratch_files(key: bytes) -> None:
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: outcomes.append(_encrypt_many(key, n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 4


def test_a_forked_child_does_not_share_its_parents_scratch_file(key: bytes) -> None:
    bfv._scratch().write(b"the parent's")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_encrypt_many, (key, 5))
    assert bfv._scratch().read() == b"the parent's"


def test_a_stream_of_the_wrong_size_is_never_handed_to_seal() -> None:
    with pytest.raises(ValueError, match="stream"):
        streams.seeded(np.zeros(4096, dtype=np.uint64), bytes(63))
    with pytest.raises(ValueError, match="coefficients"):
        streams.full(np.zeros(4096, dtype=np.uint64))
    with pytest.raises(RuntimeError, match="another form"):
        streams.read_seeded(bytes(32_971))
