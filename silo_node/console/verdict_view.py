"""What the owner's policy says, as a page shows it: every rule, those that stand in the way first."""

from dataclasses import dataclass
from typing import Final, Literal

from silo_node.policy.explanation import Explanation, RuleVerdict, Says
from silo_node.policy.gate import Approval, Breach, Decision, Hold, Refusal

Look = Literal["good", "bad", "wait"]
ORDER: Final[tuple[Says, ...]] = ("fails", "refuses", "holds")
"""What stands in the way, the worst first."""
UNUSABLE: Final = "Your policy can't be used, so nothing is allowed."


@dataclass(frozen=True, slots=True)
class Headlines:
    """The sentence above the rules, by decision."""

    allowed: str
    held: str = "Your policy refuses nothing here, and leaves the decision to you."
    refused: str = "Your policy refuses it. A yes of yours would not lift that: only other limits would."
    unread: str = "No verdict yet: the node has not read the charter."


@dataclass(frozen=True, slots=True)
class Verdict:
    """``stopping``: the rules that fail, refuse or hold; ``passing``: the others, in the text's order.

    ``besides``: what the decision rests on where that is no rule of the policy. ``detail``: what Cedar said.
    """

    look: Look
    headline: str
    stopping: tuple[RuleVerdict, ...] = ()
    passing: tuple[RuleVerdict, ...] = ()
    besides: tuple[Breach, ...] = ()
    detail: str = ""

    @property
    def rests_on(self) -> list[str]:
        """Look and names, without sentences: those may tell the time."""
        return [self.look, *(one.rule.name for one in self.stopping), *(one.rule for one in self.besides)]


def verdict_view(told: Explanation | str | None, headlines: Headlines) -> Verdict:
    """``told`` is a text where the policy can't be used, None before the log showed a charter."""
    if told is None:
        return Verdict("wait", headlines.unread)
    if isinstance(told, str):
        return Verdict("bad", UNUSABLE, detail=told)
    stopping = tuple(one for says in ORDER for one in told.rules if one.says == says)
    passing = tuple(one for one in told.rules if one.says not in ORDER)
    look, headline, detail = _head(told.decision, headlines)
    return Verdict(look, headline, stopping, passing, _besides(told.decision, stopping), detail)


def _head(decision: Decision, headlines: Headlines) -> tuple[Look, str, str]:
    match decision:
        case Approval():
            return "good", headlines.allowed, ""
        case Hold():
            return "wait", headlines.held, ""
        case Refusal():
            return "bad", headlines.refused, decision.detail


def _besides(decision: Decision, stopping: tuple[RuleVerdict, ...]) -> tuple[Breach, ...]:
    if isinstance(decision, Approval) or decision.rule in {one.rule.name for one in stopping}:
        return ()
    return (Breach(decision.rule, decision.reason),)
