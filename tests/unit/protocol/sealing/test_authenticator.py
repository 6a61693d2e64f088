import hmac
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing import authenticator as module
from protocol.sealing.authenticator import Authenticator, same_tag
from protocol.sealing.errors import KeyRefused
from protocol.sealing.parameters import CIPHER_MODULUS

KEY, FREEZE, SEED = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 128))
VECTORS = Path(__file__).parents[3] / "vectors"


def reference_tag(key: bytes, freeze: bytes, index: int, silo: str, polynomial: list[int], seed: bytes) -> int:
    """The module's formula in whole numbers, word by word."""

    def derived(purpose: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=freeze, info=b"consortia/sealed-sum/v1/" + purpose).derive(key)

    def stream(purpose: bytes, block: int, length: int) -> bytes:
        cipher = Cipher(algorithms.AES256(derived(purpose)), modes.CTR(block.to_bytes(16, "big")))
        return cipher.encryptor().update(bytes(length))

    words = stream(b"rho", index << 64, 8 * 4200)
    drawn = (int.from_bytes(words[at : at + 8], "little") & (2**60 - 1) for at in range(0, len(words), 8))
    rho = [word for word in drawn if word < CIPHER_MODULUS][:4096]
    pad = int.from_bytes(stream(b"pad/" + silo.encode(), 2 * index, 32), "little")
    mark = int.from_bytes(hmac.digest(derived(b"seed"), index.to_bytes(8, "big") + seed, "sha256"), "little")
    return (pad + sum(r * c for r, c in zip(rho, polynomial, strict=True)) + mark) % CIPHER_MODULUS


def polynomial_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, CIPHER_MODULUS, 4096, dtype=np.uint64)


def tag_of(authenticator: Authenticator, silo: str, index: int, polynomial: np.ndarray, seed: bytes) -> int:
    (tag,) = authenticator.tags([silo], index, polynomial[None], np.frombuffer(seed, np.uint8).reshape(1, 1, 64))
    return tag


@settings(deadline=None, max_examples=20)
@given(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**31),
    st.text(min_size=1, max_size=20),
    st.binary(min_size=64, max_size=64),
    st.integers(0, 99),
)
def test_tags_are_those_of_whole_number_arithmetic(key: bytes, index: int, silo: str, seed: bytes, drawn: int) -> None:
    polynomial = polynomial_of(drawn)
    tag = tag_of(Authenticator(key, FREEZE), silo, index, polynomial, seed)
    assert tag == reference_tag(key, FREEZE, index, silo, polynomial.tolist(), seed)


def test_the_largest_coefficients_are_weighed_exactly() -> None:
    top = np.full(4096, CIPHER_MODULUS - 1, dtype=np.uint64)
    assert tag_of(Authenticator(KEY, FREEZE), "a", 0, top, SEED) == reference_tag(
        KEY, FREEZE, 0, "a", top.tolist(), SEED
    )


def test_the_largest_limbs_do_not_lose_a_bit() -> None:
    ones = module._limbs(np.full(4096, 2**60 - 1, dtype=np.uint64))
    assert (ones @ ones.T == 4096 * (2**20 - 1) ** 2).all()


def test_every_coefficient_changes_the_tag() -> None:
    authenticator, polynomial = Authenticator(KEY, FREEZE), polynomial_of(1)
    honest = authenticator.weigh(3, polynomial)
    rho = authenticator._rho(3)
    for place in range(4096):
        polynomial[place] ^= np.uint64(1)
        step = 1 if polynomial[place] & np.uint64(1) else -1
        assert (authenticator.weigh(3, polynomial) - honest - step * int(rho[place])) % CIPHER_MODULUS == 0
        assert int(rho[place]) != 0
        polynomial[place] ^= np.uint64(1)


def test_every_bit_of_the_seed_changes_the_tag() -> None:
    authenticator = Authenticator(KEY, FREEZE)
    seeds = [SEED] + [
        bytes(SEED[at] ^ (1 << bit if at == byte else 0) for at in range(64)) for byte in range(64) for bit in range(8)
    ]
    marks = {authenticator.mark(3, np.frombuffer(seed, np.uint8).reshape(1, 64)) for seed in seeds}
    assert len(marks) == 1 + 8 * 64


