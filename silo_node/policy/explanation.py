"""Every rule of a policy set by itself: what it says of one question, what it found, and what would change it.

The decision is the gate's own, on the whole set. A rule is asked alone, so that each is told of, and not only those
that Cedar names for the decision. Where the two don't agree, the answer is no.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cedarpy

from silo_node.policy.document import PolicyDocument, Rule, schema
from silo_node.policy.gate import POLICY_ERROR, Approval, Decision, Gate, Hold, Refusal, request_of
from silo_node.policy.question import Question
from silo_node.policy.wording import fill_in

Says = Literal["allows", "has no say", "passes", "holds", "refuses", "fails"]
"""A permit allows or has no say; a forbid passes, holds or refuses; either fails where Cedar gives no clean answer."""


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule says. ``found`` and ``remedy`` are filled in where it stands in the way, else empty."""

    rule: Rule
    says: Says
    found: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The gate's decision, and every rule in the text's order."""

    decision: Decision
    rules: tuple[RuleVerdict, ...]


def explanation_of(document: PolicyDocument, question: Question) -> Explanation:
    """What ``document`` decides on ``question``, rule by rule. Never raises: a rule that can't be asked ``fails``."""
    decision = Gate(document).decide(question)
    rules = tuple(_verdict(rule, question) for rule in document.rules)
    if not _agree(decision, rules):
        told = "The rules one by one don't come to what they decide together, so nothing is allowed."
        decision = Refusal(POLICY_ERROR, told, policy=document.digest)
    return Explanation(decision, rules)


def _verdict(rule: Rule, question: Question) -> RuleVerdict:
    try:
        applies = _applies(rule, question)
        if rule.effect == "permit":
            return RuleVerdict(rule, "allows" if applies else "has no say")
        if not applies:
            return RuleVerdict(rule, "passes")
        says: Says = "holds" if rule.hold else "refuses"
        return RuleVerdict(rule, says, fill_in(rule.found, question), fill_in(rule.remedy, question))
    except Exception as problem:  # noqa: BLE001 - whatever fails in here must not become a yes
        return RuleVerdict(rule, "fails", f"{type(problem).__name__}: {problem}", "Mend this rule.")


@lru_cache(maxsize=256)
def _alone(text: str) -> Any:
    """A policy set of one rule, parsed once."""
    return cedarpy.PolicySet.from_str(text)


def _applies(rule: Rule, question: Question) -> bool:
    """Whether the rule's scope and conditions are met. Raises ValueError where Cedar comes to no clean answer."""
    context = json.dumps(question.context(), allow_nan=False)
    answer: Any = cedarpy.is_authorized(request_of(question, context), _alone(rule.text), [], schema())
    errors, reasons = answer.diagnostics.errors, answer.diagnostics.reasons
    allowed = bool(reasons) and rule.effect == "permit"
    expected = cedarpy.Decision.Allow if allowed else cedarpy.Decision.Deny
    if errors or answer.decision is not expected or len(reasons) > 1:
        raise ValueError("; ".join(errors) or "Cedar came to no decision")
    return bool(reasons)


def _agree(decision: Decision, rules: tuple[RuleVerdict, ...]) -> bool:
    said = {one.says for one in rules}
    if isinstance(decision, Approval):
        return "allows" in said and not said & {"holds", "refuses", "fails"}
    if isinstance(decision, Hold):
        return "holds" in said and not said & {"refuses", "fails"}
    return True
