"""The gate: facts in, one decision out, as a value that names its rule.

Cedar skips a policy that fails while it is evaluated, so a broken forbid would let everything through. Here
any error, any answer other than a clean yes or no, and any rule that can't be told by name, is a refusal.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

import cedarpy

from protocol import canonical
from silo_node.policy.document import PolicyDocument, Rule, schema
from silo_node.policy.question import Action, CodeFacts, Facts, Question
from silo_node.policy.wording import fill_in

POLICY_ERROR = "policy-error"
MAX_REASON = 1500


@dataclass(frozen=True, slots=True)
class Approval:
    """Yes. ``policy`` and ``facts`` are digests (hexadecimal) of the policy text and of all it was decided on.

    ``study`` is the id of the study, or of the analysis.
    """

    policy: str
    facts: str
    action: Action
    study: str
    decided_by: Literal["owner", "owner-rule"]


@dataclass(frozen=True, slots=True)
class Breach:
    """One rule that stands in the way, and why: what was found, the bound it broke, and what would help."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not yet: a person has to decide, by ``rule``; ``further`` are the other rules that wait for a person.

    ``policy`` and ``facts`` as in ``Approval``.
    """

    rule: str
    reason: str
    further: tuple[Breach, ...] = ()
    policy: str = ""
    facts: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, by ``rule``; ``further`` are the other rules that it breaks. ``policy`` and ``facts`` as in ``Approval``; no
    facts where the question itself was at fault.

    ``reason`` may be sent. ``detail`` is for the owner's own eyes: what Cedar said when it failed.
    """

    rule: str
    reason: str
    further: tuple[Breach, ...] = ()
    policy: str = ""
    facts: str = ""
    detail: str = ""


Decision = Approval | Hold | Refusal


class PolicyFault(Exception):
    """The policy gave no answer that can be relied upon."""


class Gate:
    """Decides by one policy set, which was parsed once."""

    def __init__(self, document: PolicyDocument) -> None:
        self.document = document
        self._policies = cedarpy.PolicySet.from_str(document.text)

    def decide(self, facts: Question) -> Decision:
        """Whether the study may do what it asks. Never raises: what goes wrong is a refusal."""
        try:
            return self._decide(facts)
        except PolicyFault as fault:
            return self._fault(str(fault))
        except Exception as problem:  # noqa: BLE001 - whatever fails in here must not become a yes
            return self._fault(f"{type(problem).__name__}: {problem}")

    def _decide(self, facts: Question) -> Decision:
        context = json.dumps(facts.context(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        asked = f"{facts.action}:{asking(facts)}:{facts.dataset_name}:{context}"
        policy, weighed = self.document.digest, canonical.digest(asked.encode())
        allowed, rules = self._ask(facts, context)
        if allowed:
            by: Literal["owner", "owner-rule"] = "owner" if facts.owner_approved else "owner-rule"
            return Approval(policy, weighed, facts.action, asking(facts), by)
        refusing = [rule for rule in rules if not rule.hold]
        first, *further = [Breach(rule.name, told(rule, facts)) for rule in refusing or rules]
        return (Refusal if refusing else Hold)(first.rule, first.reason, tuple(further), policy, weighed)

    def _ask(self, facts: Question, context: str) -> tuple[bool, list[Rule]]:
        """Cedar's answer and the rules it rests on, in the text's order. Raises PolicyFault unless it is sound."""
        answer = cedarpy.is_authorized(request_of(facts, context), self._policies, [], schema())
        if answer.diagnostics.errors:
            raise PolicyFault("; ".join(answer.diagnostics.errors))
        if answer.decision not in (cedarpy.Decision.Allow, cedarpy.Decision.Deny):
            raise PolicyFault("the policy came to no decision")
        allowed = answer.decision is cedarpy.Decision.Allow
        return allowed, self._determining(answer.diagnostics, "permit" if allowed else "forbid")

    def _determining(self, diagnostics: cedarpy.Diagnostics, effect: str) -> list[Rule]:
        if not diagnostics.reasons:
            raise PolicyFault("no rule of the policy permits or forbids this")
        named = {diagnostics.id_annotations_by_reason.get(key) for key in diagnostics.reasons}
        rules = [rule for rule in self.document.rules if rule.name in named]
        if len(rules) != len(diagnostics.reasons) or any(r.effect != effect or not r.reason for r in rules):
            raise PolicyFault("a rule that decided this has no @id or @reason of its own")
        return rules

    def _fault(self, detail: str) -> Refusal:
        reason = (
            "The silo's policy could not be evaluated, so nothing is allowed. "
            "The silo's owner has to check the policy and limits files."
        )
        return Refusal(POLICY_ERROR, reason, policy=self.document.digest, detail=detail[:MAX_REASON])


def request_of(facts: Question, context: str) -> dict[str, Any]:
    """The question as Cedar takes it. ``context``: the facts as JSON."""
    return {
        "principal": {"type": "Study" if isinstance(facts, Facts) else "Analysis", "id": asking(facts)},
        "action": {"type": "Action", "id": facts.action},
        "resource": {"type": "Dataset", "id": facts.dataset_name},
        "context": context,
    }


def asking(facts: Question) -> str:
    """The id of the study or of the analysis that the question is about."""
    return facts.analysis if isinstance(facts, CodeFacts) else facts.study_id


def told(rule: Rule, facts: Question) -> str:
    """Why a rule stands in the way, in sentences: what was found, the reason, and what would help."""
    found = fill_in(rule.found, facts)
    sentences = (f"{found[:1].upper()}{found[1:]}.", fill_in(rule.reason, facts), fill_in(rule.remedy, facts))
    return " ".join(sentences)[:MAX_REASON]
