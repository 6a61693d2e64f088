"""How the owner reads what a policy decides: on a terminal of 80 columns, and as JSON for scripts."""

from collections.abc import Iterable
from typing import Any, Final

from rich.markup import escape
from rich.table import Column, Table

from silo_node.agent.rehearsal import Rehearsal
from silo_node.commands.options import out
from silo_node.policy.difference import Difference, word
from silo_node.policy.document import PolicyDocument, Rule
from silo_node.policy.explanation import Explanation, RuleVerdict
from silo_node.policy.gate import Approval

_COLOURS: Final = {
    "allows": "green",
    "allow": "green",
    "passes": "green",
    "has no say": "dim",
    "holds": "yellow",
    "hold": "yellow",
    "refuses": "red",
    "refuse": "red",
    "fails": "red",
}


def show_explanation(rehearsal: Rehearsal, document: PolicyDocument, told: Explanation) -> None:
    """Every rule, its verdict and its reason; where it stands in the way also what was found and what would help."""
    contract, facts = rehearsal.contract, rehearsal.facts
    out.print(f"[bold]{escape(contract.title)}[/bold], asked to {facts.action} on dataset {facts.dataset_name}")
    out.print(f"Policy {escape(document.name)}: {len(document.rules)} rules, {document.digest[:12]}", highlight=False)
    out.print(f"Assumed: {'; '.join(rehearsal.assumed)}.", highlight=False)
    table = Table("rule", "says", "why")
    for one in told.rules:
        table.add_row(one.rule.name, _coloured(one.says), _why(one))
    out.print(table)
    verdict = word(told.decision)
    by = "" if isinstance(told.decision, Approval) else f", by {', '.join(_stopping(told))}"
    out.print(f"Decision: {_coloured(verdict)}{by}.", highlight=False)


def explanation_value(rehearsal: Rehearsal, document: PolicyDocument, told: Explanation) -> dict[str, Any]:
    facts, decision = rehearsal.facts, told.decision
    return {
        "study": facts.study_id,
        "action": facts.action,
        "dataset": facts.dataset_name,
        "policy": document.digest,
        "facts": decision.facts,
        "assumed": list(rehearsal.assumed),
        "decision": word(decision),
        "by": _stopping(told),
        "rules": [
            {
                "rule": one.rule.name,
                "line": one.rule.line,
                "says": one.says,
                "reason": one.rule.reason,
                "found": one.found,
                "remedy": one.remedy,
            }
            for one in told.rules
        ],
    }


def show_rules(document: PolicyDocument) -> None:
    out.print(f"Policy {escape(document.name)}: {len(document.rules)} rules", highlight=False)
    out.print(f"SHA-256 {document.digest}", highlight=False)
    table = Table("line", "rule", "is a", "because")
    for rule in document.rules:
        table.add_row(str(rule.line), rule.name, _kind(rule), escape(rule.reason))
    out.print(table)


def rules_value(document: PolicyDocument) -> dict[str, Any]:
    return {
        "policy": document.name,
        "digest": document.digest,
        "rules": [
            {"rule": rule.name, "line": rule.line, "kind": _kind(rule), "reason": rule.reason}
            for rule in document.rules
        ],
    }


def show_difference(found: Difference, before: str, after: str) -> None:
    """Rules and verdicts that change where ``after`` takes the place of ``before``."""
    out.print(f"From {escape(before)} to {escape(after)}:", highlight=False)
    for one in found.rules:
        out.print(f"  {one.change:8}{one.name}{_parts(one.parts)}", highlight=False)
    if not found.rules:
        out.print("  no rule differs")
    turned = sum(turn.count for turn in found.turns)
    out.print(f"Of {found.asked} made-up questions under your limits, {turned} are decided otherwise.", highlight=False)
    if found.turns:
        table = Table("asked to", "was", "would be", Column("by rule", overflow="fold"), "such", "for example")
        for turn in found.turns:
            verdicts = (_coloured(turn.before), _coloured(turn.after))
            example = ", ".join(turn.example) or "nothing special"
            table.add_row(turn.action, *verdicts, turn.rule or "-", str(turn.count), example)
        out.print(table)


def difference_value(found: Difference) -> dict[str, Any]:
    return {
        "rules": [{"rule": one.name, "change": one.change, "parts": list(one.parts)} for one in found.rules],
        "asked": found.asked,
        "verdicts": [
            {
                "action": turn.action,
                "before": turn.before,
                "after": turn.after,
                "rule": turn.rule,
                "count": turn.count,
                "example": list(turn.example),
            }
            for turn in found.turns
        ],
    }


def _stopping(told: Explanation) -> list[str]:
    """The rules that the decision rests on: those that refuse or fail, else those that hold."""
    for kinds in ({"refuses", "fails"}, {"holds"}):
        names = [one.rule.name for one in told.rules if one.says in kinds]
        if names:
            return names
    return [] if isinstance(told.decision, Approval) else [told.decision.rule]


def _why(one: RuleVerdict) -> str:
    if not one.found:
        return escape(one.rule.reason)
    found = f"{one.found[:1].upper()}{one.found[1:]}."
    return escape(f"{found} {one.rule.reason}") + f"\n[bold]Would change it:[/bold] {escape(one.remedy)}"


def _kind(rule: Rule) -> str:
    return "hold" if rule.hold else rule.effect


def _coloured(said: str) -> str:
    return f"[{_COLOURS[said]}]{said}[/{_COLOURS[said]}]"


def _parts(parts: Iterable[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""
