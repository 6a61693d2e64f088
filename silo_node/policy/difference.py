"""Two policy sets side by side: which rules differ, and which verdicts on made-up studies turn."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cedarpy

from silo_node.policy.document import PolicyDocument, Rule
from silo_node.policy.gate import Approval, Decision, Gate, Hold
from silo_node.policy.limits import OwnerLimits
from silo_node.policy.trial import trials

Word = Literal["allow", "hold", "refuse"]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that only one of the sets has, or that they have in two wordings; ``parts`` say what of it differs."""

    name: str
    change: Literal["added", "removed", "changed"]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """Studies on which the sets part in the same way: ``count`` of them, ``example`` with the fewest specialities."""

    action: str
    before: Word
    after: Word
    rule: str
    count: int
    example: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    rules: tuple[RuleChange, ...]
    turns: tuple[Turn, ...]
    asked: int


def word(decision: Decision) -> Word:
    """A decision in one word."""
    if isinstance(decision, Approval):
        return "allow"
    return "hold" if isinstance(decision, Hold) else "refuse"


def difference(before: PolicyDocument, after: PolicyDocument, limits: OwnerLimits) -> Difference:
    """What changes where ``after`` takes the place of ``before``, with the same ``limits``."""
    turns, asked = _turns(before, after, limits)
    return Difference(rule_changes(before, after), turns, asked)


def rule_changes(before: PolicyDocument, after: PolicyDocument) -> tuple[RuleChange, ...]:
    """The rules that differ, in the order of ``before``, then those that only ``after`` has."""
    return tuple(_rule_changes(before.rules, after.rules))


def _rule_changes(before: Iterable[Rule], after: Iterable[Rule]) -> Iterable[RuleChange]:
    old, new = {rule.name: rule for rule in before}, {rule.name: rule for rule in after}
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield RuleChange(name, "removed")
        elif name not in old:
            yield RuleChange(name, "added")
        elif parts := _parts(old[name], new[name]):
            yield RuleChange(name, "changed", parts)


def _parts(one: Rule, other: Rule) -> tuple[str, ...]:
    found = [
        part for part in ("effect", "hold", "found", "reason", "remedy") if getattr(one, part) != getattr(other, part)
    ]
    if _conditions(one) != _conditions(other):
        found.append("conditions")
    return tuple(found)


def _conditions(rule: Rule) -> object:
    """What the rule asks, without its sentences, blanks and comments."""
    (policy,) = json.loads(cedarpy.policies_to_json_str(rule.text))["staticPolicies"].values()
    return {part: value for part, value in policy.items() if part != "annotations"}


def _turns(before: PolicyDocument, after: PolicyDocument, limits: OwnerLimits) -> tuple[tuple[Turn, ...], int]:
    gates, found, asked = (Gate(before), Gate(after)), dict[tuple[str, Word, Word, str], list[tuple[str, ...]]](), 0
    for asked, trial in enumerate(trials(limits), 1):  # noqa: B007 - counted
        old, new = (gate.decide(trial.question) for gate in gates)
        if word(old) != word(new):
            decisive = old if isinstance(new, Approval) else new
            rule = "" if isinstance(decisive, Approval) else decisive.rule
            found.setdefault((trial.question.action, word(old), word(new), rule), []).append(trial.words)
    turns = (Turn(*key, len(words), min(words, key=len)) for key, words in found.items())
    return tuple(turns), asked
