"""BFV by SEAL, through `tenseal.sealapi`: the only importer of it, and the only code here that touches a file.

SEAL reads and writes its objects at paths, so they pass through an anonymous memory file, or a private
temporary file where the system has none. What passes is built or read by streams.py; plaintexts pass masked.

A slot is a coefficient of the plaintext polynomial: SEAL's batch encoder, whose slots can also be multiplied, would
cost a transform and a list of Python integers each way.

Secret keys are kept as ternary polynomials of 2 bits a coefficient: whatever else a key from another silo
might be can't be expressed, so it can't smuggle in large noise, and SEAL's key format is never parsed.

All calls hold the GIL: use processes for more cores.
"""

import functools
import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tenseal.sealapi as sealapi

from protocol.sealing import streams
from protocol.sealing.errors import KeyRefused
from protocol.sealing.packing import Slots
from protocol.sealing.parameters import CIPHER_MODULUS, COEFFICIENT_BITS, PLAIN_MODULUS, RING_DEGREE, SEED_BYTES
from protocol.sealing.wire import Coefficients

KEY_BYTES: Final = RING_DEGREE // 4

# A uniform ternary key has 2731 non-zero coefficients, standard deviation 30: ten of them either way. The
# zero key, which would encrypt nothing, lies far outside.
_KEY_WEIGHTS: Final = range(2431, 3032)
_MINUS_ONE: Final = np.uint64(CIPHER_MODULUS - 1)


class Cipher:
    """Encrypts and decrypts slots under one study's key."""

    __slots__ = ("_decryptor", "_encryptor")

    def __init__(self, key: bytes) -> None:
        """Raises KeyRefused unless `key` is 1024 bytes of plausible ternary coefficients."""
        secret = sealapi.SecretKey()
        ntt = _to_ntt(unpack_key(key))
        scratch = _scratch()
        scratch.write(streams.secret(ntt))
        secret.load(_context(), scratch.path)
        scratch.erase()
        self._encryptor = sealapi.Encryptor(_context(), secret)
        self._decryptor = sealapi.Decryptor(_context(), secret)

    def encrypt(self, slots: Slots) -> tuple[Coefficients, bytes]:
        """Encrypt slots (4096,), each in [0, t), afresh: first polynomial (4096,), 64-byte seed of the second."""
        scratch = _scratch()
        scratch.write(streams.plain(slots))
        plain = sealapi.Plaintext()
        plain.load(_context(), scratch.path)
        self._encryptor.encrypt_symmetric(plain).save(scratch.path)
        return streams.read_seeded(scratch.read())

    def decrypt(self, first: Coefficients, seeds: Sequence[bytes]) -> Slots:
        """Slots (4096,) of a sum: its first polynomial (4096,), each coefficient below Q, and its terms' seeds."""
        total = _load(streams.seeded(first, seeds[0]))
        for seed in seeds[1:]:
            _evaluator().add_inplace(total, _load(_nothing_but(seed)))
        plain = sealapi.Plaintext()
        self._decryptor.decrypt(total, plain)
        return _slots_of(plain)


def generate_key() -> bytes:
    """A new secret key of 1024 bytes, from the operating system's randomness."""
    scratch = _scratch()
    sealapi.KeyGenerator(_context()).secret_key().save(scratch.path)
    ntt = streams.read_secret(scratch.read())
    scratch.erase()
    return pack_key(_from_ntt(ntt))


def pack_key(coefficients: Coefficients) -> bytes:
    """Ternary coefficients modulo Q (4096,) as 1024 bytes, four in a byte, low bits first; 3 means -1."""
    symbols = np.where(coefficients == _MINUS_ONE, 3, coefficients).astype(np.uint8).reshape(-1, 4)
    return bytes(np.bitwise_or.reduce(symbols << np.array([0, 2, 4, 6], np.uint8), axis=1, dtype=np.uint8))


def unpack_key(key: bytes) -> Coefficients:
    """Coefficients modulo Q (4096,) of a packed key.

    Raises KeyRefused when its length, a symbol or the number of non-zero coefficients is none that
    `generate_key` could give.
    """
    if len(key) != KEY_BYTES:
        raise KeyRefused(f"BFV key: {len(key)} bytes, must be {KEY_BYTES}")
    symbols = (np.frombuffer(key, np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    if bool((symbols == 2).any()):
        raise KeyRefused("BFV key: a coefficient is not -1, 0 or 1")
    if int(np.count_nonzero(symbols)) not in _KEY_WEIGHTS:
        raise KeyRefused("BFV key: not a uniformly drawn one; ask the key silo for a new study secret")
    wide = symbols.reshape(-1).astype(np.uint64)
    return np.where(wide == 3, _MINUS_ONE, wide)


class _Scratch:
    """One file that exists only for handing bytes to SEAL and back; never shared by threads or processes."""

    def __init__(self) -> None:
        self._file: int
        if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
            self._file = os.memfd_create("sealed-sum", os.MFD_CLOEXEC)
            self.path, self._remove = f"/proc/self/fd/{self._file}", False
        else:
            self._file, self.path = tempfile.mkstemp(prefix="sealed-sum-")  # made with mode 0600
            self._remove = True

    def write(self, content: bytes) -> None:
        os.ftruncate(self._file, len(content))
        if os.pwrite(self._file, content, 0) != len(content):
            raise OSError("scratch file: no room for a ciphertext")

    def read(self) -> bytes:
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def erase(self) -> None:
        """Overwrite and forget what passed: used after secret keys."""
        self.write(bytes(os.fstat(self._file).st_size))
        os.ftruncate(self._file, 0)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)
            if self._remove:
                Path(self.path).unlink(missing_ok=True)


_local = threading.local()


def _scratch() -> _Scratch:
    # A forked child shares its parent's file: the process id tells whose this is.
    if getattr(_local, "owner", None) != os.getpid():
        _local.scratch, _local.owner = _Scratch(), os.getpid()
    scratch: _Scratch = _local.scratch
    return scratch


@functools.cache
def _context() -> sealapi.SEALContext:
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(RING_DEGREE)
    parameters.set_coeff_modulus(sealapi.CoeffModulus.Create(RING_DEGREE, [COEFFICIENT_BITS]))
    parameters.set_plain_modulus(PLAIN_MODULUS)
    return sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)


