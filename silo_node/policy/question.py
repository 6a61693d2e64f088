"""A question to the policy: what is asked, what is held, what the owner allows, and this day, as whole numbers, words
and sets.

Nothing here is private. In particular the row count is the published one: whoever is refused because a dataset
has 99 rows and not 100 has learnt something about one person, without any noise.
"""

from collections.abc import Set
from dataclasses import dataclass, fields
from typing import Any, Literal

StudyAction = Literal["accept", "round", "release"]
Action = Literal["accept", "round", "release", "analyse"]

MICRO = 10**6
PICO = 10**12
LARGEST = 2**63 - 1
"""The largest number of Cedar's ``Long``."""
HOUR_S, DAY_S = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    """What the contract asks for. Epsilon in 1e-6, delta in 1e-12, cost in the ledger's 1e-12."""

    kind: str
    purpose: str
    epsilon: int
    delta: int
    cost: int
    rows: int
    columns: frozenset[str]
    silos: int
    quorum: int
    approvals: int
    minimum_cell: int
    """Of statistics: cells of fewer rows are kept back. 0 where nothing is told by cell."""
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
class AskedOfCode:
    """What an analysis asks for: code of a researcher's own, ``bundle`` (SHA-256, hexadecimal), on some columns.

    ``bundle_approved``: the owner approved the code of exactly this digest.
    """

    purpose: str
    columns: frozenset[str]
    lead: str
    lead_known: bool
    bundle: str
    bundle_approved: bool


@dataclass(frozen=True, slots=True)
class Held:
    """The dataset as registered, and its domain's budget in the ledger's 1e-12.

    ``remaining`` is the least of what the domain and the caps beside it leave for who asks; ``capped_by`` names the cap
    that leaves less than the domain does, for the sentences alone.
    """

    registered: bool
    sensitivity: str
    rows: int
    columns: frozenset[str]
    unit: str
    budget: int
    remaining: int
    capped_by: str = ""


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
class CodeFacts:
    """One question to the policy: may this analysis be run here, now? ``analysis`` names it."""

    action: Literal["analyse"]
    analysis: str
    dataset_name: str
    study: AskedOfCode
    dataset: Held
    limits: Bounds
    sandbox: str
    now: int
    owner_approved: bool

    def context(self) -> dict[str, Any]:
        """The facts in JSON types, by the names that the Cedar schema gives them."""
        return {"study": _json(self.study) | _columns_outside(self.study, self)} | _circumstances(self)


@dataclass(frozen=True, slots=True)
class Facts:
    """One question to the policy: may this study do this here, now? Times are seconds since 1970."""

    action: StudyAction
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
        counted = {
            "recipients_not_allowed": sorted(self.study.recipients - self.limits.recipients),
            "recipient_count": len(self.study.recipients),
            "cost_percent": self.cost_percent,
        }
        asked = {"study": _json(self.study) | _columns_outside(self.study, self) | counted}
        return asked | _circumstances(self) | {"accepted_here": self.accepted_here}

    @property
    def cost_percent(self) -> int:
        """The study's cost in hundredths of the dataset's whole budget, rounded up; Cedar can't divide."""
        if self.dataset.budget <= 0:
            return 0 if self.study.cost <= 0 else LARGEST
        return min(-(-100 * self.study.cost // self.dataset.budget), LARGEST)


Question = Facts | CodeFacts


def weekday(now: int) -> int:
    """1 for Monday to 7 for Sunday (ISO 8601), in UTC. The first of January 1970 was a Thursday."""
    return (now // DAY_S + 3) % 7 + 1


def hour(now: int) -> int:
    """0 to 23, in UTC."""
    return now % DAY_S // HOUR_S


def _columns_outside(asked: Asked | AskedOfCode, question: Question) -> dict[str, Any]:
    return {
        "columns_not_registered": sorted(asked.columns - question.dataset.columns),
        "columns_not_granted": sorted(asked.columns - question.limits.columns),
    }


def _circumstances(question: Question) -> dict[str, Any]:
    return {
        "dataset": _json(question.dataset, without={"columns", "capped_by"}),
        "limits": _json(question.limits, without={"columns", "recipients"}),
        "silo": {"sandbox": question.sandbox},
        "now": question.now,
        "weekday": weekday(question.now),
        "hour": hour(question.now),
        "owner_approved": question.owner_approved,
    }


def _json(part: Asked | AskedOfCode | Held | Bounds, without: Set[str] = frozenset()) -> dict[str, Any]:
    values = {field.name: getattr(part, field.name) for field in fields(part) if field.name not in without}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}
