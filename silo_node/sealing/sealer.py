"""From a DP update to sealed bytes, and from a served sum back to the exact total and how much of it was clipped.

Behind the update's levels stands how many of its values were clipped, a part of its own in the same sum. The count
is post-processing of the update, as the levels are: only its total over the survivors is ever opened.
Neither direction holds more of a vector than a chunk of it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import Segment, dequantise, runs_within
from protocol.sealing.errors import LevelsRefused
from protocol.sealing.masks import MaskStream
from protocol.sealing.packing import Levels
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import seal, stream_sum
from silo_node.sealing.quantise import Quantiser, cryptographic_uniforms


def seal_update(
    update: BinaryIO,
    segments: Sequence[Segment],
    secret: StudySecret,
    freeze: bytes,
    silo: str,
    layout: Layout,
    masks: MaskStream,
) -> Iterator[bytes]:
    """The upload chunks of ``update``, each segment scaled and rounded, and of its count of clipped values.

    update: the values, little-endian float64, from where the file stands to its end; read as chunks are asked for.
    layout: of ``protocol.rounds.round_layout``: the update, then the count.
    Raises LevelsRefused, at the chunk where it shows, for a file of another length or a value that is not finite.
    """
    source = _values_of(update)
    quantiser = Quantiser(source, segments, layout.parts[0].level_bits, cryptographic_uniforms(os.urandom(32)))

    def read(start: int, stop: int) -> Levels:
        end = max(start, min(stop, quantiser.values))
        levels = np.empty(stop - start, dtype=np.uint64)
        levels[: end - start] = quantiser.read(start, end) if end > start else 0
        if stop == layout.values:
            levels[-1] = quantiser.clipped  # All values were read by now.
            if update.read(1):
                raise LevelsRefused(f"update: more than the {quantiser.values} values of the round")
        return levels

    return seal(secret, freeze, silo, read, layout, masks)


def _values_of(update: BinaryIO) -> Callable[[int], NDArray[np.float64]]:
    def read(count: int) -> NDArray[np.float64]:
        data = update.read(8 * count)
        if len(data) != 8 * count:
            raise LevelsRefused("update: fewer values than the round has")
        return np.frombuffer(data, "<f8").astype(np.float64, copy=False)

    return read


class OpenedTotal:
    """The sum of the survivors' updates in runs of float64, in order, and then how many of their values they clipped.

    Iterating raises ``SumRejected``: before anything is decrypted, or as late as behind the last run; use nothing of
    the runs before the iterator has ended.
    """

    def __init__(
        self,
        chunks: Callable[[], Iterable[bytes]],
        segments: Sequence[Segment],
        secret: StudySecret,
        freeze: bytes,
        survivors: tuple[str, ...],
        layout: Layout,
        masks: MaskStream,
    ) -> None:
        self._totals = stream_sum(secret, freeze, survivors, chunks, layout, masks)
        self._segments, self._survivors, self._update = tuple(segments), len(survivors), layout.parts[0]
        self.values = sum(segment.length for segment in segments)
        self.clipped = 0
        """How many of all survivors' values were clipped, once the runs have ended."""

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        at = 0
        for totals in self._totals:
            run = totals[: max(0, self.values - at)]
            if run.size:
                yield dequantise(run, self._update, self._survivors, self._within(at, at + run.size))
            if run.size < totals.size:
                self.clipped = int(totals[-1])
            at += totals.size

    def _within(self, start: int, stop: int) -> list[Segment]:
        runs = runs_within(self._segments, start, stop)
        return [Segment(end - first, self._segments[place].exponent) for place, first, end in runs]
