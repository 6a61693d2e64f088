"""Everything a policy decides on, as whole numbers, words and sets. Pure: time and peers are passed in.

Nothing here is private. In particular the row count is the published one: whoever is refused because a dataset
has 99 rows and not 100 has learnt something about one person, without any noise.
"""

from collections.abc import Set
from dataclasses import dataclass, fields
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Literal

from protocol.accounting import cost_of
from protocol.ids import moment
from protocol.rounds import round_events
from protocol.study import Column, StudyContract, study_cost, study_id
from silo_node.policy.case import Case, RegisteredDataset

Action = Literal["accept", "round", "release"]

MICRO = 10**6
PICO = 10**12
LARGEST = 2**63 - 1
"""The largest number of Cedar's ``Long``."""
HOUR_S, DAY_S = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    """What the contract asks for. Epsilon in 1e-6, delta in 1e-12, cost in the ledger's 1e-12."""

    purpose: str
    epsilon: int
    delta: int
    cost: int
    rows: int
    columns: frozenset[str]
    silos: int
    quorum: int
    approvals: int
    sealed: bool
    unit: str
    expires_at: int
    recipients: frozenset[str]
    lead: str
    lead_known: bool
    legal_basis: str
    """In small letters: Cedar compares letter by letter."""
    approved_by_admin: bool


