"""From the draft of a training study to its contract: weights, normalisers and each stage's noise."""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from protocol import accounting
from protocol.accounting import Plan
from protocol.count_range import largest_count, largest_sum
from protocol.errors import DraftRefused, Malformed
from protocol.study import parse_training
from protocol.training_draft import TrainingDraft
from protocol.training_study import TrainingContract

HALF: Final = 0.5
NOISE_STEP: Final = 1e-4
LEAST_SCORED: Final = 1000
"""Held-out rows, by published counts."""


def training_contract(draft: TrainingDraft, rows: Mapping[str, int]) -> TrainingContract:
    """The contract of a draft, with ``rows`` published by each of its silos.

    Raises ``DraftRefused`` where no allowed noise is enough, or the encoding would cut counts off.
    """
    order = _order(draft)
    noise = _noise(draft, order)
    value = _contract_value(draft, order, rows, noise)
    # Each round's cost is rounded up by itself: one more grain of noise pays for that where it just doesn't fit.
    for grains in range(3):
        value["training"]["noise_multiplier"] = round(noise["training"] + grains * NOISE_STEP, 4)
        try:
            return _unclipped(parse_training(value))
        except Malformed as error:
            refusal = error
    raise DraftRefused(f"draft refused: {refusal}") from None


def _unclipped(contract: TrainingContract) -> TrainingContract:
    """``contract``, if no silo's sums would be clipped: the accuracy, or the columns' scales, would be wrong."""
    for largest in (largest_sum(contract), largest_count(contract)):
        if not largest.fits:
            raise DraftRefused(
                f"sealing.{largest.field}: {largest.exponent} encodes values up to {2.0**largest.exponent:g}; those of "
                f"{largest.silo} may reach {largest.value:.0f}, and would be clipped; give {largest.least_exponent}"
            )
    return contract


def weights(rows: Mapping[str, int], by: Literal["rows", "sqrt-rows"]) -> dict[str, float]:
    """Each silo's share, proportional to its rows or their root; at most a half, the others sharing the rest."""
    size = {silo: float(count) if by == "rows" else math.sqrt(count) for silo, count in rows.items()}
    total = sum(size.values())
    large = [silo for silo in size if size[silo] / total > HALF]
    if not large:
        return {silo: part / total for silo, part in size.items()}
    rest = total - size[large[0]]
    return {silo: HALF if silo == large[0] else HALF * part / rest for silo, part in size.items()}


def _order(draft: TrainingDraft) -> int:
    try:
        return accounting.best_order(draft.privacy.epsilon, draft.privacy.delta)
    except ValueError as error:
        raise DraftRefused(f"privacy: {error}") from None


def _noise(draft: TrainingDraft, order: int) -> dict[str, float]:
    """The least noise of each stage at the silo that samples most, whose cost is the highest."""
    privacy, steps = draft.privacy, draft.training.rounds * draft.training.local_steps
    rate = max(one.sampling_rate for one in draft.silos)
    try:
        plans = {
            "normalisation": Plan("gaussian", unit=privacy.unit),
            "training": Plan("sampled_gaussian", steps, rate, privacy.unit),
            "evaluation": Plan("gaussian", unit=privacy.unit),
        }
        return accounting.calibrate(privacy.epsilon, privacy.delta, order, privacy.shares.model_dump(), plans)
    except ValueError as error:
        raise DraftRefused(f"privacy: {error}") from None


def _contract_value(
    draft: TrainingDraft, order: int, rows: Mapping[str, int], noise: Mapping[str, float]
) -> dict[str, Any]:
    value = draft.model_dump(mode="json", exclude={"weights", "silos", "privacy", "data"})
    privacy, kept = draft.privacy, 1.0 - draft.evaluation.test_share
    share = weights(rows, draft.weights)
    value["format"] = "consortia-study/1"
    value["data"] = {
        "dataset": draft.data.dataset,
        "features": [column.value() for column in draft.data.features],
        "target": draft.data.target.value(),
    }
    value["privacy"] = {"unit": privacy.unit, "epsilon": privacy.epsilon, "delta": privacy.delta, "order": order}
    value["normalisation"]["noise_multiplier"] = noise["normalisation"]
    value["evaluation"] = _evaluation(draft, rows) | {"noise_multiplier": noise["evaluation"]}
    value["silos"] = [
        {
            "silo": one.silo,
            "rows": rows[one.silo],
            "sampling_rate": one.sampling_rate,
            "weight": share[one.silo],
            "normaliser": max(1.0, rows[one.silo] * kept * one.sampling_rate),
        }
        for one in draft.silos
    ]
    return value


def _evaluation(draft: TrainingDraft, rows: Mapping[str, int]) -> dict[str, Any]:
    """All of the contract's evaluation but its noise."""
    share, scores = draft.evaluation.test_share, draft.evaluation.scores
    if scores is None:
        return {"test_share": share}
    held_out = round(share * sum(rows[one.silo] for one in draft.silos))
    if held_out < LEAST_SCORED:
        raise DraftRefused(
            f"evaluation.scores: about {held_out} rows are held out, a histogram of scores needs {LEAST_SCORED} to "
            "tell anything under noise; leave scores out, which tells the accuracy, or hold out more"
        )
    return {"test_share": share, "edges": list(scores.edges), "groups": list(scores.groups)}
