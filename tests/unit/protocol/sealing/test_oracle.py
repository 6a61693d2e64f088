"""What a hub can ask by shifting ciphertexts, and what it can send that is no sealed sum at all."""

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from protocol.sealing import bfv, streams, term, wire
from protocol.sealing.addition import check_upload_chunk
from protocol.sealing.errors import ChunkRefused, Failure, SumRejected
from protocol.sealing.parameters import CIPHER_MODULUS, PLAIN_MODULUS, Layout
from protocol.sealing.secret import StudySecret

QUERIES = 2_000
DELTA = CIPHER_MODULUS // PLAIN_MODULUS


@pytest.fixture
def undecrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("something that failed was decrypted")

    monkeypatch.setattr(bfv.Cipher, "decrypt", unexpected)


def outcomes(secret: StudySecret, exchange, queries: list[bytes]) -> list[Failure | None]:
    found: list[Failure | None] = []
    for chunk in queries:
        try:
            term.verify_sum(secret, exchange.freeze, exchange.silos, [chunk], exchange.layout)
        except SumRejected as rejected:
            found.append(rejected.failure)
        else:
            found.append(None)
    return found


def shifted(chunk: bytes, coefficient: int, by: int) -> bytes:
    records = np.frombuffer(chunk, wire.chunk_type(2)).copy()
    coefficients = wire.polynomials(records)
    coefficients[0, coefficient] = (int(coefficients[0, coefficient]) + by) % CIPHER_MODULUS
    wire.put_polynomials(records, coefficients)
    return records.tobytes()


def test_thousands_of_sums_shifted_near_the_noise_bound_all_fail_alike(make_exchange, undecrypted: None) -> None:
    """Whether such a sum still decrypts depends on its noise, hence on the key: nobody may ever see which did."""
    exchange = make_exchange(Layout.single(10, 2), 2)
    (honest,) = exchange.sum_chunks
    random = np.random.default_rng(5)
    places = random.integers(0, 4096, QUERIES).tolist()
    shifts = (DELTA // 2 + random.integers(-60, 61, QUERIES)).tolist()
    queries = [shifted(honest, place, by) for place, by in zip(places, shifts, strict=True)]
    assert set(outcomes(exchange.secret, exchange, queries)) == {Failure.TAG}


def test_whether_a_sum_is_rejected_does_not_depend_on_the_bfv_key(make_exchange, undecrypted: None) -> None:
    exchange = make_exchange(Layout.single(10, 2), 2)
    (honest,) = exchange.sum_chunks
    queries = [honest, *(shifted(honest, 7, DELTA // 2 + step) for step in range(-20, 21))]
    keys = [StudySecret(bfv.generate_key(), exchange.secret.mac_key) for _ in range(3)]
    found = [outcomes(key, exchange, queries) for key in (exchange.secret, *keys)]
    assert found == [[None, *[Failure.TAG] * 41]] * 4


def stream_of(polynomials: int, degree: int = 4096) -> bytes:
    """A stream of SEAL's own: other sizes, or other parameters, than the sealed sum's."""
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(degree)
    parameters.set_coeff_modulus(sealapi.CoeffModulus.Create(degree, [60]))
    parameters.set_plain_modulus(PLAIN_MODULUS)
    context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.NONE)
    keys, plain, made = sealapi.KeyGenerator(context), sealapi.Plaintext("1"), sealapi.Ciphertext()
    sealapi.Encryptor(context, keys.secret_key()).encrypt_symmetric(plain, made)
    for _ in range(polynomials - 2):
        sealapi.Evaluator(context).multiply_inplace(made, made)
    scratch = bfv._scratch()
    made.save(scratch.path)
    return scratch.read()


HOSTILE = {
    "three polynomials": lambda: stream_of(3),
    "two expanded polynomials": lambda: stream_of(2),
    "other parameters": lambda: stream_of(2, degree=2048),
    "a seeded stream": lambda: streams.seeded(np.zeros(4096, dtype=np.uint64), bytes(64)),
    "1 GiB": lambda: bytes(2**30),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_stream_of_seals_own_is_neither_added_nor_opened(small, undecrypted: None, name: str) -> None:
    stream = HOSTILE[name]()
    with pytest.raises(ChunkRefused, match="length"):
        check_upload_chunk(stream, small.layout, 0)
    with pytest.raises(SumRejected) as rejected:
        term.verify_sum(small.secret, small.freeze, small.silos, [stream], small.layout)
    assert rejected.value.failure is Failure.FORMAT


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "1 GiB"])
def test_cut_to_a_chunks_length_it_is_still_rejected(small, undecrypted: None, name: str) -> None:
    stream = HOSTILE[name]()
    length = small.layout.sum_chunk_bytes(0, 3)
    padded = (stream * (length // len(stream) + 1))[:length]
    with pytest.raises(SumRejected):
        term.verify_sum(small.secret, small.freeze, small.silos, [padded], small.layout)
