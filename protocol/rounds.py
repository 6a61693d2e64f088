"""The rounds of a study, each one sealed sum: what it is for, how long its vector is, what it costs.

Round 0 is the normalisation sum, rounds 1..R train, round R + 1 evaluates. Hub and silos derive the plan
from the contract alone, so neither can tell the other something else.
"""

from dataclasses import dataclass
from typing import Any, Literal

from protocol import canonical
from protocol.errors import Malformed
from protocol.sealing.parameters import Layout
from protocol.spend import Event
from protocol.study import (
    StudyContract,
    evaluation_events,
    normalisation_events,
    parameter_count,
    training_events,
)

Stage = Literal["normalisation", "training", "evaluation"]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round: its index, stage and the number of values in its vector."""

    index: int
    stage: Stage
    values: int


def last_round(contract: StudyContract) -> int:
    """Index of the last round, the evaluation."""
    return contract.training.rounds + 1


def plan_round(contract: StudyContract, index: int) -> RoundPlan:
    """The plan of round ``index``. Raises ``Malformed`` outside 0..last_round."""
    last = last_round(contract)
    if not 0 <= index <= last:
        raise Malformed(f"round {index} is not in the study's plan of rounds 0 to {last}")
    if index == 0:
        return RoundPlan(0, "normalisation", 2 * len(contract.normalisation.columns))
    if index == last:
        return RoundPlan(index, "evaluation", 2)
    return RoundPlan(index, "training", parameter_count(contract))


def round_events(contract: StudyContract, silo: str, index: int) -> tuple[Event, ...]:
    """The most that round ``index`` can cost ``silo``."""
    stage = plan_round(contract, index).stage
    if stage == "normalisation":
        return normalisation_events(contract)
    if stage == "evaluation":
        return evaluation_events(contract)
    return training_events(contract, silo)


def round_layout(contract: StudyContract, index: int, terms: int) -> Layout:
    """How the vector of round ``index`` is packed when ``terms`` silos were frozen into it."""
    return Layout(plan_round(contract, index).values, terms, contract.sealing.values_per_slot)


def charge_id(study: str, index: int) -> str:
    """The key under which a silo's ledger charges a round: once, over all its attempts."""
    return f"{study}:{index}"


def freeze_digest(
    *, study: str, index: int, attempt: int, silos: tuple[str, ...], ready: dict[str, str], layout: Layout, base: str
) -> bytes:
    """F of sealed-sum.md (32 bytes): salts every tag of the round, so a term fits this round only.

    ``ready`` holds the digest of every frozen silo's ready statement (whose nonce makes F fresh), ``base``
    the digest of the sum-served statement that led here (or of nothing, in round 0). Weights and exponents
    follow from the contract (named by ``study``) and the totals before.
    """
    if sorted(ready) != sorted(silos):
        raise Malformed("freeze: a ready statement for each frozen silo, and for no other, is needed")
    value: dict[str, Any] = {
        "context": "consortia/freeze/v1",
        "study": study,
        "round": index,
        "attempt": attempt,
        "silos": list(silos),
        "ready": ready,
        "bits": layout.bits,
        "values_per_slot": layout.per_slot,
        "values": layout.values,
        "base": base,
    }
    return bytes.fromhex(canonical.digest(canonical.encode(value)))