def test_the_same_seed_at_another_index_bears_another_mark() -> None:
    authenticator = Authenticator(KEY, FREEZE)
    seed = np.frombuffer(SEED, np.uint8).reshape(1, 64)
    assert len({authenticator.mark(index, seed) for index in range(100)}) == 100


def test_marks_do_not_cancel_where_a_seed_stands_more_than_once() -> None:
    authenticator, seed = Authenticator(KEY, FREEZE), np.frombuffer(SEED, np.uint8)
    once = authenticator.mark(0, seed.reshape(1, 64))
    found = [authenticator.mark(0, np.tile(seed, (count, 1))) for count in range(257)]
    assert found == [count * once % CIPHER_MODULUS for count in range(257)]
    assert len(set(found)) == 257


@pytest.mark.parametrize("case", json.loads((VECTORS / "sealing_tags.json").read_text()))
def test_tags_reproduce_the_golden_ones(case: dict) -> None:
    polynomial = (np.arange(4096, dtype=np.uint64) * np.uint64(case["step"])) % np.uint64(CIPHER_MODULUS)
    authenticator = Authenticator(bytes.fromhex(case["key"]), bytes.fromhex(case["freeze"]))
    assert tag_of(authenticator, case["silo"], case["index"], polynomial, bytes.fromhex(case["seed"])) == case["tag"]


def test_tags_of_a_sum_are_the_sum_of_the_tags() -> None:
    authenticator, silos = Authenticator(KEY, FREEZE), ["a", "b", "c"]
    terms = [polynomial_of(number) for number in range(3)]
    seeds = [bytes([number]) * 64 for number in range(3)]
    tags = [tag_of(authenticator, *given) for given in zip(silos, [7] * 3, terms, seeds, strict=True)]
    total = np.array([sum(column) % CIPHER_MODULUS for column in zip(*(t.tolist() for t in terms), strict=True)])
    joined = np.frombuffer(b"".join(seeds), np.uint8).reshape(1, 3, 64)
    assert authenticator.tags(silos, 7, total.astype(np.uint64)[None], joined) == [sum(tags) % CIPHER_MODULUS]


def test_key_freeze_index_silo_polynomial_and_seed_each_change_the_tag() -> None:
    given = [
        (KEY, FREEZE, "a", 0, 1, SEED),
        (FREEZE, FREEZE, "a", 0, 1, SEED),
        (KEY, KEY, "a", 0, 1, SEED),
        (KEY, FREEZE, "b", 0, 1, SEED),
        (KEY, FREEZE, "a", 1, 1, SEED),
        (KEY, FREEZE, "a", 0, 2, SEED),
        (KEY, FREEZE, "a", 0, 1, bytes(64)),
    ]
    tags = {
        tag_of(Authenticator(key, freeze), silo, index, polynomial_of(drawn), seed)
        for key, freeze, silo, index, drawn, seed in given
    }
    assert len(tags) == len(given)


def test_pads_drawn_together_are_those_drawn_alone() -> None:
    authenticator = Authenticator(KEY, FREEZE)
    assert authenticator.pads("a", 5, 3) == [authenticator.pads("a", index, 1)[0] for index in (5, 6, 7)]


def test_a_multiplier_above_the_modulus_is_rejected_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    good = np.arange(1, 4200, dtype="<u8")
    words = np.concatenate([np.full(40, CIPHER_MODULUS, dtype="<u8"), good]).tobytes()
    monkeypatch.setattr(module.keystream, "stream", lambda key, block, length: words[:length])
    assert Authenticator(KEY, FREEZE)._rho(0).tolist() == list(range(1, 4097))


def test_keys_and_digests_of_another_size_are_refused() -> None:
    for key, freeze in [(KEY[:-1], FREEZE), (KEY, FREEZE[:-1]), (b"", FREEZE)]:
        with pytest.raises(KeyRefused):
            Authenticator(key, freeze)


def test_tags_compare_by_value() -> None:
    assert same_tag(CIPHER_MODULUS - 1, CIPHER_MODULUS - 1)
    assert not same_tag(0, 1)


def test_an_authenticator_does_not_show_its_key() -> None:
    assert KEY.hex() not in repr(Authenticator(KEY, FREEZE)) and str(KEY) not in repr(Authenticator(KEY, FREEZE))
