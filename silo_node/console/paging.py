"""Long lists in pages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """Page ``page`` of ``pages``, both from 1; ``first`` is the index of its first line among ``total``."""

    page: int
    pages: int
    first: int
    total: int


def cut(total: int, size: int, page: int) -> Cut:
    """The page asked for, or the nearest there is."""
    pages = max(1, -(-total // size))
    page = min(max(page, 1), pages)
    return Cut(page, pages, (page - 1) * size, total)