@dataclass(frozen=True, slots=True)
class Held:
    """The dataset as registered, and its domain's budget in the ledger's 1e-12."""

    registered: bool
    sensitivity: str
    rows: int
    columns: frozenset[str]
    unit: str
    budget: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The owner's limits in the units of ``Asked``, for one dataset and one charter."""

    purposes: frozenset[str]
    columns: frozenset[str]
    recipients: frozenset[str]
    max_epsilon: int
    ask_epsilon: int
    max_delta: int
    min_rows: int
    min_silos: int
    min_quorum: int
    min_approvals: int
    max_seconds_ahead: int
    accepts_within_limits: bool
    releases_within_limits: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """One question to the policy: may this study do this here, now? Times are seconds since 1970."""

    action: Action
    study_id: str
    dataset_name: str
    study: Asked
    dataset: Held
    limits: Bounds
    sandbox: str
    now: int
    owner_approved: bool
    accepted_here: bool

    def context(self) -> dict[str, Any]:
        """The facts in JSON types, by the names that the Cedar schema gives them.

        Columns and recipients are compared here: Cedar takes 5 microseconds a name to read, and a wide table or a
        large charter would make that most of a decision.
        """
        outside = {
            "columns_not_registered": sorted(self.study.columns - self.dataset.columns),
            "columns_not_granted": sorted(self.study.columns - self.limits.columns),
            "recipients_not_allowed": sorted(self.study.recipients - self.limits.recipients),
        }
        counted = {"recipient_count": len(self.study.recipients), "cost_percent": self.cost_percent}
        return {
            "study": _json(self.study) | outside | counted,
            "dataset": _json(self.dataset, without={"columns"}),
            "limits": _json(self.limits, without={"columns", "recipients"}),
            "silo": {"sandbox": self.sandbox},
            "now": self.now,
            "weekday": self.weekday,
            "hour": self.hour,
            "owner_approved": self.owner_approved,
            "accepted_here": self.accepted_here,
        }

    @property
    def cost_percent(self) -> int:
        """The study's cost in hundredths of the dataset's whole budget, rounded up; Cedar can't divide."""
        if self.dataset.budget <= 0:
            return 0 if self.study.cost <= 0 else LARGEST
        return min(-(-100 * self.study.cost // self.dataset.budget), LARGEST)

    @property
    def weekday(self) -> int:
        """1 for Monday to 7 for Sunday (ISO 8601), in UTC. The first of January 1970 was a Thursday."""
        return (self.now // DAY_S + 3) % 7 + 1

    @property
    def hour(self) -> int:
        """0 to 23, in UTC."""
        return self.now % DAY_S // HOUR_S


def facts_of_study(action: Literal["accept", "release"], case: Case) -> Facts:
    """The question whether the silo accepts the study, or lets its model go.

    Accepting is asked at the cost of the whole study at the domain's order; a release costs nothing more.
    Raises ``Malformed`` where the contract doesn't name the silo.
    """
    cost = study_cost(case.contract, case.silo, case.order) if action == "accept" else 0
    return _facts(action, case, cost, len(case.contract.silos))


def facts_of_round(case: Case, index: int, silos: int, charged: bool) -> Facts:
    """The question whether the silo takes part in round ``index`` among ``silos`` silos, itself included.

    ``charged``: the ledger already holds this round's charge (a retry), so it costs nothing more.
    Raises ``Malformed`` where the contract doesn't name the silo or the round.
    """
    events = round_events(case.contract, case.silo, index)
    return _facts("round", case, 0 if charged else cost_of(events, case.order), silos)


def _facts(action: Action, case: Case, cost: int, silos: int) -> Facts:
    contract, standing = case.contract, case.standing
    return Facts(
        action=action,
        study_id=study_id(contract),
        dataset_name=contract.data.dataset,
        study=_asked(case, cost, silos),
        dataset=_held(contract, case.held),
        limits=_bounds(case),
        sandbox=case.sandbox,
        now=standing.now,
        owner_approved=standing.owner_approved,
        accepted_here=standing.accepted_here,
    )


def _asked(case: Case, cost: int, silos: int) -> Asked:
    contract = case.contract
    return Asked(
        purpose=contract.purpose,
        epsilon=scaled(contract.privacy.epsilon, MICRO, ROUND_CEILING),
        delta=scaled(contract.privacy.delta, PICO, ROUND_CEILING),
        cost=min(cost, LARGEST),
        rows=contract.terms_of(case.silo).rows,
        columns=frozenset(column.name for column in _columns(contract)),
        silos=silos,
        quorum=contract.schedule.quorum,
        approvals=contract.release.approvals,
        # Contracts of format 1 have no other way to add up than sealed sums.
        sealed=contract.format == "consortia-study/1",
        unit=contract.privacy.unit,
        expires_at=int(moment(contract.expires_at).timestamp()),
        recipients=frozenset(contract.recipients),
        lead=contract.lead,
        lead_known=case.standing.lead_known,
        legal_basis=contract.legal_basis.lower(),
        approved_by_admin=case.standing.approved_by_admin,
    )


def _held(contract: StudyContract, held: RegisteredDataset | None) -> Held:
    if held is None:
        return Held(
            registered=False,
            sensitivity="special-category",
            rows=0,
            columns=frozenset(),
            unit="subject",
            budget=0,
            remaining=0,
        )
    kinds = {column.name: column.kind for column in held.columns}
    return Held(
        registered=True,
        sensitivity=held.sensitivity,
        rows=held.rows,
        columns=frozenset(column.name for column in _columns(contract) if kinds.get(column.name) == column.kind),
        unit=held.balance.domain.unit,
        # One below the largest: a cost that had to be clipped must not come out equal to what is left.
        budget=min(held.balance.domain.cap_picos, LARGEST - 1),
        remaining=min(held.balance.remaining_picos, LARGEST - 1),
    )


def _bounds(case: Case) -> Bounds:
    limits, people = case.limits, case.standing.people
    granted = limits.columns.get(case.contract.data.dataset, ())
    if granted == "registered":
        granted = tuple(column.name for column in case.held.columns) if case.held else ()
    comfort = limits.max_epsilon if limits.ask_epsilon is None else min(limits.ask_epsilon, limits.max_epsilon)
    return Bounds(
        purposes=frozenset(limits.purposes),
        columns=frozenset(granted),
        recipients=people if limits.recipients == "charter" else people & frozenset(limits.recipients),
        max_epsilon=scaled(limits.max_epsilon, MICRO, ROUND_FLOOR),
        ask_epsilon=scaled(comfort, MICRO, ROUND_FLOOR),
        max_delta=scaled(limits.max_delta, PICO, ROUND_FLOOR),
        min_rows=limits.min_rows,
        min_silos=limits.min_silos,
        min_quorum=limits.min_quorum,
        min_approvals=limits.min_approvals,
        max_seconds_ahead=limits.max_days * DAY_S,
        accepts_within_limits=limits.accept == "within-limits",
        releases_within_limits=limits.release == "within-limits",
    )


def scaled(value: float, scale: int, rounding: str) -> int:
    """``value`` in whole units of 1/scale. What is asked is rounded up and what is allowed down.

    Taken from the decimals people wrote: 1.1 is 1100000 millionths both ways, though its binary neighbour isn't.
    """
    return int((Decimal(repr(float(value))) * scale).to_integral_value(rounding))


def _columns(contract: StudyContract) -> tuple[Column, ...]:
    return (*contract.data.features, contract.data.target)


def _json(part: Asked | Held | Bounds, without: Set[str] = frozenset()) -> dict[str, Any]:
    values = {field.name: getattr(part, field.name) for field in fields(part) if field.name not in without}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}
