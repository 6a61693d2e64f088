"""A small exchange that several tests look at from their own side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.sealing import term
from protocol.sealing.masks import MaskStream
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret

FREEZE = bytes(range(32))
UNMASKED = MaskStream((), ())
"""For tests of what lies outside the masks."""


@dataclass(frozen=True)
class Exchange:
    """Uploads and sum of a few silos' random levels."""

    secret: StudySecret
    layout: Layout
    silos: list[str]
    levels: list[NDArray[np.uint64]]
    uploads: list[list[bytes]]
    freeze: bytes = FREEZE

    @property
    def sum_chunks(self) -> list[bytes]:
        return self.added(range(len(self.silos)))

    @property
    def totals(self) -> NDArray[np.uint64]:
        return np.sum(self.levels, axis=0, dtype=np.uint64)

    def added(self, who: "range | list[int]") -> list[bytes]:
        return [
            term.add_chunks([self.uploads[one][index] for one in who], self.layout, index)
            for index in range(self.layout.chunks)
        ]

    def resealed(self, freeze: bytes) -> "Exchange":
        return exchange_of(self.secret, self.layout, self.levels, freeze)


def exchange_of(
    secret: StudySecret, layout: Layout, levels: list[NDArray[np.uint64]], freeze: bytes = FREEZE
) -> Exchange:
    silos = [f"silo-{number}" for number in range(len(levels))]
    uploads = [
        list(term.seal(secret, freeze, silo, its, layout, UNMASKED)) for silo, its in zip(silos, levels, strict=True)
    ]
    return Exchange(secret, layout, silos, levels, uploads, freeze)


@pytest.fixture(scope="session")
def secret() -> StudySecret:
    return StudySecret.generate()


@pytest.fixture(scope="session")
def make_exchange(secret: StudySecret) -> Callable[[Layout, int], Exchange]:
    def make(layout: Layout, silos: int, seed: int = 1) -> Exchange:
        random = np.random.default_rng(seed)
        levels = [
            random.integers(0, layout.level_max, layout.values, dtype=np.uint64, endpoint=True) for _ in range(silos)
        ]
        return exchange_of(secret, layout, levels)

    return make


@pytest.fixture(scope="session")
def small(make_exchange: Callable[[Layout, int], Exchange]) -> Exchange:
    """Three silos, two ciphertexts each, one chunk, the second ciphertext mostly padding."""
    return make_exchange(Layout(13_000, 4), 3)


@pytest.fixture(scope="session")
def wide(make_exchange: Callable[[Layout, int], Exchange]) -> Exchange:
    """Three silos, 33 ciphertexts in two chunks."""
    return make_exchange(Layout(4095 * 32 + 10, 3, per_slot=1), 3)
