"""The reason that goes with a no, as it was typed into a form."""

from collections.abc import Mapping
from typing import Final

from pydantic import TypeAdapter

from protocol.ids import MAX_SENTENCE, Sentence

NEEDED: Final = f"A reason is needed: 1 to {MAX_SENTENCE} characters, all of them visible. Nothing was decided."
_REASON: Final = TypeAdapter[str](Sentence)


def typed(fields: Mapping[str, str]) -> str:
    """In one line, unchecked."""
    return " ".join(fields.get("reason", "").split())


def reason_in(fields: Mapping[str, str]) -> str:
    """Raises ``ValidationError`` for one that can't be signed."""
    return _REASON.validate_python(typed(fields))
