"""Whether a round can be paid for, by the hub's mirror of a silo's ledger. Pure.

The silo's ledger decides; the mirror only spares everyone a round that it would refuse. So the mirror may
deny too little, never too much: it counts what the silo itself has stated.
"""

from dataclasses import dataclass

from protocol.accounting import admits
from protocol.spend import PICOS, Cost


@dataclass(frozen=True, slots=True)
class MirroredBalance:
    """What a silo stated of one privacy domain; picos are divergence at its order in units of 1e-12."""

    silo: str
    domain: str
    cap_picos: Cost
    spent_picos: Cost


@dataclass(frozen=True, slots=True)
class Allowed:
    """The mirrored budget pays for the round; `remaining_picos` would be left."""

    remaining_picos: Cost


@dataclass(frozen=True, slots=True)
class Denied:
    """The mirrored budget can't pay: the silo, the value and the bound."""

    silo: str
    domain: str
    short_picos: Cost
    reason: str


def can_open(mirror: MirroredBalance, ask_picos: Cost) -> Allowed | Denied:
    """Whether the ask still fits the mirrored budget. Raises ValueError for a negative number."""
    if admits(mirror.spent_picos, ask_picos, mirror.cap_picos):
        return Allowed(mirror.cap_picos - mirror.spent_picos - ask_picos)
    left = max(0, mirror.cap_picos - mirror.spent_picos)
    return Denied(
        mirror.silo,
        mirror.domain,
        ask_picos - left,
        f"domain {mirror.domain} of silo {mirror.silo} has {left / PICOS:.6f} left, the round costs up to "
        f"{ask_picos / PICOS:.6f}: choose fewer rounds or more noise",
    )
