"""docs/protocol.md is enough to write a second implementation: here is one of its bytes, written from that text."""

import base64
import hashlib
import hmac
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol import charter, rounds
from protocol.sealing.decode import Segment, dequantise
from protocol.sealing.packing import join, pack
from protocol.sealing.parameters import Layout, Part
from protocol.sealing.secret import StudySecret
from protocol.study import study_id
from silo_node.agent.progress import apply_total
from tests.sample_study import contract, contract_values

VECTORS = Path(__file__).parents[1] / "vectors"
Q, T = 1152921504606830593, 70368743669761


@pytest.fixture(scope="module")
def exchange():
    found = json.loads((VECTORS / "sealing_exchange.json").read_text())
    for name in ("secret", "sum"):
        found[name] = base64.b64decode(found[name])
    found["uploads"] = [base64.b64decode(upload) for upload in found["uploads"]]
    found["freeze"] = bytes.fromhex(found["freeze"])
    return found


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hkdf(key, salt, info):
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def stream(key, block, length):
    return Cipher(algorithms.AES256(key), modes.CTR(block.to_bytes(16, "big"))).encryptor().update(bytes(length))


def numbers(data, width):
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def record(chunk, seeds):
    """(first polynomial, seeds, tag) of the one record in a chunk."""
    assert len(chunk) == 30720 + 64 * seeds + 8
    low, mid = numbers(chunk[:16384], 8), numbers(chunk[16384:24576], 4)
    high, top = numbers(chunk[24576:28672], 2), chunk[28672:30720]
    first = [word % 2**60 for word in low]
    second = [(low[i] >> 60) + (mid[i] << 4) + (high[i] << 36) + (top[i] << 52) for i in range(2048)]
    rest = chunk[30720:]
    return first + second, [rest[64 * i : 64 * i + 64] for i in range(seeds)], int.from_bytes(rest[-8:], "little")


def rho(mac_key, freeze, index):
    key = hkdf(mac_key, freeze, b"consortia/sealed-sum/v1/rho")
    words = [word % 2**60 for word in numbers(stream(key, index * 2**64, 8 * 4200), 8)]
    return [word for word in words if word < Q][:4096]


def pad(mac_key, freeze, silo, index):
    key = hkdf(mac_key, freeze, b"consortia/sealed-sum/v1/pad/" + silo.encode())
    return int.from_bytes(stream(key, 2 * index, 32), "little") % Q


def weigh(mac_key, freeze, index, coefficients):
    return sum(r * c for r, c in zip(rho(mac_key, freeze, index), coefficients, strict=True)) % Q


def mark(mac_key, freeze, index, seed):
    key = hkdf(mac_key, freeze, b"consortia/sealed-sum/v1/seed")
    return int.from_bytes(hmac.digest(key, index.to_bytes(8, "big") + seed, "sha256"), "little") % Q


def test_a_record_of_a_term_and_its_tag_read_as_the_document_says(exchange):
    mac_key = exchange["secret"][-32:]
    for silo, upload in zip(exchange["silos"], exchange["uploads"], strict=True):
        first, (seed,), tag = record(upload, 1)
        freeze = exchange["freeze"]
        assert (
            tag
            == (pad(mac_key, freeze, silo, 0) + weigh(mac_key, freeze, 0, first) + mark(mac_key, freeze, 0, seed)) % Q
        )


def test_a_sum_is_made_and_checked_as_the_document_says(exchange):
    terms = [record(upload, 1) for upload in exchange["uploads"]]
    total, seeds, tag = record(exchange["sum"], len(terms))
    assert total == [sum(column) % Q for column in zip(*(term[0] for term in terms), strict=True)]
    assert seeds == [term[1][0] for term in terms]
    assert tag == sum(term[2] for term in terms) % Q
    mac_key, freeze = exchange["secret"][-32:], exchange["freeze"]
    pads = sum(pad(mac_key, freeze, silo, 0) for silo in exchange["silos"])
    marks = sum(mark(mac_key, freeze, 0, seed) for seed in seeds)
    assert tag == (pads + weigh(mac_key, freeze, 0, total) + marks) % Q


