"""The hub's half of the sealed sum: check chunks and add them, without any key and without a BFV library.

Adding BFV ciphertexts is adding coefficients modulo Q. The second polynomials are not even expanded: the sum
carries the seeds of its terms. All functions take and return plain bytes; they run in worker processes.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from protocol.sealing import wire
from protocol.sealing.errors import ChunkRefused, LayoutRefused
from protocol.sealing.parameters import RING_DEGREE, Layout
from protocol.sealing.wire import Coefficients


def check_upload_chunk(chunk: bytes, layout: Layout, index: int) -> None:
    """Refuse chunk `index` of a term when something is wrong with it that shows without a key.

    Checked: exact length, every coefficient and tag below Q, no ciphertext without noise (a zero first
    polynomial or seed), no seed twice. Raises ChunkRefused.
    """
    _term(chunk, layout, index)


def seeds_of(chunk: bytes) -> list[bytes]:
    """The seed of each ciphertext, in order, of a checked upload chunk: no two encryptions share one."""
    return [seed.tobytes() for seed in np.frombuffer(chunk, dtype=wire.chunk_type(seeds=1))["seeds"]]


def add_chunks(chunks: Iterable[bytes], layout: Layout, index: int) -> bytes:
    """Chunk `index` of the sum of 2 to `layout.terms` terms, given in the order of the announced survivors.

    `chunks` is read once, and one chunk is held at a time beside the sum.
    Raises ChunkRefused on a chunk that `check_upload_chunk` refuses, on too few or too many, and when one
    ciphertext's seed stands in two terms: somebody's term would be counted twice.
    """
    total = np.zeros((layout.ciphertexts_in(index), RING_DEGREE), dtype=np.uint64)
    tags = np.zeros(len(total), dtype=np.uint64)
    seeds: list[wire.Octets] = []
    for chunk in chunks:
        if len(seeds) == layout.terms:
            raise ChunkRefused(f"survivors: more than the {layout.terms} terms of the layout")
        term, coefficients = _term(chunk, layout, index)
        wire.add_modulo(total, coefficients)
        wire.add_modulo(tags, term["tag"])
        seeds.append(term["seeds"][:, 0].copy())  # a copy: a view would keep the whole chunk alive
    try:
        layout.check_survivors(len(seeds))
    except LayoutRefused as refusal:
        raise ChunkRefused(str(refusal)) from None
    records = wire.blank_chunk(len(total), seeds=len(seeds))
    for position, those in enumerate(seeds):
        records["seeds"][:, position] = those
    if _repeats(records["seeds"]):
        raise ChunkRefused(f"chunk {index}: a ciphertext stands in two terms; drop the silo that copied")
    wire.put_polynomials(records, total)
    records["tag"] = tags
    return records.tobytes()


def _term(chunk: bytes, layout: Layout, index: int) -> tuple[NDArray[np.void], Coefficients]:
    parsed = wire.parse(chunk, layout.ciphertexts_in(index), seeds=1)
    if isinstance(parsed, str):
        raise ChunkRefused(f"chunk {index}: {parsed}; upload it again")
    records, coefficients = parsed
    if not bool(coefficients.any(axis=1).all()) or not bool(records["seeds"].any(axis=(1, 2)).all()):
        raise ChunkRefused(f"chunk {index}: a ciphertext is transparent, which no encryption is; seal it anew")
    if _repeats(records["seeds"].reshape(1, len(records), -1)):
        raise ChunkRefused(f"chunk {index}: a ciphertext stands twice in one term; seal it anew")
    return records, coefficients


def _repeats(seeds: wire.Octets) -> bool:
    """Whether, along the second axis of (rows, seeds, 64), a seed occurs twice."""
    return any(len({bytes(seed) for seed in row}) < len(row) for row in seeds)
