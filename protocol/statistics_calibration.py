"""From the draft of a statistics study to its contract: each query's noise."""

from collections.abc import Mapping
from typing import Any, Final

from protocol import accounting
from protocol.accounting import Plan
from protocol.errors import DraftRefused, Malformed
from protocol.statistics_draft import StatisticsDraft
from protocol.statistics_study import StatisticsContract
from protocol.study import parse_statistics

_WHOLE: Final = 1 - 1e-6
"""Of the budget, what the queries share: their shares are decimals that may not add up to above 1."""


def statistics_contract(draft: StatisticsDraft, rows: Mapping[str, int]) -> StatisticsContract:
    """The contract of a draft, with ``rows`` published by each of its silos.

    Raises ``DraftRefused`` where no allowed noise is enough, or for what no contract may hold.
    """
    try:
        order = accounting.best_order(draft.privacy.epsilon, draft.privacy.delta)
        noise = _noise(draft, order)
    except ValueError as error:
        raise DraftRefused(f"privacy: {error}") from None
    try:
        return parse_statistics(_contract_value(draft, order, rows, noise))
    except Malformed as error:
        raise DraftRefused(f"draft refused: {error}") from None


def _noise(draft: StatisticsDraft, order: int) -> dict[str, float]:
    """By query, the least noise multiplier with which its share of the budget is enough."""
    privacy = draft.privacy
    weights = {query.name: privacy.weights.get(query.name, 1.0) for query in draft.queries}
    total = sum(weights.values())
    # Rounded down to what decimals of nine places hold, so that they never add up to above 1.
    shares = {name: int(weight / total * _WHOLE * 1e9) / 1e9 for name, weight in weights.items()}
    plans = {name: Plan("gaussian", unit=privacy.unit) for name in weights}
    return accounting.calibrate(privacy.epsilon, privacy.delta, order, shares, plans)


def _contract_value(
    draft: StatisticsDraft, order: int, rows: Mapping[str, int], noise: Mapping[str, float]
) -> dict[str, Any]:
    value = draft.model_dump(mode="json", exclude={"silos", "privacy", "data", "queries"})
    privacy = draft.privacy
    value["format"] = "consortia-study/1"
    value["data"] = {"dataset": draft.data.dataset, "reads": [column.value() for column in draft.data.reads]}
    value["privacy"] = {"unit": privacy.unit, "epsilon": privacy.epsilon, "delta": privacy.delta, "order": order}
    value["queries"] = [
        {"question": query.model_dump(mode="json"), "noise_multiplier": noise[query.name]} for query in draft.queries
    ]
    value["silos"] = [{"silo": one.silo, "rows": rows[one.silo]} for one in draft.silos]
    return value
