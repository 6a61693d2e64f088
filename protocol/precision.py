"""The precision of a study's sums: what the contract chooses, and whether a slot then holds its silos' totals."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from protocol.ids import Strict
from protocol.sealing.parameters import MAX_PER_SLOT, most_bits

MAX_BITS = 46
"""A slot is a number below a 46-bit prime."""

Exponent = Annotated[int, Field(ge=-60, le=60)]


class Packing(Strict):
    """How vectors are packed: values a slot, bits a value, or both.

    Where one is left out, it is the most that fits the other when the round's silos are added.
    """

    values_per_slot: Annotated[int, Field(ge=1, le=MAX_PER_SLOT)] | None = None
    bits: Annotated[int, Field(ge=1, le=MAX_BITS)] | None = None

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        if self.values_per_slot is None and self.bits is None:
            raise ValueError(
                f"values_per_slot (1 to {MAX_PER_SLOT}) or bits (1 to {MAX_BITS}) must be given; the usual is 3 a slot"
            )
        return self


class Sealing(Packing):
    """The packing of a training study, with its first scale exponents.

    A value x is encoded on [-2^e, 2^e]; what is outside is clipped. All tensors of a kind of round begin with the
    same exponent e.
    """

    normalisation_exponent: Exponent
    training_exponent: Exponent
    evaluation_exponent: Exponent


def resolved(sealing: Packing, terms: int) -> tuple[int, int]:
    """(values a slot, bits a value) of a sum of ``terms`` silos: what the contract leaves out is the most that fits."""
    if sealing.values_per_slot is None:
        bits = sealing.bits or 1
        fitting = [count for count in range(1, MAX_PER_SLOT + 1) if most_bits(terms, count) >= bits]
        return max(fitting), bits
    return sealing.values_per_slot, sealing.bits or most_bits(terms, sealing.values_per_slot)


def check_precision(sealing: Packing, silos: int) -> None:
    """Raises ``ValueError``, naming field, value, bound and remedy, where totals of ``silos`` could leave a slot."""
    per_slot, bits = sealing.values_per_slot, sealing.bits
    most = most_bits(silos, per_slot or 1)
    if (bits or 1) <= most:
        return
    if bits is None:
        fitting = max(count for count in range(1, MAX_PER_SLOT + 1) if most_bits(silos, count) >= 1)
        raise ValueError(
            f"sealing.values_per_slot: {per_slot} totals of {silos} silos don't fit a slot, at most {fitting} do; "
            f"lower it to {fitting}"
        )
    if per_slot is None:
        raise ValueError(f"sealing.bits: {bits}; totals of {silos} silos leave at most {most} bits; lower it")
    raise ValueError(
        f"sealing.bits: {bits} at sealing.values_per_slot {per_slot}; totals of {silos} silos leave at most {most} "
        "bits; lower the bits or the values a slot"
    )