def test_the_secret_reads_as_the_document_says(exchange):
    magic = b"consortia/study-secret/v1\n"
    key = exchange["secret"][len(magic) : -32]
    assert exchange["secret"].startswith(magic) and len(key) == 1024
    symbols = [byte >> shift & 3 for byte in key for shift in (0, 2, 4, 6)]
    assert set(symbols) == {0, 1, 3} and 2431 <= sum(symbol != 0 for symbol in symbols) <= 3031


def test_commitments_and_state_macs_are_those_of_the_document(exchange):
    secret, context = exchange["secret"], canonical({"context": "consortia/state/v1", "round": 3, "study": "ab" * 32})

    def subkey(purpose):
        return hkdf(secret, None, b"consortia/study-secret/v1/" + purpose)

    held = StudySecret.from_bytes(secret)
    assert held.commitment(context) == hmac.digest(subkey(b"commitment"), context, "sha256")
    message = len(context).to_bytes(8, "big") + context + b"state"
    assert held.state_mac(context, b"state") == hmac.digest(subkey(b"state"), message, "sha256")


@pytest.mark.parametrize(("terms", "per_slot", "bits"), [(3, 3, 13), (4, 2, 21), (16, 3, 11), (100, 3, 8), (100, 4, 4)])
def test_levels_stand_in_slots_and_totals_decode_as_the_document_says(terms, per_slot, bits):
    radix = terms * (2**bits - 1) + 1
    assert radix**per_slot <= T < (terms * (2 ** (bits + 1) - 1) + 1) ** per_slot
    layout = Layout.single(4095 * per_slot + 5, terms, per_slot)
    levels = np.arange(layout.values, dtype=np.uint64) % np.uint64(2**bits)
    slots = pack(levels, layout)
    for value in (0, 1, per_slot, 4095 * per_slot - 1, layout.values - 1):
        slot = int(slots[value // (4095 * per_slot), value // per_slot % 4095])
        assert slot // radix ** (value % per_slot) % radix == levels[value]
    assert (slots[:, 4095] == 1).all()
    total = dequantise(levels, layout.parts[0], terms, [Segment(layout.values, 3)])
    assert total[7] == (2 * int(levels[7]) - terms * (2**bits - 1)) / (2**bits - 1) * 2.0**3


def test_parts_lie_one_after_the_other_as_the_document_says():
    parts = (Part("ages", 50, 4, 5), Part("stays", 4095 * 2 + 3, 2, 16), Part("deaths", 1, 1, 20))
    layout, begins = Layout(parts, 3), (0, 13, 13 + 4097)
    levels = {part.name: np.arange(1, part.values + 1, dtype=np.uint64) % np.uint64(2**part.bits) for part in parts}
    slots = pack(join(levels, layout), layout)
    for part, first in zip(parts, begins, strict=True):
        radix = 3 * (2**part.bits - 1) + 1
        for value in {0, 1, part.values // 2, part.values - 1} - {part.values}:
            place = first + value // part.per_slot
            digit = int(slots[place // 4095, place % 4095]) // radix ** (value % part.per_slot) % radix
            assert digit == levels[part.name][value]
    assert slots.shape == (2, 4096) and (slots[:, 4095] == 1).all()


def test_a_round_has_its_vector_and_the_clipped_count_as_the_document_says():
    study = contract(sealing={**contract_values()["sealing"], "values_per_slot": None, "bits": 2})
    for index, vector, values in ((0, "moments", 4), (1, "update", 3), (3, "counts", 2)):
        layout = rounds.round_layout(study, index, 4)
        binary = len(f"{values:b}")
        assert layout.parts == (Part(vector, values, 8, 2), Part("clipped", 1, 1, binary))


def test_the_state_reads_as_the_document_says():
    study = contract()
    after = io.BytesIO()
    apply_total(study, study_id(study), 0, io.BytesIO(), [np.zeros(4)], study.silo_names, after)
    state = after.getvalue()
    assert struct.unpack("<2Q2d", state[:32]) == (0, 2, 0.0, 0.0)
    magic = b"consortia/study-state/v2\x00"
    assert state[32:].startswith(magic)
    head = 32 + len(magic)
    assert struct.unpack("<5Q2q", state[head : head + 56]) == (0, 0, 2, 3, 2, 1, 1)
    assert struct.unpack("<10d", state[head + 56 :]) == (0.0, 0.0, 0.2, 0.2, *[0.0] * 6)


def test_the_freeze_digest_is_that_of_the_document():
    parts = (Part("update", 40, 3, 13), Part("clipped", 1, 1, 6))
    layout, ready = Layout(parts, 3), {"west": "1" * 64, "east": "2" * 64, "north": "3" * 64}
    silos = ("east", "north", "west")
    made = rounds.freeze_digest(
        study="ab" * 32, index=2, attempt=1, silos=silos, ready=ready, layout=layout, base="0" * 64
    )
    told = {
        "context": "consortia/freeze/v1",
        "study": "ab" * 32,
        "round": 2,
        "attempt": 1,
        "silos": list(silos),
        "ready": ready,
        "parts": [
            {"name": "update", "values": 40, "values_per_slot": 3, "bits": 13},
            {"name": "clipped", "values": 1, "values_per_slot": 1, "bits": 6},
        ],
        "base": "0" * 64,
    }
    assert made == hashlib.sha256(canonical(told)).digest()


def test_a_statement_is_signed_over_the_bytes_that_the_document_says():
    for vector in json.loads((VECTORS / "statements.json").read_text()):
        wire = vector["wire"].encode()
        value = json.loads(wire)
        message = b"consortia/statement/v1\x00" + value["body"]["type"].encode() + b"\x00" + canonical(value["body"])
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key"]))
        key.verify(bytes.fromhex(value["signature"]), message)
        assert hashlib.sha256(wire).hexdigest() == vector["digest"]


@pytest.mark.parametrize("vector", json.loads((VECTORS / "decision.json").read_text()), ids=["ES256", "EdDSA"])
def test_a_decision_is_asserted_as_the_document_says(vector):
    message = vector["message"].encode()
    assert canonical(json.loads(message)) == message and json.loads(message)["assertion"] is None
    asked = hashlib.sha256(b"consortia/decision/v1\x00study-approved\x00" + message).digest()
    data, client, signature, cose = (
        base64.b64decode(vector[of][name])
        for of, name in (
            ("assertion", "authenticator_data"),
            ("assertion", "client_data"),
            ("assertion", "signature"),
            ("decision_key", "public_key"),
        )
    )
    told = json.loads(client)
    assert told["challenge"] == base64.urlsafe_b64encode(asked).rstrip(b"=").decode()
    assert told["type"] == "webauthn.get" and told["origin"].startswith("http://consortia-decision.localhost:")
    assert data[:32] == hashlib.sha256(b"consortia-decision.localhost").digest() and data[32] == 0b101
    signed = data + hashlib.sha256(client).digest()
    if vector["algorithm"] == "EdDSA":
        assert cose[:-32].hex() == "a4010103272006215820"
        Ed25519PublicKey.from_public_bytes(cose[-32:]).verify(signature, signed)
    else:
        assert cose[:10].hex() == "a5010203262001215820" and cose[42:45].hex() == "225820"
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + cose[10:42] + cose[45:])
        point.verify(signature, signed, ec.ECDSA(hashes.SHA256()))


def test_six_words_are_those_of_the_document():
    signing, receiving = bytes(range(32)), bytes(1216)
    digest = hashlib.sha256(b"consortia/key-words/v1\x00" + signing + receiving).digest()[:12]
    consonants, vowels = "bdfghjklmnprstvz", "aiou"
    words = []
    for at in range(0, 12, 2):
        n = int.from_bytes(digest[at : at + 2], "big")
        parts = (
            consonants[n >> 12],
            vowels[n >> 10 & 3],
            consonants[n >> 6 & 15],
            vowels[n >> 4 & 3],
            consonants[n & 15],
        )
        words.append("".join(parts))
    assert charter.key_words(signing.hex(), base64.b64encode(receiving).decode()) == " ".join(words)
