"""Made-up questions, to see where two policies part: a study that keeps within every limit, and others beside it.

Each differs in one or two facts. Nothing in it is of a real study, dataset or person.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR
from itertools import combinations
from operator import attrgetter
from typing import Any, Final, get_args

from protocol.clauses import Purpose
from silo_node.dataset.schema import Sensitivity
from silo_node.policy.case import SandboxLevel
from silo_node.policy.facts import scaled
from silo_node.policy.limits import Mode, OwnerLimits
from silo_node.policy.question import (
    DAY_S,
    MICRO,
    PICO,
    Asked,
    AskedOfCode,
    Bounds,
    CodeFacts,
    Facts,
    Held,
    Question,
    StudyAction,
)

MONDAY_NOON: Final = 1_800_273_600
NAMED: Final = "0" * 64
BUDGET: Final = 10**12
PERSON, OTHER_PERSON = "a-member", "a-stranger"
MANY: Final = tuple(f"{PERSON}-{number}" for number in range(1, 10))
COLUMN, OTHER_COLUMN = "a-column", "another-column"


@dataclass(frozen=True, slots=True)
class Departure:
    """One fact that differs from the study within every limit; ``path`` names it, ``words`` say it."""

    path: str
    value: Any
    words: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A made-up question, and in words what is special about it, none for the one within every limit."""

    question: Question
    words: tuple[str, ...]


def trials(limits: OwnerLimits) -> Iterator[Trial]:
    """Questions under ``limits``: each step with each departure, and acceptance with each two of them."""
    base = _within(limits)
    found = _departures(base)
    for action in get_args(StudyAction):
        asked = replace(base, action=action, accepted_here=action != "accept")
        yield from (_trial(asked, chosen) for chosen in [(), *((one,) for one in found if _has(asked, one.path))])
    own = [one for one in found if _has(base, one.path)]
    pairs = (pair for pair in combinations(own, 2) if pair[0].path != pair[1].path)
    yield from (_trial(base, pair) for pair in pairs)
    code = _code(base)
    yield from (_trial(code, chosen) for chosen in [(), *((one,) for one in found if _has(code, one.path))])


def _trial(question: Question, departures: tuple[Departure, ...]) -> Trial:
    for one in departures:
        part, _, name = one.path.rpartition(".")
        if part:
            question = replace(question, **{part: replace(getattr(question, part), **{name: one.value})})
        else:
            question = replace(question, **{name: one.value})
    return Trial(question, tuple(one.words for one in departures))


def _has(question: Question, path: str) -> bool:
    part, _, name = path.rpartition(".")
    return hasattr(getattr(question, part) if part else question, name)


def _value(question: Question, path: str) -> Any:
    return attrgetter(path)(question)


def _departures(base: Facts) -> list[Departure]:
    found: dict[tuple[str, Any], Departure] = {}
    for one in (*_words(), *_numbers(base), *_yes_and_no(base)):
        if not _has(base, one.path) or _value(base, one.path) != one.value:
            found.setdefault((one.path, one.value), one)  # two bounds may be the same number
    return list(found.values())


def _words() -> Iterator[Departure]:
    yield from (Departure("study.purpose", name, f"purpose {name}") for name in get_args(Purpose))
    yield from (Departure("dataset.sensitivity", word, f"{word} data") for word in get_args(Sensitivity))
    yield from (Departure("sandbox", word, f"sandbox {word}") for word in get_args(SandboxLevel))
    yield Departure("study.unit", "record", "protects records")
    yield Departure("study.kind", "statistics", "statistics that tell of small cells")
    yield Departure("dataset.unit", "record", "a dataset that promises to protect records")
    yield Departure("study.legal_basis", "consent", "a legal basis that names no ethics vote")
    yield Departure("study.columns", frozenset({OTHER_COLUMN}), "a column that isn't granted")
    yield Departure("study.recipients", frozenset({OTHER_PERSON}), "a recipient who isn't allowed")
    yield Departure("study.recipients", frozenset(MANY), "nine recipients")


