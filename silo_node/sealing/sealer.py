"""From a DP update to sealed bytes, and from a served sum back to the exact total."""

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import Segment, dequantise
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import open_sum, seal
from silo_node.sealing.quantise import cryptographic_uniforms, quantise


def seal_update(
    update: NDArray[np.float64], exponent: int, secret: StudySecret, freeze: bytes, silo: str, layout: Layout
) -> Iterator[bytes]:
    """The upload chunks of ``update`` (layout.values,), scaled to [-2^exponent, 2^exponent] and rounded."""
    uniforms = cryptographic_uniforms(os.urandom(32))
    levels = quantise(update, [Segment(layout.values, exponent)], layout.level_bits, uniforms)
    return seal(secret, freeze, silo, levels, layout)


def open_total(
    chunks: Callable[[], Iterable[bytes]],
    exponent: int,
    secret: StudySecret,
    freeze: bytes,
    survivors: tuple[str, ...],
    layout: Layout,
) -> NDArray[np.float64]:
    """The sum (layout.values,) of the survivors' updates. Raises ``SumRejected`` before anything is decrypted."""
    totals = open_sum(secret, freeze, survivors, chunks, layout)
    return dequantise(totals, layout, len(survivors), [Segment(layout.values, exponent)])
