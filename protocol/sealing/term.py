"""The sealed sum, end to end: silos seal terms, the hub adds them without any key, silos verify and open.

    silo   seal                              levels -> upload chunks
    hub    check_upload_chunk, add_chunks    (addition.py, which loads no BFV library; import it from there)
    silo   verify_sum, open_sum              sum chunks -> exact totals
    silo   stream_sum                        the same, chunk by chunk, for vectors that don't fit memory

Rules kept here (sealed-sum.md): nothing is decrypted before every tag of the whole sum has held; the bytes that
are decrypted are those that were verified, though they are read twice; a failing sum is examined to its end,
so that how long a silo takes doesn't tell where it failed. A chunk is all that is held beside the vector.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from protocol.sealing import bfv, packing, wire
from protocol.sealing.addition import add_chunks, check_upload_chunk
from protocol.sealing.authenticator import Authenticator, same_tag
from protocol.sealing.errors import Failure, LevelsRefused, SumRejected
from protocol.sealing.masks import MaskStream
from protocol.sealing.packing import Levels, Slots
from protocol.sealing.parameters import CIPHERTEXTS_PER_CHUNK, MIN_TERMS, RING_DEGREE, Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.wire import Coefficients

__all__ = ["LevelReader", "add_chunks", "check_upload_chunk", "open_sum", "seal", "stream_sum", "verify_sum"]

LevelReader = Callable[[int, int], Levels]
"""Gives the levels `start` to `stop` of a vector; `seal` asks for each range once, in order."""


def seal(
    secret: StudySecret, freeze: bytes, silo: str, levels: Levels | LevelReader, layout: Layout, masks: MaskStream
) -> Iterator[bytes]:
    """The upload chunks of one silo's levels (values,), uint64 in [0, 2^b - 1] of their part, or of a reader of them.

    The levels of a layout's parts stand one after the other (`packing.join` makes them from named vectors). With a
    reader no more than a chunk's levels are ever held.

    freeze: the 32-byte digest of everything that was fixed for this attempt. Call this once for a freeze, keep
    the bytes durably and send those again: sealing other levels under one freeze would give the hub an equation
    in the authenticator's key.

    masks: this silo's of the attempt (`own_masks`).

    Raises LevelsRefused or KeyRefused at once, before the first chunk is asked for; for what a reader gives,
    when its chunk is asked for.
    """
    if isinstance(levels, np.ndarray):
        packing.check_levels(levels, layout)
        levels = _reader(levels)
    if not silo:
        raise LevelsRefused("silo: an empty name can't be told from another")
    authenticator = Authenticator(secret.mac_key, freeze)
    cipher = bfv.Cipher(secret.bfv_key)
    one = partial(_seal_chunk, cipher, authenticator, silo, levels, layout, masks)
    return (one(index) for index in range(layout.chunks))


def _seal_chunk(
    cipher: bfv.Cipher,
    authenticator: Authenticator,
    silo: str,
    read: LevelReader,
    layout: Layout,
    masks: MaskStream,
    index: int,
) -> bytes:
    first, count = index * CIPHERTEXTS_PER_CHUNK, layout.ciphertexts_in(index)
    firsts = np.empty((count, RING_DEGREE), dtype=np.uint64)
    records = wire.blank_chunk(count, seeds=1)
    masked = _packed(read, layout, first, count)
    masks.add_to(masked, first)
    for at, slots in enumerate(masked):
        firsts[at], seed = cipher.encrypt(slots)
        records["seeds"][at, 0] = np.frombuffer(seed, np.uint8)
    wire.put_polynomials(records, firsts)
    records["tag"] = authenticator.tags([silo], first, firsts, records["seeds"])
    return records.tobytes()


def _packed(read: LevelReader, layout: Layout, first: int, count: int) -> Slots:
    levels = read(*layout.run(first, count))
    packing.check_levels(levels, layout, first, count)
    return packing.pack(levels, layout, first, count)


def _reader(levels: Levels) -> LevelReader:
    return lambda start, stop: levels[start:stop]


def verify_sum(
    secret: StudySecret, freeze: bytes, survivors: Sequence[str], chunks: Iterable[bytes], layout: Layout
) -> None:
    """Check every tag of a sum of exactly these silos' terms. Nothing is decrypted.

    survivors: distinct names, in any order.
    Raises SumRejected; the caller tells the hub that the round failed, and nothing more.
    """
    _verified(secret, freeze, survivors, chunks, layout)


def open_sum(
    secret: StudySecret,
    freeze: bytes,
    survivors: Sequence[str],
    chunks: Callable[[], Iterable[bytes]],
    layout: Layout,
    masks: MaskStream,
) -> Levels:
    """The exact totals (values,), uint64, of a sum that verifies; `packing.split` gives them by part.

    masks: what the sum still carries (`masks_of_sum`).
    chunks: gives the sum's chunks anew at each call; it is called twice, and the second reading must give what
    the first gave. Raises SumRejected before any decryption if a tag fails; afterwards if the bytes have
    changed or the content is not that of `len(survivors)` honest terms.
    """
    totals = np.empty(layout.values, dtype=np.uint64)
    at = 0
    for opened in stream_sum(secret, freeze, survivors, chunks, layout, masks):
        totals[at : at + opened.size] = opened
        at += opened.size
        del opened  # or it would stay until the next chunk's totals are there
    return totals


def stream_sum(
    secret: StudySecret,
    freeze: bytes,
    survivors: Sequence[str],
    chunks: Callable[[], Iterable[bytes]],
    layout: Layout,
    masks: MaskStream,
) -> Iterator[Levels]:
    """The totals of `open_sum`, one array a chunk, in order. Nothing held grows with the vector but 32 bytes a chunk.

    The first array comes only after every tag of the sum has held. Malformed content is found while arrays are
    already coming: SumRejected then follows the last of them, so use none before the iterator has ended.
    """
    digests = _verified(secret, freeze, survivors, chunks(), layout)
    cipher = bfv.Cipher(secret.bfv_key)
    failure: SumRejected | None = None
    for index, chunk in enumerate(_unchanged(chunks(), digests)):
        try:
            opened = _open_chunk(cipher, chunk, layout, masks, index, len(survivors))
        except SumRejected as rejected:
            failure = failure or rejected
        else:
            if not failure:
                yield opened
            del opened
    if failure:
        raise failure


def _verified(
    secret: StudySecret,
    freeze: bytes,
    survivors: Sequence[str],
    chunks: Iterable[bytes],
    layout: Layout,
) -> list[bytes]:
    """SHA-256 of every chunk of a sum whose tags all hold."""
    if len(set(survivors)) != len(survivors) or not MIN_TERMS <= len(survivors) <= layout.terms:
        raise SumRejected(Failure.FORMAT, f"survivors: must be 2 to {layout.terms} different silos")
    authenticator = Authenticator(secret.mac_key, freeze)
    digests: list[bytes] = []
    sound = True
    for index, chunk in enumerate(chunks):
        if index >= layout.chunks:
            raise SumRejected(Failure.FORMAT, f"sum: more than {layout.chunks} chunks")
        sound &= _tags_hold(authenticator, survivors, chunk, layout, index)
        digests.append(sha256(chunk).digest())
    if len(digests) != layout.chunks:
        raise SumRejected(Failure.FORMAT, f"sum: {len(digests)} chunks, must be {layout.chunks}")
    if not sound:
        raise SumRejected(Failure.TAG, "sum: a tag doesn't match; it is not the sum of these silos' terms")
    return digests


def _unchanged(chunks: Iterable[bytes], digests: Sequence[bytes]) -> Iterator[bytes]:
    """The chunks of the second reading, each compared with the first before it is handed on."""
    seen = 0
    for chunk in chunks:
        if seen == len(digests) or not hmac.compare_digest(sha256(chunk).digest(), digests[seen]):
            raise SumRejected(Failure.CHANGED, "sum: its bytes changed between verification and opening")
        seen += 1
        yield chunk
    if seen != len(digests):
        raise SumRejected(Failure.CHANGED, "sum: chunks went missing between verification and opening")


def _summed(chunk: bytes, layout: Layout, index: int, survivors: int) -> tuple[NDArray[np.void], Coefficients]:
    parsed = wire.parse(chunk, layout.ciphertexts_in(index), seeds=survivors)
    if isinstance(parsed, str):
        raise SumRejected(Failure.FORMAT, f"sum chunk {index}: {parsed}")
    return parsed


def _tags_hold(
    authenticator: Authenticator, survivors: Sequence[str], chunk: bytes, layout: Layout, index: int
) -> bool:
    records, firsts = _summed(chunk, layout, index, len(survivors))
    expected = authenticator.tags(survivors, index * CIPHERTEXTS_PER_CHUNK, firsts, records["seeds"])
    sound = True
    for wanted, found in zip(expected, records["tag"].tolist(), strict=True):
        sound &= same_tag(wanted, found)
    return sound


def _open_chunk(
    cipher: bfv.Cipher, chunk: bytes, layout: Layout, masks: MaskStream, index: int, survivors: int
) -> Levels:
    first = index * CIPHERTEXTS_PER_CHUNK
    records, firsts = _summed(chunk, layout, index, survivors)
    pairs = zip(firsts, records["seeds"], strict=True)
    slots = np.stack([cipher.decrypt(polynomial, [bytes(seed) for seed in seeds]) for polynomial, seeds in pairs])
    masks.remove_from(slots, first)
    return packing.unpack(slots, layout, survivors, first)
