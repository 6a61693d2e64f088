"""What a silo may try that knows the study secret: its tags hold, so what it did shows in the plaintext only."""

import numpy as np
import pytest

from protocol.sealing import bfv, packing, term, wire
from protocol.sealing.authenticator import Authenticator
from protocol.sealing.errors import Failure, SumRejected
from protocol.sealing.parameters import COUNT_SLOT
from tests.unit.protocol.sealing.conftest import UNMASKED


def insider_chunk(exchange, silo: str, slots: np.ndarray) -> bytes:
    """A term with valid tags over slots that no honest packing gives."""
    cipher = bfv.Cipher(exchange.secret.bfv_key)
    authenticator = Authenticator(exchange.secret.mac_key, exchange.freeze)
    records = wire.blank_chunk(len(slots), 1)
    firsts = np.empty(slots.shape, dtype=np.uint64)
    for at, row in enumerate(slots):
        firsts[at], seed = cipher.encrypt(row)
        records["seeds"][at, 0] = np.frombuffer(seed, np.uint8)
    wire.put_polynomials(records, firsts)
    records["tag"] = authenticator.tags([silo], 0, firsts, records["seeds"])
    return records.tobytes()


@pytest.mark.parametrize(
    ("what", "at", "slot", "value"),
    [
        ("count slot", 0, COUNT_SLOT, 0),
        ("count slot", 1, COUNT_SLOT, 2),
        ("slot", 0, 3, (4 * (2**13 - 1) + 1) ** 3),
        ("padding", 1, 4000, 1),
    ],
)
def test_an_insiders_malformed_term_voids_the_round(small, what: str, at: int, slot: int, value: int) -> None:
    slots = packing.pack(np.zeros(small.layout.values, dtype=np.uint64), small.layout)
    slots[at, slot] = value
    chunks = [small.uploads[0][0], small.uploads[1][0], insider_chunk(small, "silo-2", slots)]
    total = term.add_chunks(chunks, small.layout, 0)
    term.verify_sum(small.secret, small.freeze, small.silos, [total], small.layout)
    with pytest.raises(SumRejected, match=f"^{what}: ") as rejected:
        term.open_sum(small.secret, small.freeze, small.silos, lambda: [total], small.layout, UNMASKED)
    assert rejected.value.failure is Failure.CONTENT


def test_malformed_content_is_examined_to_its_end_too(wide, decrypted: list[int]) -> None:
    slots = packing.pack(np.zeros(wide.layout.values, dtype=np.uint64), wide.layout, 0, 32)
    slots[0, COUNT_SLOT] = 5
    first = term.add_chunks(
        [wide.uploads[0][0], wide.uploads[1][0], insider_chunk(wide, "silo-2", slots)], wide.layout, 0
    )
    with pytest.raises(SumRejected, match="count slot"):
        term.open_sum(wide.secret, wide.freeze, wide.silos, lambda: [first, wide.sum_chunks[1]], wide.layout, UNMASKED)
    assert len(decrypted) == wide.layout.ciphertexts
