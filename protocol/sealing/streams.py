"""SEAL 4's own serialisation of the few objects the sealed sum needs, built and read as plain bytes. Pure.

What SEAL loads is always built here, uncompressed, around constant headers, from coefficients that were
checked: no stream of another party is ever parsed by SEAL. What is read here was written by the SEAL of this
process, and has exactly one form: these objects are noise, which SEAL's compressor stores as one raw block.

Layouts after SEAL 4.1: `Ciphertext::save_members`, `Plaintext::save_members`, `DynArray::save_members`,
`UniformRandomGeneratorInfo::save_members`, `Serialization::SEALHeader`.
"""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.parameters import RING_DEGREE, SEED_BYTES
from protocol.sealing.wire import Coefficients

# SEAL's hash of (BFV, degree, Q, t); bfv.py checks it against the library at import.
PARAMETERS_ID: Final = bytes.fromhex("1f53fef5508161998e3e2b360c144a90e6ca44246d07149d94429328b1040785")

_HEADER: Final = struct.Struct("<HBBBBHQ")  # magic, header size, major, minor, compression, reserved, total size
_NONE: Final = 0
_RAW_FRAME: Final = 26  # SEAL's header (16), a zstd frame header (7), one raw block's header (3)
_BLAKE2XB: Final = 1
_POLYNOMIAL: Final = RING_DEGREE * 8


def _header(body: int) -> bytes:
    return _HEADER.pack(0xA15E, _HEADER.size, 4, 3, _NONE, 0, _HEADER.size + body)


def _ciphertext(stored_polynomials: int, ntt: bool = False) -> bytes:
    words = stored_polynomials * RING_DEGREE
    # NTT form, polynomials, degree, primes, CKKS scale, BGV correction factor
    members = struct.pack("<BQQQdQ", ntt, 2, RING_DEGREE, 1, 1.0, 1)
    return PARAMETERS_ID + members + _header(8 + 8 * words) + struct.pack("<Q", words)


_SEEDED: Final = _ciphertext(1)
_SEED: Final = _header(1 + SEED_BYTES) + bytes([_BLAKE2XB])
_FULL: Final = _ciphertext(2)
_FULL_NTT: Final = _ciphertext(2, ntt=True)
# A plaintext: degree, CKKS scale, array. A secret key is saved as one in NTT form, which its parameters' id says.
_PLAIN_MEMBERS: Final = struct.pack("<Qd", RING_DEGREE, 1.0) + _header(8 + _POLYNOMIAL) + struct.pack("<Q", RING_DEGREE)
_PLAIN: Final = bytes(len(PARAMETERS_ID)) + _PLAIN_MEMBERS
_SECRET: Final = PARAMETERS_ID + _PLAIN_MEMBERS


def seeded(first: Coefficients, seed: bytes) -> bytes:
    """Stream of a ciphertext of a first polynomial (4096,) and the 64-byte seed of its second."""
    return _stream(_SEEDED + _words(first, RING_DEGREE) + _SEED + seed, _SEEDED, RING_DEGREE, len(_SEED) + SEED_BYTES)


def full(both: Coefficients, ntt: bool = False) -> bytes:
    """Stream of a ciphertext of both polynomials (8192,), in coefficient or NTT form."""
    prefix = _FULL_NTT if ntt else _FULL
    return _stream(prefix + _words(both, 2 * RING_DEGREE), prefix, 2 * RING_DEGREE)


def plain(coefficients: NDArray[np.int64]) -> bytes:
    """Stream of a plaintext of coefficients (4096,), each in [0, t)."""
    return _stream(_PLAIN + _words(coefficients.astype(np.uint64, copy=False), RING_DEGREE), _PLAIN, RING_DEGREE)


def secret(ntt: Coefficients) -> bytes:
    """Stream of a secret key given in NTT form (4096,)."""
    return _stream(_SECRET + _words(ntt, RING_DEGREE), _SECRET, RING_DEGREE)


def read_seeded(stream: bytes) -> tuple[Coefficients, bytes]:
    """First polynomial and seed of a ciphertext that this process encrypted."""
    body = _stored(stream, _SEEDED, RING_DEGREE, len(_SEED) + SEED_BYTES)
    return _coefficients(body, _SEEDED, RING_DEGREE), body[-SEED_BYTES:]


def read_full(stream: bytes) -> Coefficients:
    """Both polynomials (8192,) of a ciphertext of this process."""
    return _coefficients(_stored(stream, _FULL, 2 * RING_DEGREE), _FULL, 2 * RING_DEGREE)


def read_secret(stream: bytes) -> Coefficients:
    """The NTT form (4096,) of a secret key that this process generated."""
    return _coefficients(_stored(stream, _SECRET, RING_DEGREE), _SECRET, RING_DEGREE)


def _words(coefficients: Coefficients, count: int) -> bytes:
    if coefficients.shape != (count,):
        raise ValueError(f"coefficients: {coefficients.shape} where ({count},) is needed")
    return coefficients.astype("<u8", copy=False).tobytes()


def _stream(body: bytes, prefix: bytes, words: int, tail: int = 0) -> bytes:
    if len(body) != len(prefix) + 8 * words + tail:
        raise ValueError(f"stream: {len(body)} bytes where {len(prefix) + 8 * words + tail} are needed")
    return _header(len(body)) + body


def _stored(stream: bytes, prefix: bytes, words: int, tail: int = 0) -> bytes:
    if len(stream) != _RAW_FRAME + len(prefix) + 8 * words + tail:
        raise RuntimeError("SEAL wrote a stream of another form than the sealed sum knows: check its version")
    return stream[_RAW_FRAME:]


def _coefficients(body: bytes, prefix: bytes, words: int) -> Coefficients:
    return np.frombuffer(body, "<u8", words, len(prefix)).astype(np.uint64, copy=False)
