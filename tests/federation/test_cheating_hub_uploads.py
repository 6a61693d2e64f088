"""Silos that upload what is no term of the round: refused over HTTP where the size shows it, else dropped and named."""

import contextlib
import secrets
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from hub.store.blobs import upload_name
from protocol import routes
from protocol.round_statements import RoundReady, SumServed, SumVerified, UploadComplete
from protocol.rounds import round_layout
from protocol.sealing import wire
from protocol.sealing.parameters import CIPHER_MODULUS
from silo_node.agent import pipeline
from tests.federation.rig.cheating_silos import Group, founded_group
from tests.sample_study import SILOS
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.contract import contract
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A process of its own, so that its memory can be looked at."""
    process = HubProcess(tmp_path_factory.mktemp("uploads") / "hub")
    process.start()
    yield process
    process.stop()


class Frozen:
    """A study that waits for the uploads of its first round."""

    def __init__(self, consortium: Consortium) -> None:
        for silo in consortium.silos:
            silo.silent_in = {(0, "upload")}
        self.study = consortium.start(timeout_s=600)
        while (consortium.status(self.study)["current"] or {}).get("state") != "frozen":
            for silo in consortium.silos:
                for _, _, signed in silo.poll():
                    silo.act(signed)
        agreed = contract(tuple(silo.name for silo in consortium.silos))
        self.chunk = secrets.token_bytes(round_layout(agreed, 0, len(consortium.silos)).upload_chunk_bytes(0))
        self.silo: FakeSilo = consortium.silo("dale")
        self.path = routes.CHUNK.format(study=self.study, round=0, attempt=1, index=0)


@pytest.fixture(scope="module")
def frozen(hub: HubProcess) -> Frozen:
    consortium = Consortium(hub.url, hub.card)
    consortium.gather()
    return Frozen(consortium)


def seal_stream(tmp_path: Path, degree: int = 4096, multiplied: bool = False) -> bytes:
    """A ciphertext in SEAL's own format, as no term is ever sent."""
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(degree)
    parameters.set_coeff_modulus(sealapi.CoeffModulus.BFVDefault(degree, sealapi.SEC_LEVEL_TYPE.TC128))
    parameters.set_plain_modulus(sealapi.PlainModulus.Batching(degree, 20))
    context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
    generator = sealapi.KeyGenerator(context)
    public, plain, made = sealapi.PublicKey(), sealapi.Plaintext("1x^1 + 3"), sealapi.Ciphertext()
    generator.create_public_key(public)
    sealapi.Encryptor(context, public).encrypt(plain, made)
    if multiplied:
        sealapi.Evaluator(context).multiply_inplace(made, made)
        assert made.size() == 3
    made.save(str(tmp_path / "ciphertext"))
    return (tmp_path / "ciphertext").read_bytes()


STREAMS: dict[str, Callable[[Path, bytes], bytes]] = {
    "a ciphertext of other parameters": lambda folder, good: seal_stream(folder, degree=8192),
    "a ciphertext of three polynomials": lambda folder, good: seal_stream(folder, multiplied=True),
    "a ciphertext in SEAL's format": lambda folder, good: seal_stream(folder),
    "a chunk without its last byte": lambda folder, good: good[:-1],
    "a chunk with a byte too many": lambda folder, good: good + b"\0",
    "nothing": lambda folder, good: b"",
}


@pytest.mark.parametrize("what", STREAMS)
def test_what_has_not_the_exact_size_of_a_chunk_is_refused(frozen: Frozen, tmp_path: Path, what: str) -> None:
    answer = frozen.silo.put_chunk(frozen.study, 0, 1, 0, STREAMS[what](tmp_path, frozen.chunk))
    assert answer.status_code in (400, 413)
    assert "bytes" in answer.json()["detail"]
    held = frozen.silo.get(routes.CHUNKS.format(study=frozen.study, round=0, attempt=1)).json()
    assert held == {"digests": [None]}


