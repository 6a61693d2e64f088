"""How many more studies a budget pays for: what is left, by the filter, in whole studies of one cost. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.spend import Cost
from silo_node.ledger.caps import CapBalance, Room, Use

Pending = Sequence[tuple[Use, Cost]]
"""What studies under way may still be charged, beside what they have been."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """``more`` further studies of ``cost_picos`` fit; ``bound_by`` names the cap that ends them, empty if the domain's.

    ``left_picos`` is what the domain has left once the studies under way have taken all they may.
    """

    cost_picos: Cost
    left_picos: Cost
    more: int
    bound_by: str
    budget_picos: Cost

    @property
    def share(self) -> float:
        """One such study in shares of the domain's whole budget."""
        return self.cost_picos / self.budget_picos


def forecast(room: Room, cost_picos: Cost, pending: Pending = ()) -> Forecast:
    """For studies of ``cost_picos`` (at least 1) as ``room`` was asked for: of that dataset, for those recipients.

    Each is a study of its own, so a cap on each study holds for one at a time. Costs at one order add up, so what fits
    is the remainder divided by the cost, in whole numbers: the ledger admits exactly so many.
    """
    if cost_picos < 1:
        raise ValueError(f"cost is {cost_picos}; a study costs at least 1")
    left = max(0, room.balance.remaining_picos - sum(picos for _, picos in pending))
    fits = [(left // cost_picos, "")]
    fits += [(_fit(cap, cost_picos, pending), str(cap.cap)) for cap in room.caps]
    more, bound_by = min(fits, key=lambda one: one[0])
    return Forecast(cost_picos, left, more, bound_by, room.balance.domain.cap_picos)


def _fit(cap: CapBalance, cost_picos: Cost, pending: Pending) -> int:
    if cap.cap.scope == "study":
        # One study at a time: it fits under the cap on each study, and then so does the next, or none does.
        return _UNBOUNDED if cost_picos <= cap.remaining_picos else 0
    promised = sum(picos for use, picos in pending if (cap.cap.scope, cap.name) in use.names())
    return max(0, cap.remaining_picos - promised) // cost_picos


_UNBOUNDED = 10**18
