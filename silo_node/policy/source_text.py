"""Cedar text as its owner sees it: one statement after the other, each with the line that it begins on.

Cedar's parser tells what is wrong and not where, so the text is cut here, at the semicolons that end statements.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r"""(?P<comment>//[^\n]*)|(?P<string>"(?:\\.|[^"\\])*")|(?P<end>;)|(?P<blank>\s+)|.""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement's text, from its first annotation to its semicolon, and its line, counted from 1."""

    line: int
    text: str


def statements(text: str) -> tuple[Statement, ...]:
    """The statements of ``text`` in its order; the last may lack its semicolon."""
    return tuple(_cut(text))


def comments(text: str) -> list[str]:
    """The comments of ``text`` in its order, without the blanks around them."""
    return [found["comment"].strip() for found in _TOKEN.finditer(text) if found["comment"] is not None]


def _cut(text: str) -> Iterator[Statement]:
    begun: int | None = None
    for found in _TOKEN.finditer(text):
        if begun is None and found["comment"] is None and found["blank"] is None:
            begun = found.start()
        if begun is not None and found["end"] is not None:
            yield _statement(text, begun, found.end())
            begun = None
    if begun is not None:
        yield _statement(text, begun, len(text))


def _statement(text: str, begin: int, end: int) -> Statement:
    return Statement(text.count("\n", 0, begin) + 1, text[begin:end])
