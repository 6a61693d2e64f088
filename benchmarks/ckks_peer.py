"""The peer of the sealed-sum benchmark: CKKS through TenSEAL's high-level vectors, with a symmetric key.

Degree 8192, primes of 60, 40 and 40 bits, scale 2^40, 4096 values a ciphertext: what NVFlare 2.9 provisions for its
homomorphic aggregation. It masks nothing and checks nothing of what the hub did.
"""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tenseal

from benchmarks.exchange import Exchange, Figures, peak_mb

_BATCH: Final = 4096
_LENGTH: Final = struct.Struct("<Q")


def prepare(exchange: Exchange) -> None:
    """The contexts: one with the secret key for the silos, one without for the hub."""
    kind, symmetric = tenseal.SCHEME_TYPE.CKKS, tenseal.ENCRYPTION_TYPE.SYMMETRIC
    context = tenseal.context(kind, 8192, coeff_mod_bit_sizes=[60, 40, 40], encryption_type=symmetric)
    context.global_scale = 2**40
    (exchange.folder / "ckks-silo").write_bytes(context.serialize(save_secret_key=True))
    (exchange.folder / "ckks-hub").write_bytes(context.serialize(save_secret_key=False))


def seal_role(exchange: Exchange, number: int) -> Figures:
    """One silo: values to serialised ciphertexts."""
    values, context = exchange.values(number), _context(exchange, "silo")
    started = time.perf_counter()
    with _file(exchange, exchange.silos[number]).open("wb") as out:
        for at in range(0, values.size, _BATCH):
            _write(out, tenseal.ckks_vector(context, values[at : at + _BATCH].tolist()).serialize())
    return {"seconds": time.perf_counter() - started}


def add_role(exchange: Exchange, _: int) -> Figures:
    """The hub: every silo's ciphertexts loaded, added and saved."""
    context = _context(exchange, "hub")
    started = time.perf_counter()
    terms = [_read(_file(exchange, silo)) for silo in exchange.silos]
    with _file(exchange, "sum").open("wb") as out:
        for batch in zip(*terms, strict=True):
            total = tenseal.ckks_vector_from(context, batch[0])
            for one in batch[1:]:
                total.add_(tenseal.ckks_vector_from(context, one))
            _write(out, total.serialize())
    return {"seconds": time.perf_counter() - started}


def open_role(exchange: Exchange, _: int) -> Figures:
    """One silo: the sum decrypted, then compared with the sum of the floats."""
    context = _context(exchange, "silo")
    started = time.perf_counter()
    parts = [np.array(tenseal.ckks_vector_from(context, one).decrypt()) for one in _read(_file(exchange, "sum"))]
    sums = np.concatenate(parts)
    seconds, peak = time.perf_counter() - started, peak_mb()
    return {"seconds": seconds, "peak_mb": peak, "error": exchange.error_of(sums)}


def size(exchange: Exchange, name: str) -> int:
    """Bytes of a term, or of the sum."""
    return _file(exchange, name).stat().st_size


def _context(exchange: Exchange, whose: str) -> Any:
    return tenseal.context_from((exchange.folder / f"ckks-{whose}").read_bytes())


def _file(exchange: Exchange, name: str) -> Path:
    return exchange.folder / f"ckks-{name}-vectors"


def _write(out: Any, data: bytes) -> None:
    out.write(_LENGTH.pack(len(data)))
    out.write(data)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while head := source.read(_LENGTH.size):
            yield source.read(_LENGTH.unpack(head)[0])
