"""A study as one silo has to judge it: the contract beside what the silo holds, knows and allows."""

from dataclasses import dataclass
from typing import Literal

from protocol.clauses import Column, Purpose
from protocol.study import StudyContract
from silo_node.dataset.schema import Sensitivity
from silo_node.ledger.budget import Balance
from silo_node.ledger.caps import CapBalance, Room
from silo_node.policy.limits import OwnerLimits

SandboxLevel = Literal["bubblewrap", "landlock", "none"]
"""What rows are computed on in: a box of its own, a process that the kernel restricts, or an ordinary process."""

_WEAKEST_FIRST = ("none", "landlock", "bubblewrap")


def holds_as_well(level: SandboxLevel, agreed: str) -> bool:
    """Whether ``level`` shuts in no less than the level that was agreed to; not if that one isn't known any more."""
    return agreed in _WEAKEST_FIRST and _WEAKEST_FIRST.index(level) >= _WEAKEST_FIRST.index(agreed)


@dataclass(frozen=True, slots=True)
class RegisteredDataset:
    """What the owner registered: columns, the row count that was published, where the budget stands, how sensitive
    it is. A sensitivity that nobody stated counts as the highest. ``caps`` are those beside the domain's that hold
    for who asks."""

    name: str
    columns: tuple[Column, ...]
    rows: int
    balance: Balance
    sensitivity: Sensitivity = "special-category"
    caps: tuple[CapBalance, ...] = ()

    @property
    def room(self) -> Room:
        """What who asks may still take."""
        return Room(self.balance, self.caps)


@dataclass(frozen=True, slots=True)
class Standing:
    """What verified statements and the owner have said so far. ``people``: those in the charter.

    ``lead_known``: this silo accepted another study of the same researcher before.
    """

    now: int
    people: frozenset[str]
    approved_by_admin: bool
    owner_approved: bool = False
    accepted_here: bool = False
    lead_known: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A study as ``silo`` has to judge it. ``held``: the dataset of the contract's name, None where there is none.

    ``sandbox`` is what would hold the computation today; a level that nobody looked up counts as none.
    """

    contract: StudyContract
    silo: str
    held: RegisteredDataset | None
    standing: Standing
    limits: OwnerLimits
    sandbox: SandboxLevel = "none"

    def __post_init__(self) -> None:
        if self.held is not None and self.held.name != self.contract.data.dataset:
            raise ValueError(f"dataset {self.held.name} isn't the contract's {self.contract.data.dataset}")

    @property
    def order(self) -> int:
        """The Renyi order at which this silo counts."""
        return self.held.balance.domain.order if self.held else self.contract.privacy.order


@dataclass(frozen=True, slots=True)
class CodeCase:
    """Code of a researcher's own as a silo has to judge it. ``analysis`` names the request, ``bundle`` the code.

    Both are SHA-256 in hexadecimal. ``held``: the dataset of that name, None where there is none.
    """

    analysis: str
    bundle: str
    bundle_approved: bool
    lead: str
    purpose: Purpose
    dataset: str
    columns: tuple[str, ...]
    held: RegisteredDataset | None
    standing: Standing
    limits: OwnerLimits
    sandbox: SandboxLevel = "none"
