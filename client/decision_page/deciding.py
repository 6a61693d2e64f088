"""A decision on a page of this machine: approve, object with a reason, or close it and decide nothing.

The page holds no key of the person's. What it gives back is a statement's body, which the command signs and posts by
its own connection; with a decision key in the charter, the body holds the assertion of a touch.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from client.decision_page.conversation import Done, Fields, Place, Unclear
from client.decision_page.local_page import Setting, serve
from client.decision_page.matter import Matter
from pages.charts import budget_bars
from pages.rendering import render
from protocol.decision import Asserted, Assertion, Decided, DecisionKey, challenge, check_assertion, decision_message
from protocol.errors import BadSignature
from protocol.ids import MAX_SENTENCE, Sentence

Body = TypeVar("Body", bound=Asserted)
StatementBody = TypeVar("StatementBody", bound=Decided)
Verdict = Literal["approve", "object"]
_REASON: Final = TypeAdapter[str](Sentence)
_SIGNED: Final = ("authenticator_data", "client_data", "signature")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen; an objection has a reason, an approval none."""

    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decision(Generic[Body]):
    """``body`` is ready to be signed: it holds the assertion, if the person has a decision key."""

    choice: Choice
    body: Body


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides, in which consortium, and the decision key that the charter in force has for them."""

    person: str
    consortium: str
    key: DecisionKey | None


@dataclass(frozen=True, slots=True)
class Draft(Generic[Body]):
    """A body without its assertion, and what the security key is to confirm: a type and a message."""

    body: Body
    kind: str
    message: bytes


def statement_draft(body: StatementBody) -> Draft[StatementBody]:
    """For a statement the message is its body."""
    return Draft(body, body.type, decision_message(body))


def decide_on_page(
    matter: Matter, decider: Decider, draft: Callable[[Choice], Draft[Body]], setting: Setting
) -> Decision[Body] | None:
    """Show ``matter`` in a browser on this machine; the decision, or None if the person closed it without one.

    ``draft`` makes the body for a choice, with ``assertion`` null; it is called anew for every attempt to confirm, and
    the body that comes back is the one that was confirmed. Raises ``NotDecided`` when the time is over.
    """
    return serve(Deciding(matter, decider, draft), setting)


@dataclass(slots=True)
class Deciding(Generic[Body]):
    """The conversation about one matter; see ``decide_on_page``."""

    matter: Matter
    decider: Decider
    draft: Callable[[Choice], Draft[Body]]
    asked: dict[Choice, Draft[Body]] = field(default_factory=dict)
    """The newest draft that a challenge was made for; one at a time."""

    def page(self, place: Place, trouble: str, fields: Fields) -> str:
        chart = budget_bars("What the study takes of each silo's budget", self.matter.bars)
        return render(
            "decision.html",
            place=place,
            matter=self.matter,
            decider=self.decider,
            chart=Markup(chart),  # noqa: S704  # every text in it is escaped
            trouble=trouble,
            reason=fields.get("reason", ""),
            longest=MAX_SENTENCE,
        )

    def challenge(self, fields: Fields) -> Mapping[str, Any]:
        choice = self._choice(fields)
        if self.decider.key is None or choice is None:
            raise Unclear("No security key is needed for this.")
        drafted = self.draft(choice)
        self.asked = {choice: drafted}
        asked = challenge(drafted.kind, drafted.message)
        return {"challenge": base64.b64encode(asked).decode(), "credential": self.decider.key.credential}

    def answer(self, fields: Fields) -> Done[Decision[Body] | None]:
        choice = self._choice(fields)
        if choice is None:
            return Done(render("decided.html", choice=None, matter=self.matter), None)
        body = self.draft(choice).body if self.decider.key is None else self._touched(choice, fields)
        return Done(render("decided.html", choice=choice, matter=self.matter), Decision(choice, body))

    def _touched(self, choice: Choice, fields: Fields) -> Body:
        drafted = self.asked.get(choice)
        if drafted is None or not all(fields.get(name) for name in _SIGNED):
            raise Unclear("Your entry in the charter has a security key: confirm with a touch of it.")
        try:
            assertion = Assertion.model_validate({name: fields[name] for name in _SIGNED})
            check_assertion(assertion, self.decider.key, drafted.kind, drafted.message)
        except ValidationError:
            raise Unclear("What the security key answered can't be read. Try again.") from None
        except BadSignature as refusal:
            raise Unclear(f"The touch was not taken: {refusal}") from None
        return drafted.body.model_copy(update={"assertion": assertion})

    def _choice(self, fields: Fields) -> Choice | None:
        """The choice in a form; None to close the page. Raises ``Unclear``."""
        verdict = fields.get("verdict")
        if verdict == "close":
            return None
        if verdict == "approve":
            return Choice("approve")
        if verdict != "object" or not self.matter.may_object:
            raise Unclear("Choose one of the buttons.")
        try:
            return Choice("object", _REASON.validate_python(" ".join(fields.get("reason", "").split())))
        except ValidationError:
            raise Unclear(
                f"An objection needs a reason: 1 to {MAX_SENTENCE} characters, all of them visible."
            ) from None
