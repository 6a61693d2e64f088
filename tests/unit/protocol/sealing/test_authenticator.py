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

KEY, FREEZE = bytes(range(32)), bytes(range(32, 64))
VECTORS = Path(__file__).parents[3] / "vectors"


def reference_tag(key: bytes, freeze: bytes, index: int, silo: str, coefficients: list[int]) -> int:
    """The design's formula in whole numbers, word by word."""

    def stream(purpose: bytes, block: int, length: int) -> bytes:
        derived = HKDF(SHA256(), 32, salt=freeze, info=b"consortia/sealed-sum/v1/" + purpose).derive(key)
        return (
            Cipher(algorithms.AES256(derived), modes.CTR(block.to_bytes(16, "big"))).encryptor().update(bytes(length))
        )

    words = stream(b"rho", index << 64, 8 * 8300)
    drawn = (int.from_bytes(words[at : at + 8], "little") & (2**60 - 1) for at in range(0, len(words), 8))
    rho = [word for word in drawn if word < CIPHER_MODULUS]
    pad = int.from_bytes(stream(b"pad/" + silo.encode(), 2 * index, 32), "little")
    return (pad + sum(r * c for r, c in zip(rho, coefficients, strict=False))) % CIPHER_MODULUS


def coefficients_of(seed: int):
    return np.random.default_rng(seed).integers(0, CIPHER_MODULUS, 8192, dtype=np.uint64)


@settings(deadline=None, max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**31), st.text(min_size=1, max_size=20), st.integers(0, 99))
def test_tags_are_those_of_whole_number_arithmetic(key: bytes, index: int, silo: str, seed: int) -> None:
    coefficients = coefficients_of(seed)
    (tag,) = Authenticator(key, FREEZE).tags(silo, index, [coefficients])
    assert tag == reference_tag(key, FREEZE, index, silo, coefficients.tolist())


def test_the_largest_coefficients_are_weighed_exactly() -> None:
    top = np.full(8192, CIPHER_MODULUS - 1, dtype=np.uint64)
    (tag,) = Authenticator(KEY, FREEZE).tags("a", 0, [top])
    assert tag == reference_tag(KEY, FREEZE, 0, "a", top.tolist())


def test_the_largest_limbs_do_not_lose_a_bit() -> None:
    ones = module._limbs(np.full(8192, 2**60 - 1, dtype=np.uint64))
    assert (ones @ ones.T == 8192 * (2**20 - 1) ** 2).all()


@pytest.mark.parametrize("case", json.loads((VECTORS / "sealing_tags.json").read_text()))
def test_tags_reproduce_the_golden_ones(case: dict) -> None:
    coefficients = (np.arange(8192, dtype=np.uint64) * np.uint64(case["step"])) % np.uint64(CIPHER_MODULUS)
    authenticator = Authenticator(bytes.fromhex(case["key"]), bytes.fromhex(case["freeze"]))
    assert authenticator.tags(case["silo"], case["index"], [coefficients]) == [case["tag"]]


def test_tags_of_a_sum_are_the_sum_of_the_tags() -> None:
    authenticator, silos = Authenticator(KEY, FREEZE), ["a", "b", "c"]
    terms = [coefficients_of(number) for number in range(3)]
    tags = [authenticator.tags(silo, 7, [its])[0] for silo, its in zip(silos, terms, strict=True)]
    total = np.array([sum(column) % CIPHER_MODULUS for column in zip(*(t.tolist() for t in terms), strict=True)])
    expected = authenticator.summed_pads(silos, 7, 1)[0] + authenticator.weigh(7, total.astype(np.uint64))
    assert sum(tags) % CIPHER_MODULUS == expected % CIPHER_MODULUS


def test_key_freeze_index_and_silo_each_change_the_tag() -> None:
    coefficients = coefficients_of(1)
    tags = {
        Authenticator(key, freeze).tags(silo, index, [coefficients])[0]
        for key, freeze, silo, index in [
            (KEY, FREEZE, "a", 0),
            (FREEZE, FREEZE, "a", 0),
            (KEY, KEY, "a", 0),
            (KEY, FREEZE, "b", 0),
            (KEY, FREEZE, "a", 1),
        ]
    }
    assert len(tags) == 5


def test_pads_drawn_together_are_those_drawn_alone() -> None:
    authenticator = Authenticator(KEY, FREEZE)
    assert authenticator.pads("a", 5, 3) == [authenticator.pads("a", index, 1)[0] for index in (5, 6, 7)]


def test_a_multiplier_above_the_modulus_is_rejected_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    good = np.arange(1, 8300, dtype="<u8")
    words = np.concatenate([np.full(40, CIPHER_MODULUS, dtype="<u8"), good]).tobytes()
    monkeypatch.setattr(module.keystream, "stream", lambda key, block, length: words[:length])
    assert Authenticator(KEY, FREEZE)._rho(0).tolist() == list(range(1, 8193))


def test_keys_and_digests_of_another_size_are_refused() -> None:
    for key, freeze in [(KEY[:-1], FREEZE), (KEY, FREEZE[:-1]), (b"", FREEZE)]:
        with pytest.raises(KeyRefused):
            Authenticator(key, freeze)


def test_tags_compare_by_value() -> None:
    assert same_tag(CIPHER_MODULUS - 1, CIPHER_MODULUS - 1)
    assert not same_tag(0, 1)


def test_an_authenticator_does_not_show_its_key() -> None:
    assert KEY.hex() not in repr(Authenticator(KEY, FREEZE)) and str(KEY) not in repr(Authenticator(KEY, FREEZE))
