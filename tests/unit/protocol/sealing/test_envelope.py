import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hpke import KEM
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing import envelope
from protocol.sealing.errors import EnvelopeRefused, KeyRefused

VECTORS = Path(__file__).parents[3] / "vectors"
KEYS = envelope.generate_keys()


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=2000), st.binary(max_size=100))
def test_an_envelope_opens_for_its_recipient_under_its_context(content: bytes, info: bytes) -> None:
    sealed = envelope.seal_envelope(content, KEYS.public, info)
    assert len(sealed) == len(content) + envelope.OVERHEAD_BYTES
    assert envelope.open_envelope(sealed, KEYS.private, info) == content


def test_the_stored_envelope_still_opens() -> None:
    stored = json.loads((VECTORS / "sealing_envelope.json").read_text())
    keys = envelope.from_private(bytes.fromhex(stored["private"]))
    assert keys.public.hex() == stored["public"]
    opened = envelope.open_envelope(bytes.fromhex(stored["envelope"]), keys.private, stored["info"].encode())
    assert opened == stored["content"].encode()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8 * (envelope.OVERHEAD_BYTES + 5) - 1))
def test_no_bit_of_an_envelope_can_be_changed(bit: int) -> None:
    sealed = bytearray(envelope.seal_envelope(b"hello", KEYS.public, b"context"))
    sealed[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(EnvelopeRefused):
        envelope.open_envelope(bytes(sealed), KEYS.private, b"context")


def test_another_key_or_context_does_not_open_it() -> None:
    sealed = envelope.seal_envelope(b"hello", KEYS.public, b"study 1")
    for private, info in [(envelope.generate_keys().private, b"study 1"), (KEYS.private, b"study 2")]:
        with pytest.raises(EnvelopeRefused, match="key and this context"):
            envelope.open_envelope(sealed, private, info)


@pytest.mark.parametrize("size", [0, 15, envelope.OVERHEAD_BYTES - 1, envelope.OVERHEAD_BYTES + 101])
def test_envelopes_of_impossible_sizes_are_refused(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_CONTENT_BYTES", 100)
    with pytest.raises(EnvelopeRefused, match=f"envelope: {size} bytes"):
        envelope.open_envelope(bytes(size), KEYS.private, b"")


def test_content_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_CONTENT_BYTES", 100)
    assert len(envelope.seal_envelope(bytes(100), KEYS.public, b"")) == 100 + envelope.OVERHEAD_BYTES
    with pytest.raises(EnvelopeRefused, match="content"):
        envelope.seal_envelope(bytes(101), KEYS.public, b"")


@pytest.mark.parametrize(
    "public", [b"", KEYS.public[:-1], KEYS.public + b"\0", b"\xff" * 1216], ids=["none", "short", "long", "invalid"]
)
def test_public_keys_of_another_size_or_form_are_refused(public: bytes) -> None:
    with pytest.raises(KeyRefused, match="public envelope key"):
        envelope.seal_envelope(b"hello", public, b"")
    with pytest.raises(KeyRefused, match="public envelope key"):
        envelope.check_public(public)


def test_a_public_key_whose_exchange_gives_zero_is_refused() -> None:
    with pytest.raises(KeyRefused, match="public envelope key"):
        envelope.seal_envelope(b"hello", KEYS.public[:1184] + bytes(32), b"")


@pytest.mark.parametrize("private", [b"", KEYS.private[:-1], KEYS.private + b"\0"], ids=["none", "short", "long"])
def test_private_keys_of_another_size_are_refused(private: bytes) -> None:
    with pytest.raises(KeyRefused, match="private envelope key"):
        envelope.from_private(private)


def test_sizes_are_those_of_the_suite() -> None:
    assert KEM.MLKEM768_X25519.enc_length() == envelope.ENCAPSULATION_BYTES
    assert len(KEYS.public), len(KEYS.private) == (envelope.PUBLIC_KEY_BYTES, envelope.PRIVATE_KEY_BYTES)


def test_a_key_pair_does_not_show_its_private_half() -> None:
    assert KEYS.private.hex() not in repr(KEYS) and str(KEYS.private) not in f"{KEYS} {KEYS!r}"
