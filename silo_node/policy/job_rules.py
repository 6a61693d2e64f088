"""What the owner's limits say of reviewed code, action ``analyse``: they may refuse it outright, and never allow it.

Whether it runs is a person's decision, always: its outputs are exact, and no policy can read code.
"""

from collections.abc import Collection

from protocol.job_statements import JobSubmitted
from silo_node.policy.gate import Breach
from silo_node.policy.limits import OwnerLimits


def breach_of_job(asked: JobSubmitted, declared: Collection[str] | None, limits: OwnerLimits) -> Breach | None:
    """The first rule in the way. ``declared``: the dataset's columns, None where no such dataset is registered."""
    if declared is None:
        return Breach("dataset", f"no dataset {asked.dataset} is registered at {asked.silo}")
    unknown = sorted(set(asked.columns) - set(declared))
    if unknown:
        return Breach("columns", f"dataset {asked.dataset} declares no column {unknown[0]}")
    if asked.purpose not in limits.purposes:
        granted = ", ".join(limits.purposes) or "none"
        return Breach("purpose", f"the purpose {asked.purpose} is not granted; granted are: {granted}")
    granted_columns = limits.columns.get(asked.dataset, ())
    withheld = [] if granted_columns == "registered" else sorted(set(asked.columns) - set(granted_columns))
    if withheld:
        return Breach("columns", f"the owner grants no column {withheld[0]} of dataset {asked.dataset}")
    return None
