"""Mock rows of a dataset, made from its published schema alone: whoever reads the statement makes the same rows.

Nothing is sent and no row of anybody is looked at: what goes in are the names, kinds, units and ranges that a silo
signed. One hidden score a row moves all its columns, each by an amount that hangs on the column's meaning (dataset,
name, kind, unit), so any binary column can be learned from the others, and alike at every silo. Of a category's
yes/no columns exactly one is 1 in a row. A silo's own rows,
and a small shift of the score, hang on the digest of its schema.

Only integer operations, elementwise IEEE arithmetic and square roots are used, which IEEE 754 rounds correctly: the
rows are the same bits on every machine (tests/vectors/mock.json).
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocol import canonical
from protocol.errors import Malformed
from protocol.published_column import PublishedColumn

Floats = NDArray[np.float64]

MARK: Final = "mock-row"
"""The first column of a table of mock rows. No dataset can have a column of this name: a dash is in none."""
NOTICE: Final = (
    "Mock rows, made from the published schema alone. They are about nobody, and what is computed from them says "
    "nothing about the real data."
)
MAX_VALUES: Final = 20_000_000

_USUAL_ROWS: Final = 1000
_USUAL_VALUES: Final = 1_000_000
_CONTEXT: Final = b"consortia/mock/v1\x00"
_TOP: Final = 65535
_MIDDLE: Final = 2 * _TOP
_DEVIATION: Final = math.sqrt((65536**2 - 1) / 3)
"""Of a sum of four independent whole numbers from 0 to 65535."""
_LARGEST_SHIFT: Final = 0.25
_MOST_DECIMALS: Final = 300


@dataclass(frozen=True, slots=True, eq=False)
class MockRows:
    """``values`` float64 (n, d), read-only: a column for each of ``columns``, in their order and units."""

    columns: tuple[PublishedColumn, ...]
    values: Floats

    def column(self, name: str) -> Floats:
        """The values (n,) of one column. Raises ``Malformed`` for a name that the schema doesn't have."""
        for place, column in enumerate(self.columns):
            if column.name == name:
                return self.values[:, place]
        raise Malformed(f"column {name} is not in the published schema")

    def csv(self) -> Iterator[str]:
        """The rows as lines of CSV (RFC 4180), the first column marking each as mock: ``mock-1``, ``mock-2``..."""
        yield ",".join((MARK, *(column.name for column in self.columns))) + "\r\n"
        for number, row in enumerate(self.values, start=1):
            yield ",".join((f"mock-{number}", *map(as_text, row))) + "\r\n"

    def __repr__(self) -> str:
        return f"<{len(self.values)} mock rows of {len(self.columns)} columns, made from the schema alone>"


def mock_rows(silo: str, dataset: str, columns: Sequence[PublishedColumn], count: int) -> MockRows:
    """The first ``count`` mock rows of ``silo``'s ``dataset`` with these published columns.

    A larger count begins with the same rows. Raises ``Malformed`` below 1 row and above 20 million values.
    """
    if not 1 <= count <= MAX_VALUES // max(1, len(columns)):
        most = MAX_VALUES // max(1, len(columns))
        raise Malformed(f"mock rows: {count} of {len(columns)} columns; at least 1 and at most {most} can be made")
    seed = bytes.fromhex(schema_digest(silo, dataset, columns))
    score = _bell(_key(seed, b"score"), count) + (2 * _fraction(_key(seed, b"shift"), 0) - 1) * _LARGEST_SHIFT
    values = np.empty((count, len(columns)))
    for place, column in enumerate(columns):
        own, trait = _bell(_key(seed, b"column", column.name.encode()), count), _Trait.of(dataset, column)
        mixed = _mixed(trait, score, own)
        # A category's columns wait for each other: how far each is above its threshold.
        values[:, place] = _values(column, trait, mixed) if column.category is None else mixed - trait.threshold
    for places in _categories(columns):
        values[:, places] = _one_of_each(values[:, places])
    values.setflags(write=False)
    return MockRows(tuple(columns), values)