@functools.cache
def _evaluator() -> sealapi.Evaluator:
    return sealapi.Evaluator(_context())


@functools.cache
def _filler() -> Coefficients:
    """Two polynomials (8192,) of fixed noise: zeros, or a repetition, would be compressed when SEAL saves them."""
    words = np.frombuffer(hashlib.shake_256(b"filler").digest(16 * RING_DEGREE), "<u8").astype(np.uint64)
    return words % np.uint64(CIPHER_MODULUS)


@functools.cache
def _known() -> sealapi.Ciphertext:
    """A ciphertext that is the filler."""
    return _load(streams.full(_filler()))


def _slots_of(plain: sealapi.Plaintext) -> Slots:
    """The coefficients (4096,) of a plaintext.

    SEAL hands them out one by one, or compressed. So they are added to a ciphertext that is known, which adds
    round(m Q / t) to each coefficient of its first polynomial, and that difference is scaled back. In float64 its
    relative error is below 2^-51, the result below 2^46: rounding to the nearest whole number is exact. What is saved
    stays noise that SEAL can't compress, for the slots of a masked sum are uniform.
    """
    shifted = sealapi.Ciphertext()
    _evaluator().add_plain(_known(), plain, shifted)
    scratch = _scratch()
    shifted.save(scratch.path)
    difference = streams.read_full(scratch.read())[:RING_DEGREE] - _filler()[:RING_DEGREE]
    np.minimum(difference, difference + np.uint64(CIPHER_MODULUS), out=difference)  # a negative one has wrapped
    scaled = difference.astype(np.float64)
    scaled *= PLAIN_MODULUS / CIPHER_MODULUS
    return np.rint(scaled).astype(np.int64)


@functools.cache
def _nothing() -> bytes:
    return streams.seeded(np.zeros(RING_DEGREE, dtype=np.uint64), bytes(SEED_BYTES))


def _nothing_but(seed: bytes) -> bytes:
    """Stream of a ciphertext of a zero first polynomial and the second of a 64-byte seed."""
    return _nothing()[:-SEED_BYTES] + seed


def _load(stream: bytes) -> sealapi.Ciphertext:
    scratch = _scratch()
    scratch.write(stream)
    loaded = sealapi.Ciphertext(_context())
    loaded.load(_context(), scratch.path)
    return loaded


def _to_ntt(polynomial: Coefficients) -> Coefficients:
    # SEAL transforms ciphertexts only: the polynomial goes in as the first of one.
    return _transformed(streams.full(np.concatenate([polynomial, _filler()[RING_DEGREE:]])), to_ntt=True)


def _from_ntt(polynomial: Coefficients) -> Coefficients:
    return _transformed(streams.full(np.concatenate([polynomial, _filler()[RING_DEGREE:]]), ntt=True), to_ntt=False)


def _transformed(stream: bytes, to_ntt: bool) -> Coefficients:
    ciphertext = _load(stream)
    _scratch().erase()
    if to_ntt:
        _evaluator().transform_to_ntt_inplace(ciphertext)
    else:
        _evaluator().transform_from_ntt_inplace(ciphertext)
    # Read one by one: a ternary polynomial would be compressed if it were saved.
    words = ciphertext.dyn_array()
    return np.fromiter((words.at(index) for index in range(RING_DEGREE)), np.uint64, RING_DEGREE)


def _check_library() -> None:
    primes = [prime.value() for prime in sealapi.CoeffModulus.Create(RING_DEGREE, [COEFFICIENT_BITS])]
    if primes != [CIPHER_MODULUS] or not _context().parameters_set():
        raise ImportError("this build of SEAL doesn't offer the parameters that the sealed sum is defined over")
    if b"".join(word.to_bytes(8, "little") for word in _context().first_parms_id()) != streams.PARAMETERS_ID:
        raise ImportError("this build of SEAL names the sealed sum's parameters differently: its streams differ")


_check_library()
