"""What all silos agree on after a statistics study's one round: whose rows are in the totals, and the totals."""

import struct
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocol import canonical
from protocol.errors import Malformed
from silo_node.statistics.queries import StatisticsRefused

_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """``values`` float64 (k,): the opened total over ``silos``."""

    silos: tuple[str, ...]
    values: NDArray[np.float64]

    def to_bytes(self) -> bytes:
        """The one encoding, which the state MAC is over: the length of the names, they as canonical JSON, the values
        as little-endian float64."""
        names = canonical.encode(list(self.silos))
        return _LENGTH.pack(len(names)) + names + self.values.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ``StatisticsRefused`` unless ``data`` is what ``to_bytes`` makes."""
        try:
            (length,) = _LENGTH.unpack(data[: _LENGTH.size])
            names = canonical.decode(data[_LENGTH.size : _LENGTH.size + length])
            values = np.frombuffer(data[_LENGTH.size + length :], "<f8").astype(np.float64)
        except (struct.error, Malformed, ValueError):
            raise StatisticsRefused("totals: the bytes are not those of a statistics study") from None
        return cls(tuple(names), values)
