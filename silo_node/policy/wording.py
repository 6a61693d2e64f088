"""The words in braces of a policy's annotations: each fact as a data owner would read it."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from protocol.ids import timestamp
from silo_node.policy.question import DAY_S, MICRO, PICO, CodeFacts, Facts, Question

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SHOWN_NAMES = 5
_SHOWN_LETTERS, _SHOWN_DIGEST = 80, 12


def placeholders(sentence: str) -> set[str]:
    """The names in braces in ``sentence``."""
    return set(_PLACEHOLDER.findall(sentence))


def fill_in(sentence: str, facts: Question) -> str:
    """``sentence`` with each name in braces replaced by its fact. Raises KeyError for an unknown name."""
    return _PLACEHOLDER.sub(lambda found: word(found[1], facts), sentence)


def word(name: str, facts: Question) -> str:
    """One fact as a data owner would read it. Raises KeyError for a name that such a question has no fact for."""
    if name in OF_ANY:
        return OF_ANY[name](facts)
    return OF_STUDIES[name](facts) if isinstance(facts, Facts) else OF_CODE[name](facts)


def _fraction(units: int, scale: int) -> str:
    number = Decimal(units) / scale
    return f"{number.normalize():f}" if number == 0 or number >= Decimal("0.001") else f"{float(number):g}"


def _share(part: int, whole: int, rounding: str) -> str:
    if whole <= 0:
        return "nothing" if part <= 0 else "more than all"
    return f"{(Decimal(100) * part / whole).quantize(Decimal('0.01'), rounding)} %"


def _remaining(facts: Facts) -> str:
    """With the cap that leaves less than the dataset's budget does, where there is one."""
    held = facts.dataset
    capped = f" (by your cap on {held.capped_by})" if held.capped_by else ""
    return _share(held.remaining, held.budget, ROUND_FLOOR) + capped


def _some(names: Iterable[str]) -> str:
    known = sorted(names)
    shown = ", ".join(known[:_SHOWN_NAMES]) or "none"
    return f"{shown} and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else shown


def _begun(text: str) -> str:
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."


def _time(seconds: int) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))


OF_ANY: dict[str, Callable[[Question], str]] = {
    "dataset": lambda f: f.dataset_name,
    "purpose": lambda f: f.study.purpose,
    "purposes": lambda f: _some(f.limits.purposes),
    "lead": lambda f: f.study.lead,
    "columns_not_registered": lambda f: _some(f.study.columns - f.dataset.columns),
    "columns_not_granted": lambda f: _some(f.study.columns - f.limits.columns),
    "sensitivity": lambda f: f.dataset.sensitivity,
    "sandbox": lambda f: f.sandbox,
    "published_rows": lambda f: str(f.dataset.rows),
    "min_rows": lambda f: str(f.limits.min_rows),
    "now": lambda f: _time(f.now),
}
"""The names that may stand in braces in every rule, and how they read."""

OF_STUDIES: dict[str, Callable[[Facts], str]] = {
    "legal_basis": lambda f: _begun(f.study.legal_basis),
    "recipients": lambda f: _some(f.study.recipients),
    "recipient_count": lambda f: str(len(f.study.recipients)),
    "recipients_not_allowed": lambda f: _some(f.study.recipients - f.limits.recipients),
    "rows": lambda f: str(f.study.rows),
    "unit": lambda f: f.study.unit,
    "dataset_unit": lambda f: f.dataset.unit,
    "epsilon": lambda f: _fraction(f.study.epsilon, MICRO),
    "ask_epsilon": lambda f: _fraction(f.limits.ask_epsilon, MICRO),
    "max_epsilon": lambda f: _fraction(f.limits.max_epsilon, MICRO),
    "delta": lambda f: _fraction(f.study.delta, PICO),
    "max_delta": lambda f: _fraction(f.limits.max_delta, PICO),
    # Rounded apart, so that a cost just over what is left doesn't read like one that fits.
    "cost_share": lambda f: _share(f.study.cost, f.dataset.budget, ROUND_CEILING),
    "remaining_share": _remaining,
    "silos": lambda f: str(f.study.silos),
    "min_silos": lambda f: str(f.limits.min_silos),
    "quorum": lambda f: str(f.study.quorum),
    "min_quorum": lambda f: str(f.limits.min_quorum),
    "approvals": lambda f: str(f.study.approvals),
    "kind": lambda f: f.study.kind,
    "minimum_cell": lambda f: str(f.study.minimum_cell),
    "min_approvals": lambda f: str(f.limits.min_approvals),
    "expires_at": lambda f: _time(f.study.expires_at),
    "max_days": lambda f: str(f.limits.max_seconds_ahead // DAY_S),
}
"""Those of rules about studies."""

OF_CODE: dict[str, Callable[[CodeFacts], str]] = {
    "bundle": lambda f: f.study.bundle[:_SHOWN_DIGEST],
}
"""Those of rules about code that a researcher brings."""

VOCABULARY = frozenset(OF_ANY.keys() | OF_STUDIES.keys() | OF_CODE.keys())
