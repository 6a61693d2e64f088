"""From a draft to its contract, by published facts only.

Computed: each silo's rows (as it registered them), weight and normaliser, the Renyi order, and the smallest noise
with which the whole study fits the draft's (epsilon, delta) at every silo.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from protocol import accounting
from protocol.accounting import Plan
from protocol.count_range import counts_fit, largest_count, least_exponent
from protocol.draft import Draft, DraftColumn
from protocol.errors import DraftRefused, Malformed
from protocol.membership_statements import DatasetRegistered
from protocol.study import StudyContract, parse_contract, study_cost

HALF: Final = 0.5
NOISE_STEP: Final = 1e-4


def build_contract(draft: Draft, registered: Mapping[str, DatasetRegistered]) -> StudyContract:
    """The contract of a draft. ``registered`` holds, by silo, what each made known of the draft's dataset.

    Raises ``DraftRefused`` where a silo has no such dataset or other columns, or no allowed noise is enough.
    """
    _check_registered(draft, registered)
    contract = contract_of(draft, {one.silo: registered[one.silo].rows for one in draft.silos})
    _check_caps(contract, registered)
    return contract


def contract_of(draft: Draft, rows: Mapping[str, int]) -> StudyContract:
    """The contract of a draft, with ``rows`` published by each of its silos; nothing else of them is looked at.

    Raises ``DraftRefused`` where no allowed noise is enough.
    """
    order = _order(draft)
    noise = _noise(draft, order)
    value = _contract_value(draft, order, rows, noise)
    # Each round's cost is rounded up by itself: one more grain of noise pays for that where it just doesn't fit.
    for grains in range(3):
        value["training"]["noise_multiplier"] = round(noise["training"] + grains * NOISE_STEP, 4)
        try:
            return _whole_counts(parse_contract(value))
        except Malformed as error:
            refusal = error
    raise DraftRefused(f"draft refused: {refusal}") from None


def _whole_counts(contract: StudyContract) -> StudyContract:
    """``contract``, if no silo's evaluation counts would be clipped."""
    if counts_fit(contract):
        return contract
    silo, largest = largest_count(contract)
    exponent = contract.sealing.evaluation_exponent
    raise DraftRefused(
        f"sealing.evaluation_exponent: {exponent} encodes counts up to {2.0**exponent:g}; at {silo} up to "
        f"{largest:.0f} held-out rows are counted, and the accuracy would be wrong; give {least_exponent(contract)}"
    )


def weights(rows: Mapping[str, int], by: Literal["rows", "sqrt-rows"]) -> dict[str, float]:
    """Each silo's share, proportional to its rows or their root; at most a half, the others sharing the rest."""
    size = {silo: float(count) if by == "rows" else math.sqrt(count) for silo, count in rows.items()}
    total = sum(size.values())
    large = [silo for silo in size if size[silo] / total > HALF]
    if not large:
        return {silo: part / total for silo, part in size.items()}
    rest = total - size[large[0]]
    return {silo: HALF if silo == large[0] else HALF * part / rest for silo, part in size.items()}


def _order(draft: Draft) -> int:
    try:
        return accounting.best_order(draft.privacy.epsilon, draft.privacy.delta)
    except ValueError as error:
        raise DraftRefused(f"privacy: {error}") from None


def _noise(draft: Draft, order: int) -> dict[str, float]:
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


def _contract_value(draft: Draft, order: int, rows: Mapping[str, int], noise: Mapping[str, float]) -> dict[str, Any]:
    value = draft.model_dump(mode="json", exclude={"weights", "silos", "privacy", "data"})
    privacy, kept = draft.privacy, 1.0 - draft.evaluation.test_share
    share = weights(rows, draft.weights)
    value["format"] = "consortia-study/1"
    value["data"] = {
        "dataset": draft.data.dataset,
        "features": [_column(column) for column in draft.data.features],
        "target": _column(draft.data.target),
    }
    value["privacy"] = {"unit": privacy.unit, "epsilon": privacy.epsilon, "delta": privacy.delta, "order": order}
    value["normalisation"]["noise_multiplier"] = noise["normalisation"]
    value["evaluation"]["noise_multiplier"] = noise["evaluation"]
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


def _column(column: DraftColumn) -> dict[str, Any]:
    value = column.model_dump(mode="json")
    if column.kind == "binary" and column.minimum is None and column.maximum is None:
        value |= {"minimum": 0.0, "maximum": 1.0}
    if value["minimum"] is None or value["maximum"] is None:
        raise DraftRefused(f"data: column {column.name} needs a minimum and a maximum from its meaning, not from data")
    return value


def _check_registered(draft: Draft, registered: Mapping[str, DatasetRegistered]) -> None:
    wanted = {column.name: column.kind for column in (*draft.data.features, draft.data.target)}
    for one in draft.silos:
        dataset = registered.get(one.silo)
        if dataset is None:
            raise DraftRefused(f"silos: {one.silo} has not registered a dataset {draft.data.dataset}")
        held = {column.name: column.kind for column in dataset.columns}
        other = sorted(name for name, kind in wanted.items() if held.get(name) != kind)
        if other:
            column = f"column {other[0]} of kind {wanted[other[0]]}"
            raise DraftRefused(f"data: {one.silo} has no {column} in {dataset.dataset}")
        if dataset.unit == "subject" and draft.privacy.unit == "record":
            raise DraftRefused(f"privacy.unit: {one.silo} protects whole subjects, a record is less; use subject")


def _check_caps(contract: StudyContract, registered: Mapping[str, DatasetRegistered]) -> None:
    """A study that a silo's whole cap could not pay for is told now, not by the silo's refusal."""
    for terms in contract.silos:
        domain = registered[terms.silo]
        cap = accounting.budget(domain.epsilon, domain.delta, domain.order)
        cost = study_cost(contract, terms.silo, domain.order)
        if cost > cap:
            spent = accounting.epsilon_at(cost, domain.delta, domain.order)
            raise DraftRefused(
                f"privacy: the study costs epsilon {spent:.3g} at {terms.silo}, "
                f"whose cap is epsilon {domain.epsilon:g} at delta {domain.delta:g}; lower the draft's epsilon"
            )
