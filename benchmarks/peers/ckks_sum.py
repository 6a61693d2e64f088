"""CKKS through TenSEAL's high-level vectors: degree 8192, primes of 60, 40 and 40 bits, scale 2^40, symmetric.

A vector travels as one file for every 4096 values. Loading the context is not timed, as key creation is not.
"""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import tenseal as ts

from benchmarks.peers.roles import Figures, Task, folder_bytes, largest_error, peak_mb, run_script, silo_values

_BATCH: Final = 4096


def keys(task: Task) -> Figures:
    """The silos' context, and the hub's without the secret key."""
    context = ts.context(
        ts.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.global_scale = 2**40
    (task.folder / "silo.context").write_bytes(context.serialize(save_secret_key=True))
    (task.folder / "hub.context").write_bytes(context.serialize(save_secret_key=False))
    return {}


def seal(task: Task) -> Figures:
    """One silo: values to encrypted batches."""
    context, values = _context(task, "silo"), silo_values(task.values, task.number)
    folder = task.folder / f"silo-{task.number}"
    folder.mkdir()
    started = time.perf_counter()
    for batch, at in enumerate(range(0, task.values, _BATCH)):
        _file(folder, batch).write_bytes(ts.ckks_vector(context, values[at : at + _BATCH]).serialize())
    return {"seconds": time.perf_counter() - started, "bytes": folder_bytes(folder)}


def add(task: Task) -> Figures:
    """The hub: batch after batch, all silos' added."""
    context, folder = _context(task, "hub"), task.folder / "sum"
    folder.mkdir()
    started = time.perf_counter()
    for batch in range(_batches(task)):
        total = ts.ckks_vector_from(context, _file(task.folder / "silo-0", batch).read_bytes())
        for number in range(1, task.silos):
            total += ts.ckks_vector_from(context, _file(task.folder / f"silo-{number}", batch).read_bytes())
        _file(folder, batch).write_bytes(total.serialize())
    return {"seconds": time.perf_counter() - started, "bytes": folder_bytes(folder)}


def open_sum(task: Task) -> Figures:
    """One silo: the sum decrypted, then compared with the sum of the floats."""
    context, sums = _context(task, "silo"), np.empty(task.values)
    started = time.perf_counter()
    for batch in range(_batches(task)):
        vector = ts.ckks_vector_from(context, _file(task.folder / "sum", batch).read_bytes())
        sums[batch * _BATCH : (batch + 1) * _BATCH] = vector.decrypt()
    seconds, peak = time.perf_counter() - started, peak_mb()
    return {"seconds": seconds, "peak_mb": peak, "error": largest_error(sums, task.silos)}


def _context(task: Task, owner: str) -> Any:
    return ts.context_from((task.folder / f"{owner}.context").read_bytes())


def _batches(task: Task) -> int:
    return -(-task.values // _BATCH)


def _file(folder: Path, batch: int) -> Path:
    return folder / str(batch)


if __name__ == "__main__":
    run_script({"keys": keys, "seal": seal, "add": add, "open": open_sum})
