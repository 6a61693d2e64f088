"""Levels to slots and totals back: mixed-radix digits, one count slot a ciphertext (sealed-sum.md, Encoding).

The parts of a layout fill slot after slot, each from a slot of its own on: value v of a part lies in the part's slot
v // D, as digit v % D to base R, little end first. Slot s of them all lies in ciphertext s // 4095. The last slot of
every ciphertext holds 1, so that its total says how many terms were added. Both directions work on any run of
ciphertexts, so that a long vector streams.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.errors import Failure, LevelsRefused, SumRejected
from protocol.sealing.parameters import COUNT_SLOT, DATA_SLOTS, RING_DEGREE, Layout, Piece

Levels = NDArray[np.uint64]
Slots = NDArray[np.int64]


def join(vectors: Mapping[str, Levels], layout: Layout) -> Levels:
    """The whole vector of these parts, by name. Raises LevelsRefused unless they are exactly the layout's."""
    if sorted(vectors) != sorted(part.name for part in layout.parts):
        raise LevelsRefused(f"levels: must be those of {', '.join(part.name for part in layout.parts)}")
    for part in layout.parts:
        _check_shape(part.name, vectors[part.name], part.values)
    return np.concatenate([vectors[part.name] for part in layout.parts])


def split(whole: Levels, layout: Layout) -> dict[str, Levels]:
    """The parts of a whole vector of levels or totals, by name, as views."""
    ends = np.cumsum([part.values for part in layout.parts])
    return {part.name: its for part, its in zip(layout.parts, np.split(whole, ends[:-1]), strict=True)}


def check_levels(levels: Levels, layout: Layout, first: int = 0, count: int | None = None) -> None:
    """Refuse levels that are not exactly those of a run of ciphertexts: uint64, each in [0, 2^b - 1] of its part."""
    count = layout.ciphertexts - first if count is None else count
    start, stop = layout.run(first, count)
    _check_shape("levels", levels, stop - start)
    for piece in layout.pieces(first, count):
        if int(levels[piece.start - start : piece.stop - start].max()) > piece.part.level_max:
            raise LevelsRefused(
                f"{piece.part.name}: some levels exceed {piece.part.level_max}, the largest of "
                f"{piece.part.level_bits} bits; clip them"
            )


def pack(levels: Levels, layout: Layout, first: int = 0, count: int | None = None) -> Slots:
    """Slots (count, 4096) of the ciphertexts `first` to `first + count`, given the levels of just these, checked."""
    count = layout.ciphertexts - first if count is None else count
    start, _ = layout.run(first, count)
    data = np.zeros(count * DATA_SLOTS, dtype=np.int64)
    for piece in layout.pieces(first, count):
        columns = _columns(levels[piece.start - start : piece.stop - start], piece)
        filled = data[piece.slot : piece.slot + piece.slots]
        filled[...] = columns[:, -1]
        for digit in range(piece.part.per_slot - 2, -1, -1):
            filled *= layout.radix(piece.part)
            filled += columns[:, digit]
    slots = np.empty((count, RING_DEGREE), dtype=np.int64)
    slots[:, :COUNT_SLOT] = data.reshape(count, DATA_SLOTS)
    slots[:, COUNT_SLOT] = 1
    return slots


def unpack(slots: Slots, layout: Layout, survivors: int, first: int = 0) -> Levels:
    """Totals of the values in summed slots (count, 4096), the first being ciphertext `first`.

    Raises SumRejected when a count slot is not `survivors`, a slot is not below R^D of its part, a total exceeds what
    `survivors` levels can reach, or the padding after a part's last value, or after the last part, is not zero.
    """
    if not bool((slots[:, COUNT_SLOT] == survivors).all()):
        raise SumRejected(Failure.CONTENT, f"count slot: not the {survivors} terms that were announced")
    data = slots[:, :COUNT_SLOT].reshape(-1)
    start, stop = layout.run(first, len(slots))
    totals = np.empty(stop - start, dtype=np.uint64)
    end = 0
    for piece in layout.pieces(first, len(slots)):
        end = piece.slot + piece.slots
        _unpack_piece(
            data[piece.slot : end], layout, survivors, piece, totals[piece.start - start : piece.stop - start]
        )
    if bool(data[end:].any()):
        raise SumRejected(Failure.CONTENT, "padding: not zero after the last part")
    return totals


def _unpack_piece(slots: Slots, layout: Layout, survivors: int, piece: Piece, totals: Levels) -> None:
    name, radix = piece.part.name, layout.radix(piece.part)
    # A negative slot wraps to a huge one.
    if int(slots.view(np.uint64).max()) >= radix**piece.part.per_slot:
        raise SumRejected(Failure.CONTENT, f"slot: not below R^D of {name}; some term was not packed by this layout")
    for at in range(0, slots.size, DATA_SLOTS):  # a ciphertext's worth stays in the processor's cache
        digits = _digits(slots[at : at + DATA_SLOTS], piece.part.per_slot, radix)
        if int(digits.max()) > survivors * piece.part.level_max:
            raise SumRejected(Failure.CONTENT, f"total: more than {survivors} levels of {name} can reach")
        wanted = totals[at * piece.part.per_slot :][: digits.size]
        if bool(digits[wanted.size :].any()):
            raise SumRejected(Failure.CONTENT, f"padding: not zero after the last value of {name}")
        wanted[...] = digits[: wanted.size].view(np.uint64)


def _digits(slots: Slots, per_slot: int, radix: int) -> Slots:
    # In float64, which divides several numbers at once. Exact: for whole numbers below 2^46 a quotient that is not
    # whole lies further from the next whole one than rounding moves it.
    rest = slots.astype(np.float64)
    digits = np.empty((slots.size, per_slot), dtype=np.int64)
    for digit in range(per_slot - 1):
        quotient = rest / radix
        np.floor(quotient, out=quotient)
        digits[:, digit] = rest - quotient * radix
        rest = quotient
    digits[:, -1] = rest
    return digits.reshape(-1)


def _columns(levels: Levels, piece: Piece) -> Slots:
    """Levels of a piece as (slots, D), with zeros after the last."""
    whole = piece.slots * piece.part.per_slot
    if levels.size < whole:
        levels = np.concatenate([levels, np.zeros(whole - levels.size, dtype=np.uint64)])
    return levels.view(np.int64).reshape(piece.slots, piece.part.per_slot)


def _check_shape(name: str, levels: Levels, values: int) -> None:
    if not isinstance(levels, np.ndarray) or levels.dtype != np.uint64 or levels.shape != (values,):
        raise LevelsRefused(f"{name}: must be a uint64 array of shape ({values},)")