def peak_memory(hub: HubProcess) -> int:
    """The most bytes that the hub's process ever held in memory."""
    (line,) = [line for line in Path(f"/proc/{hub.pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def send_until_answered(hub: HubProcess, head: list[str], piece: bytes) -> tuple[bytes, int]:
    """The first bytes of the hub's answer to a body of a gigabyte, and how much of it was sent by then.

    After that a good deal more is sent, as long as the hub keeps the line, by somebody who doesn't care for answers.
    """
    sent = 0
    with socket.create_connection(("127.0.0.1", hub.port), timeout=30) as line:
        line.sendall("\r\n".join([*head, "", ""]).encode())
        while sent < GIB and not select.select([line], [], [], 0)[0]:
            line.sendall(piece)
            sent += MIB
        answer = line.recv(4096)
        with contextlib.suppress(ConnectionError):
            for _ in range(128):
                line.sendall(piece)
    return answer, sent


def shown(frozen: Frozen) -> list[str]:
    """Header lines that show the silo, for a request with Host: 127.0.0.1."""
    headers = frozen.silo.shown("PUT", f"http://127.0.0.1{frozen.path}")
    return [f"{name}: {value}" for name, value in headers.items()]


@pytest.mark.parametrize(
    ("framing", "piece"),
    [(f"Content-Length: {GIB}", bytes(MIB)), ("Transfer-Encoding: chunked", b"100000\r\n" + bytes(MIB) + b"\r\n")],
    ids=["with its length", "in pieces"],
)
def test_a_body_of_a_gigabyte_is_refused_early_and_never_held(
    hub: HubProcess, frozen: Frozen, framing: str, piece: bytes
) -> None:
    before = peak_memory(hub)
    head = [f"PUT {frozen.path} HTTP/1.1", "Host: 127.0.0.1", *shown(frozen), framing]
    answer, sent = send_until_answered(hub, head, piece)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 64 * MIB, "the hub let it come"
    assert peak_memory(hub) - before < 32 * MIB
    assert frozen.silo.http.get("/health").status_code == 200


def test_a_gigabyte_that_is_announced_is_refused_before_a_byte_of_it_came(hub: HubProcess, frozen: Frozen) -> None:
    head = [f"PUT {frozen.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {GIB}"]
    with socket.create_connection(("127.0.0.1", hub.port), timeout=30) as line:
        line.sendall("\r\n".join([*head, *shown(frozen), "", ""]).encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


# -- of the right size: the hub finds out when it adds


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("terms")) as group:
        yield group


def without_noise(records: np.ndarray, others: np.ndarray) -> None:
    """Transparent: whoever sees it reads the plaintext."""
    wire.put_polynomials(records, np.zeros((len(records), 4096), np.uint64))


def without_a_second_polynomial(records: np.ndarray, others: np.ndarray) -> None:
    records["seeds"][...] = 0


def with_a_coefficient_beyond_the_modulus(records: np.ndarray, others: np.ndarray) -> None:
    coefficients = wire.polynomials(records)
    coefficients[0, 17] = CIPHER_MODULUS
    wire.put_polynomials(records, coefficients)


def with_a_tag_beyond_the_modulus(records: np.ndarray, others: np.ndarray) -> None:
    records["tag"] = np.uint64(CIPHER_MODULUS)


def copied_from_alpha(records: np.ndarray, others: np.ndarray) -> None:
    records[...] = others


MALFORMED = [
    without_noise,
    without_a_second_polynomial,
    with_a_coefficient_beyond_the_modulus,
    with_a_tag_beyond_the_modulus,
    copied_from_alpha,
]


@pytest.fixture(scope="module")
def long(founded: Group) -> str:
    """A study with a round of training for each malformed term."""
    return founded.study(rounds=len(MALFORMED))


@pytest.mark.parametrize("made", MALFORMED, ids=lambda made: made.__name__.replace("_", " "))
def test_a_term_that_can_not_be_added_drops_its_silo_alone_and_stands_in_the_log(
    founded: Group, long: str, monkeypatch: pytest.MonkeyPatch, made
) -> None:
    index, honest, blobs = founded.open_round(long), pipeline.seal_update, founded.hub.services.rounds.blobs

    def seal_update(update, segments, secret, freeze, silo, layout, masks):
        (chunk,) = honest(update, segments, secret, freeze, silo, layout, masks)
        records = np.frombuffer(chunk, wire.chunk_type(1)).copy()
        if silo == "delta":
            made(records, np.frombuffer(blobs.read(upload_name(long, index, 1, "alpha", 0)), wire.chunk_type(1)))
        return [records.tobytes()]

    before = refusals(founded)
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "seal_update", seal_update)
        founded.run_to(lambda: founded.who(RoundReady, long, index) == set(SILOS))
        founded.run_to(lambda: founded.who(UploadComplete, long, index) == set(SILOS[:3]), *SILOS[:3])
        founded.run_to(lambda: bool(founded.words(SumServed, long, index)))
    (served,) = founded.words(SumServed, long, index)
    assert served.survivors == SILOS[:3]
    founded.go_past(long, index)
    assert founded.who(SumVerified, long, index) == set(SILOS[:3])
    assert refusals(founded) == before + 1
    assert all(node.ended is None for node in founded.nodes.values())


def refusals(group: Group) -> int:
    """Chunks that the hub refused to add, by the log's export."""
    return group.people.officer.get(routes.LOG_EXPORT).text.count("consortia/chunk-refused/v1")
