"""From a DP update to sealed bytes, and from a served sum back to the exact total and how much of it was clipped.

Behind the update's levels stands how many of its values were clipped, a part of its own in the same sum. The count
is post-processing of the update, as the levels are: only its total over the survivors is ever opened.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import Segment, dequantise
from protocol.sealing.masks import MaskStream
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import open_sum, seal
from silo_node.sealing.quantise import Quantiser, cryptographic_uniforms


def seal_update(
    update: NDArray[np.float64],
    segments: Sequence[Segment],
    secret: StudySecret,
    freeze: bytes,
    silo: str,
    layout: Layout,
    masks: MaskStream,
) -> Iterator[bytes]:
    """The upload chunks of ``update`` (values,), each segment scaled and rounded, and of its count of clipped values.

    layout: of ``protocol.rounds.round_layout``: the update, then the count.
    """
    quantiser = Quantiser(update, segments, layout.parts[0].level_bits, cryptographic_uniforms(os.urandom(32)))
    levels = np.empty(layout.values, dtype=np.uint64)
    levels[:-1] = quantiser.read(0, update.size)
    levels[-1] = quantiser.clipped
    return seal(secret, freeze, silo, levels, layout, masks)


def open_total(
    chunks: Callable[[], Iterable[bytes]],
    segments: Sequence[Segment],
    secret: StudySecret,
    freeze: bytes,
    survivors: tuple[str, ...],
    layout: Layout,
    masks: MaskStream,
) -> tuple[NDArray[np.float64], int]:
    """The sum (values,) of the survivors' updates, and how many of their values they clipped, all together.

    Raises ``SumRejected`` before anything is decrypted.
    """
    totals = open_sum(secret, freeze, survivors, chunks, layout, masks)
    return dequantise(totals[:-1], layout.parts[0], len(survivors), segments), int(totals[-1])
