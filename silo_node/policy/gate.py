"""The gate: facts in, one decision out, as a value that names its rule.

Cedar skips a policy that fails while it is evaluated, so a broken forbid would let everything through. Here
any error, any answer other than a clean yes or no, and any rule that can't be told by name, is a refusal.
"""

import json
from dataclasses import dataclass
from typing import Literal

import cedarpy

from protocol import canonical
from silo_node.policy.document import PolicyDocument, Rule, schema
from silo_node.policy.facts import Action, Facts
from silo_node.policy.wording import fill_in

POLICY_ERROR = "policy-error"
MAX_REASON = 1500


@dataclass(frozen=True, slots=True)
class Approval:
    """Yes. ``policy`` and ``facts`` are digests (hexadecimal) of the policy text and of all it was decided on."""

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
    """Not yet: a person has to decide, by ``rule``."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, by ``rule``; ``further`` are the other rules that it breaks.

    ``reason`` may be sent. ``detail`` is for the owner's own eyes: what Cedar said when it failed.
    """

    rule: str
    reason: str
    further: tuple[Breach, ...] = ()
    detail: str = ""


Decision = Approval | Hold | Refusal


class PolicyFault(Exception):
    """The policy gave no answer that can be relied upon."""


class Gate:
    """Decides by one policy set, which was parsed once."""

    def __init__(self, document: PolicyDocument) -> None:
        self.document = document
        self._policies = cedarpy.PolicySet.from_str(document.text)

    def decide(self, facts: Facts) -> Decision:
        """Whether the study may do what it asks. Never raises: what goes wrong is a refusal."""
        try:
            return self._decide(facts)
        except PolicyFault as fault:
            return _fault(str(fault))
        except Exception as problem:  # noqa: BLE001 - whatever fails in here must not become a yes
            return _fault(f"{type(problem).__name__}: {problem}")

    def _decide(self, facts: Facts) -> Decision:
        context = json.dumps(facts.context(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        allowed, rules = self._ask(facts, context)
        if allowed:
            return Approval(
                self.document.digest,
                canonical.digest(f"{facts.action}:{facts.study_id}:{facts.dataset_name}:{context}".encode()),
                facts.action,
                facts.study_id,
                "owner" if facts.owner_approved else "owner-rule",
            )
        breaches = [Breach(rule.name, _told(rule, facts)) for rule in rules if not rule.hold]
        if breaches:
            return Refusal(breaches[0].rule, breaches[0].reason, tuple(breaches[1:]))
        return Hold(rules[0].name, _told(rules[0], facts))

    def _ask(self, facts: Facts, context: str) -> tuple[bool, list[Rule]]:
        """Cedar's answer and the rules it rests on, in the text's order. Raises PolicyFault unless it is sound."""
        request = {
            "principal": {"type": "Study", "id": facts.study_id},
            "action": {"type": "Action", "id": facts.action},
            "resource": {"type": "Dataset", "id": facts.dataset_name},
            "context": context,
        }
        answer = cedarpy.is_authorized(request, self._policies, [], schema())
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


def _told(rule: Rule, facts: Facts) -> str:
    found = fill_in(rule.found, facts)
    sentences = (f"{found[:1].upper()}{found[1:]}.", fill_in(rule.reason, facts), fill_in(rule.remedy, facts))
    return " ".join(sentences)[:MAX_REASON]


def _fault(detail: str) -> Refusal:
    reason = (
        "The silo's policy could not be evaluated, so nothing is allowed. "
        "The silo's owner has to check the policy and limits files."
    )
    return Refusal(POLICY_ERROR, reason, detail=detail[:MAX_REASON])