def usual_count(published: int, columns: int) -> int:
    """How many mock rows stand for a dataset unless more are asked for: as published, a thousand and a million values
    at most."""
    return max(1, min(published, _USUAL_ROWS, _USUAL_VALUES // max(1, columns)))


def schema_digest(silo: str, dataset: str, columns: Sequence[PublishedColumn]) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of what a silo published: the seed of its mock rows."""
    published = [column.model_dump(mode="json") for column in columns]
    return canonical.digest(canonical.encode({"silo": silo, "dataset": dataset, "columns": published}))


def as_text(value: float) -> str:
    """A value as people write it: whole numbers without a point, else the shortest digits that read back as it."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


@dataclass(frozen=True, slots=True)
class _Trait:
    """What a column is like, the same wherever it has this meaning.

    loading: correlation with the hidden score. centre, spread: of a number, in shares of its range; a skewed one has
    its mass near the lower end. threshold: above which a binary column is 1, in standard deviations.
    """

    loading: float
    centre: float
    spread: float
    skewed: bool
    threshold: float

    @classmethod
    def of(cls, dataset: str, column: PublishedColumn) -> "_Trait":
        meaning = (dataset, column.name, column.kind, column.unit)
        key = _key(hashlib.sha256(canonical.encode(list(meaning))).digest(), b"trait")
        strength = 0.55 + 0.3 * _fraction(key, 0)
        return cls(
            loading=strength if key[31] & 1 else -strength,
            centre=0.35 + 0.25 * _fraction(key, 1),
            spread=0.1 + 0.04 * _fraction(key, 2),
            skewed=column.minimum == 0 and key[31] & 2 != 0,
            threshold=-0.3 + 0.7 * _fraction(key, 3),
        )


def _categories(columns: Sequence[PublishedColumn]) -> list[list[int]]:
    """The places of the columns of each category, in their order."""
    places: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column.category is not None:
            places.setdefault(column.category, []).append(place)
    return list(places.values())


def _one_of_each(above: Floats) -> Floats:
    """1 in each row's largest, the first of equal ones, and 0 in the others: a row has one value of a category."""
    chosen = np.zeros_like(above)
    chosen[np.arange(len(above)), above.argmax(axis=1)] = 1.0
    return chosen


def _mixed(trait: _Trait, score: Floats, own: Floats) -> Floats:
    return trait.loading * score + math.sqrt(1 - trait.loading * trait.loading) * own


def _values(column: PublishedColumn, trait: _Trait, mixed: Floats) -> Floats:
    if column.kind == "binary":
        above: NDArray[np.bool_] = mixed > trait.threshold
        return above.astype(np.float64)
    place = np.clip(trait.centre + trait.spread * mixed, 0.0, 1.0)
    if trait.skewed:
        place *= place
    exact = column.minimum * (1.0 - place) + column.maximum * place
    values: Floats = np.clip(_rounded(exact, column), column.minimum, column.maximum) + 0.0
    return values


def _rounded(values: Floats, column: PublishedColumn) -> Floats:
    """To a hundredth of the range's power of ten; to whole numbers at the finest where whole ends lie 20 apart."""
    width = Decimal(column.maximum) - Decimal(column.minimum)
    decimals = 2 - width.adjusted()
    if width >= 20 and column.minimum.is_integer() and column.maximum.is_integer():
        decimals = min(decimals, 0)
    if decimals > _MOST_DECIMALS:
        return values
    # Read from text: a power computed in floating point need not be the nearest one.
    scale = float(f"1e{abs(decimals)}")
    rounded: Floats = np.rint(values * scale) / scale if decimals >= 0 else np.rint(values / scale) * scale
    return rounded


def _bell(key: bytes, count: int) -> Floats:
    """``count`` values of mean 0 and variance 1, bell-shaped and within 3.5: a sum of four uniforms from AES-CTR."""
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    pieces = np.frombuffer(stream.update(bytes(8 * count)), "<u2").reshape(count, 4)
    centred: Floats = (pieces.sum(axis=1, dtype=np.int64) - _MIDDLE).astype(np.float64)
    return centred / _DEVIATION


def _key(seed: bytes, *names: bytes) -> bytes:
    return hashlib.sha256(_CONTEXT + seed + b"\x00".join(names)).digest()


def _fraction(key: bytes, place: int) -> float:
    """The ``place``-th 32 bits of a digest as a number in [0, 1)."""
    return int.from_bytes(key[4 * place : 4 * place + 4], "big") / 2**32