def _numbers(base: Facts) -> list[Departure]:
    limits = base.limits
    return [
        Departure("study.epsilon", limits.max_epsilon, "epsilon at the limit"),
        Departure("study.epsilon", limits.max_epsilon + 1, "epsilon just over the limit"),
        Departure("study.epsilon", limits.ask_epsilon, "epsilon where you are asked"),
        Departure("study.epsilon", limits.ask_epsilon + 1, "epsilon just above where you are asked"),
        Departure("study.delta", limits.max_delta + 1, "delta just over the limit"),
        Departure("study.cost", BUDGET // 10, "a tenth of the budget"),
        Departure("study.cost", BUDGET // 2, "half of the budget"),
        Departure("study.cost", BUDGET + 1, "more than the budget"),
        Departure("study.rows", base.study.rows + 1, "another row count"),
        Departure("study.silos", limits.min_silos - 1, "a silo too few"),
        Departure("study.quorum", limits.min_quorum - 1, "a quorum too small"),
        Departure("study.approvals", limits.min_approvals - 1, "too few must agree to the release"),
        Departure("study.expires_at", base.now, "it has ended"),
        Departure("study.expires_at", base.now + limits.max_seconds_ahead + 1, "an end too far away"),
        Departure("now", base.now + 5 * DAY_S, "on a Saturday"),
        Departure("now", base.now - DAY_S // 2, "at midnight"),
    ]


def _yes_and_no(base: Facts) -> list[Departure]:
    limits = base.limits
    return [
        Departure("study.sealed", False, "sums that aren't sealed"),
        Departure("study.lead_known", False, "a researcher who is new here"),
        Departure("study.approved_by_admin", False, "no approval by the admins"),
        Departure("dataset.registered", False, "a dataset that isn't registered"),
        Departure("owner_approved", True, "you said yes"),
        Departure(
            "limits.accepts_within_limits",
            not limits.accepts_within_limits,
            f'accept = "{_mode(not limits.accepts_within_limits)}"',
        ),
        Departure(
            "limits.releases_within_limits",
            not limits.releases_within_limits,
            f'release = "{_mode(not limits.releases_within_limits)}"',
        ),
        Departure("accepted_here", not base.accepted_here, "accepted here"),
        Departure("study.bundle_approved", True, "code that you approved"),
    ]


def _mode(within_limits: bool) -> Mode:
    return "within-limits" if within_limits else "ask"


def _within(limits: OwnerLimits) -> Facts:
    bounds = _bounds(limits)
    study = Asked(
        kind="training",
        purpose=min(bounds.purposes),
        epsilon=min(1, bounds.ask_epsilon),
        delta=min(1, bounds.max_delta),
        cost=1,
        rows=bounds.min_rows,
        columns=frozenset({COLUMN}),
        silos=bounds.min_silos,
        quorum=bounds.min_quorum,
        approvals=bounds.min_approvals,
        minimum_cell=0,
        sealed=True,
        unit="subject",
        expires_at=MONDAY_NOON + min(DAY_S, bounds.max_seconds_ahead),
        recipients=frozenset({PERSON}),
        lead=PERSON,
        lead_known=True,
        legal_basis="ethics vote of the board",
        approved_by_admin=True,
    )
    held = Held(True, "personal", bounds.min_rows, frozenset({COLUMN, OTHER_COLUMN}), "subject", BUDGET, BUDGET)
    return Facts("accept", NAMED, "a-dataset", study, held, bounds, "bubblewrap", MONDAY_NOON, False, False)


def _bounds(limits: OwnerLimits) -> Bounds:
    asking = limits.max_epsilon if limits.ask_epsilon is None else min(limits.ask_epsilon, limits.max_epsilon)
    return Bounds(
        purposes=frozenset(limits.purposes) or frozenset(get_args(Purpose)),
        columns=frozenset({COLUMN}),
        recipients=frozenset({PERSON, *MANY}),
        max_epsilon=scaled(limits.max_epsilon, MICRO, ROUND_FLOOR),
        ask_epsilon=scaled(asking, MICRO, ROUND_FLOOR),
        max_delta=scaled(limits.max_delta, PICO, ROUND_FLOOR),
        min_rows=limits.min_rows,
        min_silos=limits.min_silos,
        min_quorum=limits.min_quorum,
        min_approvals=limits.min_approvals,
        max_seconds_ahead=limits.max_days * DAY_S,
        accepts_within_limits=limits.accept == "within-limits",
        releases_within_limits=limits.release == "within-limits",
    )


def _code(base: Facts) -> CodeFacts:
    asked = AskedOfCode(base.study.purpose, base.study.columns, PERSON, True, NAMED, False)
    return CodeFacts(
        "analyse", NAMED, base.dataset_name, asked, base.dataset, base.limits, base.sandbox, base.now, False
    )
