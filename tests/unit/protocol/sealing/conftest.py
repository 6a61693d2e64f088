"""A small exchange that several tests look at from their own side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocol.sealing import bfv, term
from protocol.sealing.masks import MaskStream
from protocol.sealing.parameters import Layout, Part, most_bits
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


@st.composite
def layouts(draw: st.DrawFn, longest: int, terms: int | None = None) -> Layout:
    """Any parts at all for any number of terms, of up to `longest` values each."""
    terms = terms or draw(st.integers(3, 256))
    parts = []
    for number in range(draw(st.integers(1, 8))):
        per_slot = draw(st.integers(1, 8).filter(lambda count: most_bits(terms, count) > 0))
        bits = draw(st.none() | st.integers(1, most_bits(terms, per_slot)))
        values = draw(st.one_of(st.integers(1, 40), st.integers(1, longest)))
        parts.append(Part(f"part-{number}", values, per_slot, bits))
    return Layout(tuple(parts), terms)


def levels_of(layout: Layout, source: np.random.Generator, top: bool = False) -> NDArray[np.uint64]:
    """Random levels of all parts, or the largest."""
    low = [part.level_max if top else 0 for part in layout.parts]
    drawn = zip(low, layout.parts, strict=True)
    return np.concatenate([source.integers(one, p.level_max, p.values, np.uint64, endpoint=True) for one, p in drawn])


@pytest.fixture(scope="session")
def secret() -> StudySecret:
    return StudySecret.generate()


@pytest.fixture(scope="session")
def make_exchange(secret: StudySecret) -> Callable[[Layout, int], Exchange]:
    def make(layout: Layout, silos: int, seed: int = 1) -> Exchange:
        random = np.random.default_rng(seed)
        return exchange_of(secret, layout, [levels_of(layout, random) for _ in range(silos)])

    return make


@pytest.fixture(scope="session")
def small(make_exchange: Callable[[Layout, int], Exchange]) -> Exchange:
    """Three silos, two ciphertexts each, one chunk, the second ciphertext mostly padding."""
    return make_exchange(Layout.single(13_000, 4), 3)


@pytest.fixture(scope="session")
def wide(make_exchange: Callable[[Layout, int], Exchange]) -> Exchange:
    """Three silos, 33 ciphertexts in two chunks."""
    return make_exchange(Layout.single(4095 * 32 + 10, 3, per_slot=1), 3)


@pytest.fixture
def decrypted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills when anything is decrypted."""
    calls: list[int] = []
    honest = bfv.Cipher.decrypt

    def spy(self: bfv.Cipher, first: np.ndarray, seeds: list[bytes]) -> np.ndarray:
        calls.append(1)
        return honest(self, first, seeds)

    monkeypatch.setattr(bfv.Cipher, "decrypt", spy)
    return calls
