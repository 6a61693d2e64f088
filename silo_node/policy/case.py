"""A study as one silo has to judge it: the contract beside what the silo holds, knows and allows."""

from dataclasses import dataclass

from protocol.study import Column, StudyContract
from silo_node.ledger.budget import Balance
from silo_node.policy.limits import OwnerLimits


@dataclass(frozen=True, slots=True)
class RegisteredDataset:
    """What the owner registered: columns, the row count that was published, and where the budget stands."""

    name: str
    columns: tuple[Column, ...]
    rows: int
    balance: Balance


@dataclass(frozen=True, slots=True)
class Standing:
    """What verified statements and the owner have said so far. ``people``: those in the charter."""

    now: int
    people: frozenset[str]
    approved_by_admin: bool
    owner_approved: bool = False
    accepted_here: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A study as ``silo`` has to judge it. ``held``: the dataset of the contract's name, None where there is none."""

    contract: StudyContract
    silo: str
    held: RegisteredDataset | None
    standing: Standing
    limits: OwnerLimits

    def __post_init__(self) -> None:
        if self.held is not None and self.held.name != self.contract.data.dataset:
            raise ValueError(f"dataset {self.held.name} isn't the contract's {self.contract.data.dataset}")

    @property
    def order(self) -> int:
        """The Renyi order at which this silo counts."""
        return self.held.balance.domain.order if self.held else self.contract.privacy.order
