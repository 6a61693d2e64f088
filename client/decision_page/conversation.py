"""What a local page talks about: it shows something, may be asked for a challenge, and is answered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Value = TypeVar("Value")
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is served: the path that its forms go below, and the token that they bring."""

    path: str
    token: str


@dataclass(frozen=True, slots=True)
class Done(Generic[Value]):
    """The page's purpose is fulfilled: ``html`` is its last, ``value`` what the command goes on with."""

    html: str
    value: Value


class Unclear(Exception):
    """An answer that can't be taken; its text is shown on the page, which stays open."""


class Conversation(Protocol[Value]):
    """One page: what it shows, and what becomes of its form."""

    def page(self, place: Place, trouble: str, fields: Fields) -> str:
        """The page in HTML. ``trouble`` says why the last answer, with these ``fields``, was not taken, or is empty."""
        ...

    def challenge(self, fields: Fields) -> Mapping[str, Any]:
        """What a security key is to sign for the answer in ``fields``, as JSON. Raises ``Unclear``."""
        ...

    def answer(self, fields: Fields) -> Done[Value]:
        """Take the answer. Raises ``Unclear``, and nothing has happened then."""
        ...
