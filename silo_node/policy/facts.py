"""From a contract and what the silo holds, knows and allows to the question that the policy decides. Pure: time and
peers are passed in."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Literal

from protocol.accounting import cost_of
from protocol.clauses import Column
from protocol.ids import StudyId, moment
from protocol.rounds import round_events
from protocol.statistics_study import StatisticsContract
from protocol.study import StudyContract, study_cost, study_id
from silo_node.policy.case import Case, CodeCase, RegisteredDataset
from silo_node.policy.limits import OwnerLimits
from silo_node.policy.question import (
    DAY_S,
    LARGEST,
    MICRO,
    PICO,
    Asked,
    AskedOfCode,
    Bounds,
    CodeFacts,
    Facts,
    Held,
    StudyAction,
)


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


def facts_of_analysis(case: CodeCase) -> CodeFacts:
    """The question whether code that a researcher brings may be run on columns of the silo's dataset."""
    registered = frozenset(column.name for column in case.held.columns) if case.held else frozenset()
    columns = frozenset(case.columns)
    return CodeFacts(
        action="analyse",
        analysis=case.analysis,
        dataset_name=case.dataset,
        study=AskedOfCode(
            case.purpose, columns, case.lead, case.standing.lead_known, case.bundle, case.bundle_approved
        ),
        dataset=_held(columns & registered, case.held),
        limits=_bounds(case.limits, case.dataset, case.held, case.standing.people),
        sandbox=case.sandbox,
        now=case.standing.now,
        owner_approved=case.standing.owner_approved,
    )


@lru_cache(maxsize=64)
def _name_of(contract: StudyContract) -> StudyId:
    """The contract's digest, reckoned once: with 300 columns it would be most of a decision. Contracts are frozen."""
    return study_id(contract)


def _facts(action: StudyAction, case: Case, cost: int, silos: int) -> Facts:
    contract, standing = case.contract, case.standing
    return Facts(
        action=action,
        study_id=_name_of(contract),
        dataset_name=contract.data.dataset,
        study=_asked(case, cost, silos),
        dataset=_held(_matching(contract, case.held), case.held),
        limits=_bounds(case.limits, contract.data.dataset, case.held, standing.people),
        sandbox=case.sandbox,
        now=standing.now,
        owner_approved=standing.owner_approved,
        accepted_here=standing.accepted_here,
    )


def _asked(case: Case, cost: int, silos: int) -> Asked:
    contract = case.contract
    return Asked(
        kind=contract.kind,
        purpose=contract.purpose,
        epsilon=scaled(contract.privacy.epsilon, MICRO, ROUND_CEILING),
        delta=scaled(contract.privacy.delta, PICO, ROUND_CEILING),
        cost=min(cost, LARGEST),
        rows=contract.terms_of(case.silo).rows,
        columns=frozenset(column.name for column in _columns(contract)),
        silos=silos,
        quorum=contract.schedule.quorum,
        approvals=contract.release.approvals,
        minimum_cell=contract.minimum_cell if isinstance(contract, StatisticsContract) else 0,
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


def _matching(contract: StudyContract, held: RegisteredDataset | None) -> frozenset[str]:
    """The contract's columns that the dataset has, by name and kind."""
    kinds = {column.name: column.kind for column in held.columns} if held else {}
    return frozenset(column.name for column in _columns(contract) if kinds.get(column.name) == column.kind)


def _held(columns: frozenset[str], held: RegisteredDataset | None) -> Held:
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
    return Held(
        registered=True,
        sensitivity=held.sensitivity,
        rows=held.rows,
        columns=columns,
        unit=held.balance.domain.unit,
        # One below the largest: a cost that had to be clipped must not come out equal to what is left.
        budget=min(held.balance.domain.cap_picos, LARGEST - 1),
        remaining=min(held.room.remaining_picos, LARGEST - 1),
        capped_by=held.room.tightest_cap,
    )


def _bounds(limits: OwnerLimits, dataset: str, held: RegisteredDataset | None, people: frozenset[str]) -> Bounds:
    granted = limits.columns.get(dataset, ())
    if granted == "registered":
        granted = tuple(column.name for column in held.columns) if held else ()
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
    return contract.data.columns
