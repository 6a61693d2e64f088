"""In a worker: the bytes of uploads are parsed here and nowhere else, whichever executor runs it.

One chunk is held at a time beside the sum, whatever the number of terms.
"""

import hashlib
from functools import lru_cache

from hub.aggregation.aggregator import Added, BadTerm, Failed, Outcome, SumJob
from hub.errors import NotFound
from hub.store.blobs import BlobPlace, Blobs, open_blobs, sum_name, upload_name
from protocol.sealing.addition import add_chunks, check_upload_chunk, seeds_of
from protocol.sealing.errors import ChunkRefused


def add(job: SumJob) -> Outcome:
    """Read the terms one by one, add them, store the sum's chunk. The same job gives the same bytes."""
    blobs = _blobs(job.blobs)
    try:
        total = add_chunks((_read(blobs, job, silo) for silo in job.silos), job.layout, job.position)
    except (ChunkRefused, NotFound) as refusal:
        return find_bad_term(job, blobs, str(refusal))
    name = sum_name(job.study, job.round, job.attempt, job.survivors, job.position)
    if not blobs.create(name, total) and blobs.read(name) != total:
        return Failed("another sum lies in this place")
    return Added(hashlib.sha256(total).hexdigest(), len(total))


def find_bad_term(job: SumJob, blobs: Blobs, reason: str) -> BadTerm | Failed:
    """The first to arrive whose chunk is missing, is refused alone, or holds a ciphertext of one before it.

    If there is none the job itself is wrong, such as with too few silos, and nobody is blamed.
    """
    seen: set[tuple[int, bytes]] = set()
    for silo in job.arrived:
        try:
            chunk = _read(blobs, job, silo)
            check_upload_chunk(chunk, job.layout, job.position)
        except NotFound:
            return BadTerm(silo, f"chunk {job.position} is not in the store")
        except ChunkRefused as refusal:
            return BadTerm(silo, str(refusal))
        seeds = set(enumerate(seeds_of(chunk)))
        if not seen.isdisjoint(seeds):
            return BadTerm(silo, f"chunk {job.position}: holds a ciphertext of a term that arrived before it")
        seen |= seeds
    return Failed(reason)


def _read(blobs: Blobs, job: SumJob, silo: str) -> bytes:
    return blobs.read(upload_name(job.study, job.round, job.attempt, silo, job.position))


@lru_cache(maxsize=4)
def _blobs(place: BlobPlace) -> Blobs:
    return open_blobs(place)
