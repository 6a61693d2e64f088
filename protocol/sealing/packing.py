"""Levels to slots and totals back: mixed-radix digits, one count slot a ciphertext (sealed-sum.md, Encoding).

Value v lies in ciphertext v // (4095 D), slot (v // D) % 4095, digit v % D, little end first. The last slot
of every ciphertext holds 1, so that its total says how many terms were added. Both directions work on any
run of ciphertexts, so that a long vector streams.
"""

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.errors import Failure, LevelsRefused, SumRejected
from protocol.sealing.parameters import COUNT_SLOT, DATA_SLOTS, RING_DEGREE, Layout

Levels = NDArray[np.uint64]
Slots = NDArray[np.int64]


def check_levels(levels: Levels, layout: Layout) -> None:
    """Refuse levels that are not exactly (values,) uint64 in [0, 2^b - 1]."""
    if not isinstance(levels, np.ndarray) or levels.dtype != np.uint64 or levels.shape != (layout.values,):
        raise LevelsRefused(f"levels: must be a uint64 array of shape ({layout.values},)")
    if int(levels.max()) > layout.level_max:
        raise LevelsRefused(
            f"levels: some exceed {layout.level_max}, the largest of {layout.level_bits} bits; clip them"
        )


def pack(levels: Levels, layout: Layout, first: int = 0, count: int | None = None) -> Slots:
    """Slots (count, 4096) of the ciphertexts `first` to `first + count` of a checked term."""
    count = layout.ciphertexts - first if count is None else count
    block = levels[first * layout.values_per_ciphertext : (first + count) * layout.values_per_ciphertext]
    digits = np.zeros(count * layout.values_per_ciphertext, dtype=np.int64)
    digits[: block.size] = block
    columns = digits.reshape(count, DATA_SLOTS, layout.per_slot)
    slots = np.empty((count, RING_DEGREE), dtype=np.int64)
    data = slots[:, :COUNT_SLOT]
    data[...] = columns[:, :, -1]
    for digit in range(layout.per_slot - 2, -1, -1):
        data *= layout.radix
        data += columns[:, :, digit]
    slots[:, COUNT_SLOT] = 1
    return slots


def unpack(slots: Slots, layout: Layout, survivors: int, first: int = 0) -> Levels:
    """Totals of the values in summed slots (count, 4096), the first being ciphertext `first`.

    Raises SumRejected when a count slot is not `survivors`, a slot is not below R^D, a total exceeds what
    `survivors` levels can reach, or the padding after the last value is not zero.
    """
    if not bool((slots[:, COUNT_SLOT] == survivors).all()):
        raise SumRejected(Failure.CONTENT, f"count slot: not the {survivors} terms that were announced")
    rest = slots[:, :COUNT_SLOT].astype(np.uint64)  # a negative slot wraps to a huge one and is refused below
    if int(rest.max()) >= layout.slot_limit:
        raise SumRejected(Failure.CONTENT, "slot: not below R^D; some term was not packed by this layout")
    totals = _digits(rest, layout)
    if int(totals.max()) > survivors * layout.level_max:
        raise SumRejected(Failure.CONTENT, f"total: more than {survivors} levels can reach")
    wanted = min(totals.size, layout.values - first * layout.values_per_ciphertext)
    if bool(totals[wanted:].any()):
        raise SumRejected(Failure.CONTENT, "padding: not zero after the last value")
    return totals[:wanted]


def _digits(rest: Levels, layout: Layout) -> Levels:
    radix = np.uint64(layout.radix)
    totals = np.empty((*rest.shape, layout.per_slot), dtype=np.uint64)
    for digit in range(layout.per_slot - 1):
        quotient = rest // radix
        totals[:, :, digit] = rest - quotient * radix
        rest = quotient
    totals[:, :, -1] = rest
    return totals.reshape(-1)
