"""The randomness that privacy rests on: Gaussian noise on an integer grid, and Poisson sampling.

Every draw takes a fresh 256-bit key from the operating system and expands it with AES-256 in counter mode.
Noise is rounded to a power-of-two grid, and so is the sum before the noise is added as integers. Rounding the
noise of an integer sum is the same as rounding the noisy sum, which is post-processing: what is released lies on
one fixed grid whatever the data, and the low bits of a float carry nothing (Mironov, "On Significance of the Least
Significant Bits for Differential Privacy", CCS 2012).
"""

import hashlib
import math
import secrets
import warnings
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from silo_node.training.errors import TrainingRefused

Floats = NDArray[np.float64]

KEY_BYTES: Final = 32
GRID_BITS: Final = 40
"""A grid step is at most 2^-40 of the sensitivity: rounding a sum of 10^8 values moves it by under 1e-8 of it."""

_LARGEST: Final = 2.0**61  # in grid steps; sum and noise together stay inside int64


class InsecureNoiseWarning(UserWarning):
    """Noise that somebody can predict is in use: what is released with it is not private."""


class NoiseSource(Protocol):
    """What a mechanism needs of randomness."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """``sums`` plus independent Gaussian noise of that standard deviation, as multiples of ``step``."""
        ...

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """Poisson sampling: each of ``rows`` rows is in with probability ``rate``, independently; (rows,) bool."""
        ...


class SystemNoise:
    """The `NoiseSource` of production. It has no state: nothing could be checkpointed or replayed."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """See `NoiseSource`."""
        return _on_grid(sums, gaussian(secrets.token_bytes(KEY_BYTES), sums.size), deviation, step)

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """See `NoiseSource`."""
        return _poisson(secrets.token_bytes(KEY_BYTES), rows, rate)


class SeededNoise:
    """A `NoiseSource` that anybody with the seed can repeat, for tests and benchmarks; warns when it is made.

    Keys are SHA-256(seed, count of draws); everything else is as in production.
    """

    def __init__(self, seed: bytes) -> None:
        warnings.warn(
            "seeded noise protects nobody: whoever knows the seed can subtract it; use SystemNoise",
            InsecureNoiseWarning,
            stacklevel=2,
        )
        self._keys: Callable[[], bytes] = _key_sequence(seed)

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """See `NoiseSource`."""
        return _on_grid(sums, gaussian(self._keys(), sums.size), deviation, step)

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """See `NoiseSource`."""
        return _poisson(self._keys(), rows, rate)


def grid_step(sensitivity: float) -> float:
    """The power of two that a sum of this sensitivity is rounded to: at most 2^-40 of it.

    Raises TrainingRefused unless the sensitivity is finite and positive.
    """
    if not (math.isfinite(sensitivity) and sensitivity > 0):
        raise TrainingRefused(f"sensitivity {sensitivity}: must be finite and above 0")
    return math.ldexp(1.0, math.frexp(sensitivity)[1] - 1 - GRID_BITS)


def gaussian(key: bytes, count: int) -> Floats:
    """``count`` standard normal float64 from one 32-byte key, by Box and Muller's transform of 64-bit uniforms.

    The radius' uniform is (k + 1/2) / 2^64, never 0, so the tail reaches 9.5 standard deviations, beyond which
    a true Gaussian has 2e-21 of its mass.
    """
    pairs = (count + 1) // 2
    words = _words(key, 2 * pairs).astype(np.float64)
    words += 0.5
    words *= 2.0**-64
    radius, angle = words[:pairs], words[pairs:]
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle *= 2.0 * math.pi
    normal = np.empty(2 * pairs)
    np.multiply(radius, np.cos(angle), out=normal[:pairs])
    np.multiply(radius, np.sin(angle), out=normal[pairs:])
    return normal[:count]


def _on_grid(sums: Floats, normal: Floats, deviation: float, step: float) -> Floats:
    if not (math.isfinite(deviation) and deviation > 0):
        raise TrainingRefused(f"noise of standard deviation {deviation}: must be finite and above 0")
    places = _integers(sums / step) + _integers(normal.reshape(sums.shape) * (deviation / step))
    return places.astype(np.float64) * step


def _integers(places: Floats) -> NDArray[np.int64]:
    if not bool((np.abs(places) < _LARGEST).all()):
        raise TrainingRefused("a sum or its noise is out of the grid's range; choose a larger step")
    return np.rint(places).astype(np.int64)


def _poisson(key: bytes, rows: int, rate: float) -> NDArray[np.bool_]:
    if not 0 < rate <= 1:
        raise TrainingRefused(f"sampling_rate {rate}: must be above 0 and at most 1")
    if rate == 1:
        return np.ones(rows, dtype=np.bool_)
    # Exact: rate * 2^64 only shifts the exponent. Rounded down, a row is never likelier in than charged.
    mask: NDArray[np.bool_] = _words(key, rows) < np.uint64(math.floor(math.ldexp(rate, 64)))
    return mask


def _words(key: bytes, count: int) -> NDArray[np.uint64]:
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(8 * count)), "<u8").astype(np.uint64, copy=False)


def _key_sequence(seed: bytes) -> Callable[[], bytes]:
    drawn = 0

    def following() -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.sha256(b"consortia/insecure-noise/v1\x00" + drawn.to_bytes(8, "big") + seed).digest()

    return following
