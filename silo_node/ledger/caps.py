"""Caps beside a domain's own: what one dataset, one study or one recipient may cost of it in all. No I/O.

A cap is counted by the same filter as its domain: costs at the domain's order add up, and a charge is admitted while
the sum of those that name the dataset, study or recipient stays within it. A charge that names none (ledgers of
format 1 wrote such) counts against every dataset's and every recipient's cap: more than it took, never less.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from protocol.accounting import epsilon_at
from protocol.spend import Cost
from silo_node.ledger.budget import Balance, Head, PrivacyDomain

Scope = Literal["dataset", "study", "recipient"]
SCOPES: Final[tuple[Scope, ...]] = ("dataset", "study", "recipient")
EACH: Final = "*"
"""The name of a cap that holds for each one that has no cap of its own."""

_UNNAMED: Final = ""


@dataclass(frozen=True, slots=True)
class Use:
    """What a charge is for: whose rows are read, by which study, and who gets the result (each once, sorted)."""

    dataset: str
    study: str
    recipients: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipients", tuple(sorted(set(self.recipients))))

    def names(self) -> Iterator[tuple[Scope, str]]:
        yield "dataset", self.dataset
        yield "study", self.study
        for recipient in self.recipients:
            yield "recipient", recipient


def unnamed(study: str) -> Use:
    """The use of a charge of which only the study is known: it counts against all datasets and recipients."""
    return Use(_UNNAMED, study, (_UNNAMED,))


@dataclass(frozen=True, slots=True)
class Cap:
    """At most ``picos`` of ``domain`` for the dataset, study or recipient ``name``, or for each; None: no such cap.

    Raises ValueError for a scope or name that no charge has, or picos that are no number of at least 0.
    """

    domain: str
    scope: Scope
    name: str
    picos: Cost | None

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ValueError(f"cap scope is {self.scope!r}; it must be dataset, study or recipient")
        if not 0 < len(self.name) <= 200 or not self.name.isprintable() or " " in self.name:
            raise ValueError("cap name must have 1 to 200 printable characters without spaces, or be * for each")
        if self.picos is not None and (type(self.picos) is not int or self.picos < 0):
            raise ValueError(f"cap picos is {self.picos!r}; it must be a whole number of at least 0")

    def __str__(self) -> str:
        return f"each {self.scope}" if self.name == EACH else f"{self.scope} {self.name}"


@dataclass(frozen=True, slots=True)
class Capped:
    """The cap stands in the ledger; `head` is the entry that put it there."""

    cap: Cap
    head: Head


@dataclass(frozen=True, slots=True)
class CapBalance:
    """Where a cap stands for ``name``: of a cap for each one, the name that took the most."""

    cap: Cap
    name: str
    cap_picos: Cost
    spent_picos: Cost

    @property
    def remaining_picos(self) -> Cost:
        return max(0, self.cap_picos - self.spent_picos)

    def epsilon(self, domain: PrivacyDomain) -> float:
        """The cap at the domain's delta and order; 0 for a cap that pays for nothing."""
        return epsilon_at(self.cap_picos, domain.delta, domain.order)

    def __str__(self) -> str:
        return f"{self.cap.scope} {self.name}"


@dataclass(frozen=True, slots=True)
class Room:
    """What a use may still take: the domain's balance, and each cap that holds for it."""

    balance: Balance
    caps: tuple[CapBalance, ...] = ()

    @property
    def remaining_picos(self) -> Cost:
        """The tightest remainder."""
        return min([self.balance.remaining_picos, *(cap.remaining_picos for cap in self.caps)])

    @property
    def tightest_cap(self) -> str:
        """The cap that leaves least, in words; empty where none leaves less than the domain does."""
        for cap in self.caps:
            if cap.remaining_picos == self.remaining_picos < self.balance.remaining_picos:
                return str(cap)
        return ""


class CapTable:
    """The caps in force and what counts against each. Kept by a ``Book``, which tells it of every charge."""

    def __init__(self) -> None:
        self._caps: dict[tuple[str, Scope, str], Capped] = {}
        self._spent: Counter[tuple[str, Scope, str]] = Counter()

    def declared(self, cap: Cap) -> Capped | None:
        """What was declared last for the same domain, scope and name."""
        return self._caps.get((cap.domain, cap.scope, cap.name))

    def put(self, capped: Capped) -> None:
        self._caps[capped.cap.domain, capped.cap.scope, capped.cap.name] = capped

    def count(self, domain: str, charge_id: str, use: Use | None, picos: Cost) -> None:
        """Counts ``picos`` (below 0: given back) against all that a charge names."""
        for scope, name in (use or unnamed(charge_id.partition(":")[0])).names():
            self._spent[domain, scope, name] += picos

    def spent(self, domain: str, scope: Scope, name: str) -> Cost:
        return self._spent[domain, scope, name] + (0 if name == _UNNAMED else self._spent[domain, scope, _UNNAMED])

    def of(self, domain: str, use: Use) -> tuple[CapBalance, ...]:
        """The caps that hold for a use: by name, else the one for each."""
        found = ((self._in_force(domain, scope, name), scope, name) for scope, name in use.names())
        return tuple(
            CapBalance(cap, name, cap.picos, self.spent(domain, scope, name))
            for cap, scope, name in found
            if cap is not None and cap.picos is not None
        )

    def all(self, domain: str) -> tuple[CapBalance, ...]:
        """Every cap in force on a domain, by scope and name."""
        caps = [one.cap for key, one in sorted(self._caps.items(), key=lambda pair: pair[0]) if key[0] == domain]
        return tuple(self._standing(cap, cap.picos) for cap in caps if cap.picos is not None)

    def _in_force(self, domain: str, scope: Scope, name: str) -> Cap | None:
        for key in (name, EACH):
            capped = self._caps.get((domain, scope, key))
            if capped is not None and capped.cap.picos is not None:
                return capped.cap
        return None

    def _standing(self, cap: Cap, picos: Cost) -> CapBalance:
        if cap.name != EACH:
            return CapBalance(cap, cap.name, picos, self.spent(cap.domain, cap.scope, cap.name))
        took = [
            (self.spent(domain, scope, name), name)
            for domain, scope, name in self._spent
            if (domain, scope) == (cap.domain, cap.scope) and self._in_force(domain, scope, name) == cap
        ]
        spent, name = max(took, default=(0, EACH))
        return CapBalance(cap, name or EACH, picos, spent)
