"""The rounds of a study, each one sealed sum: what it is for, how long its vector is, what it costs.

In a training study round 0 is the normalisation sum, rounds 1..R train, round R + 1 evaluates; a statistics
study has round 0 alone. Hub and silos derive
the plan from the contract alone, so neither can tell the other something else.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from protocol import canonical
from protocol.errors import Malformed
from protocol.precision import resolved
from protocol.sealing.parameters import Layout, Part
from protocol.spend import Event
from protocol.statistics_study import StatisticsContract, statistics_events
from protocol.study import StudyContract
from protocol.training_study import (
    TrainingContract,
    evaluation_events,
    normalisation_events,
    tensor_lengths,
    training_events,
)

CLIPPED: Final = "clipped"
"""The part of a round's sum that says how many of their values the silos clipped, all together."""

Stage = Literal["normalisation", "training", "evaluation", "statistics"]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round: its index and stage, and the tensors of its vector, by name of the whole and length of each."""

    index: int
    stage: Stage
    vector: Literal["moments", "update", "counts", "totals"]
    tensors: tuple[int, ...]

    @property
    def values(self) -> int:
        """Values in the round's vector."""
        return sum(self.tensors)


def last_round(contract: StudyContract) -> int:
    """Index of the study's last round; its first is 0."""
    match contract:
        case TrainingContract():
            return contract.training.rounds + 1
        case StatisticsContract():
            return 0


def plan_round(contract: StudyContract, index: int) -> RoundPlan:
    """The plan of round ``index``. Raises ``Malformed`` outside 0..last_round."""
    last = last_round(contract)
    if not 0 <= index <= last:
        raise Malformed(f"round {index} is not in the study's plan of rounds 0 to {last}")
    match contract:
        case TrainingContract():
            return _training_plan(contract, index)
        case StatisticsContract():
            return RoundPlan(0, "statistics", "totals", tuple(query.question.values for query in contract.queries))


def round_events(contract: StudyContract, silo: str, index: int) -> tuple[Event, ...]:
    """The most that round ``index`` can cost ``silo``."""
    stage = plan_round(contract, index).stage
    match contract:
        case TrainingContract():
            return _training_spend(contract, silo, stage)
        case StatisticsContract():
            return statistics_events(contract)


def round_layout(contract: StudyContract, index: int, terms: int) -> Layout:
    """How round ``index`` is packed when ``terms`` silos were frozen into it: its vector, then how much was clipped."""
    per_slot, bits = resolved(contract.sealing, terms)
    plan = plan_round(contract, index)
    # At most all of a silo's values are clipped: 32 bits at the longest, which 256 silos fit a slot with.
    clipped = Part(CLIPPED, 1, 1, plan.values.bit_length())
    return Layout((Part(plan.vector, plan.values, per_slot, bits), clipped), terms)


def _training_plan(contract: TrainingContract, index: int) -> RoundPlan:
    if index == 0:
        columns = len(contract.normalisation.columns)
        return RoundPlan(0, "normalisation", "moments", (columns, columns))
    if index == last_round(contract):
        return RoundPlan(index, "evaluation", "counts", (contract.evaluation.values,))
    return RoundPlan(index, "training", "update", tensor_lengths(contract))


def _training_spend(contract: TrainingContract, silo: str, stage: Stage) -> tuple[Event, ...]:
    if stage == "normalisation":
        return normalisation_events(contract)
    if stage == "evaluation":
        return evaluation_events(contract)
    return training_events(contract, silo)


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
        "parts": [
            {"name": part.name, "values": part.values, "values_per_slot": part.per_slot, "bits": part.level_bits}
            for part in layout.parts
        ],
        "base": base,
    }
    return bytes.fromhex(canonical.digest(canonical.encode(value)))
