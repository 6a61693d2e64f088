"""Private keys at rest: opened by their passphrase and label, by nothing else."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import KeyNotOpened
from protocol.sealed_key import OVERHEAD_BYTES, checked_passphrase, is_sealed, open_key, seal_key

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sealed_key.json").read_text())["keys"]
PASSPHRASE = b"correct horse battery"
PRIVATE = bytes(range(32))


class Counting:
    """Stands in for the system's randomness: known bytes, different ones each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return bytes([self.calls]) * size


SEALED = seal_key(PRIVATE, PASSPHRASE, "hub", Counting())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["label"])
def test_the_golden_bytes_are_made_and_opened(vector: dict[str, str]) -> None:
    private, sealed = bytes.fromhex(vector["private"]), bytes.fromhex(vector["sealed"])
    random = iter((bytes.fromhex(vector["salt"]), bytes.fromhex(vector["nonce"])))
    passphrase = vector["passphrase"].encode()
    assert seal_key(private, passphrase, vector["label"], lambda _: next(random)) == sealed
    assert open_key(sealed, passphrase, vector["label"]) == private


def test_a_sealed_key_opens_and_shows_nothing_of_the_private_one() -> None:
    assert open_key(SEALED, PASSPHRASE, "hub") == PRIVATE
    assert is_sealed(SEALED) and not is_sealed(PRIVATE)
    assert len(SEALED) == OVERHEAD_BYTES + len(PRIVATE)
    assert all(PRIVATE[at : at + 4] not in SEALED for at in range(28))


@pytest.mark.parametrize(
    "sealed,passphrase,label",
    [
        (SEALED, PASSPHRASE + b"!", "hub"),
        (SEALED, PASSPHRASE, "log"),
        (SEALED[:-1], PASSPHRASE, "hub"),
        (SEALED + b"\0", PASSPHRASE, "hub"),
        (PRIVATE, PASSPHRASE, "hub"),
        (SEALED[:OVERHEAD_BYTES], PASSPHRASE, "hub"),
    ],
    ids=["another passphrase", "another key's label", "cut", "longer", "a plain key", "no key in it"],
)
def test_what_does_not_fit_is_refused_and_shows_no_secret(sealed: bytes, passphrase: bytes, label: str) -> None:
    with pytest.raises(KeyNotOpened) as refused:
        open_key(sealed, passphrase, label)
    assert label in str(refused.value) and PASSPHRASE.decode() not in str(refused.value)


@settings(max_examples=12, deadline=None)  # Each costs what a guess costs.
@given(at=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(at: int, bit: int) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= 1 << bit
    with pytest.raises(KeyNotOpened):
        open_key(bytes(changed), PASSPHRASE, "hub")


def test_the_same_key_sealed_twice_is_different_bytes() -> None:
    random = Counting()
    one, two = (seal_key(PRIVATE, PASSPHRASE, "hub", random) for _ in range(2))
    assert one != two


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"eleven byte\n", b"x" * 1025])
def test_a_poor_passphrase_is_refused_with_the_bound(content: bytes) -> None:
    with pytest.raises(KeyNotOpened, match="12 to 1024 are needed"):
        checked_passphrase(content)
    with pytest.raises(KeyNotOpened, match="12 to 1024 are needed"):
        seal_key(PRIVATE, content, "hub", Counting())


def test_one_line_end_of_a_passphrase_file_does_not_count() -> None:
    for end in (b"", b"\n", b"\r\n"):
        assert checked_passphrase(PASSPHRASE + end) == PASSPHRASE
    assert checked_passphrase(PASSPHRASE + b" \n\n") == PASSPHRASE + b" \n"
