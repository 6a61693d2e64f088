"""Reading what comes next while what came before is worked on."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
_END: Final = object()


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """``items`` in their order, one ahead, fetched by a thread of its own; what a fetch raises is raised in its place.

    Close it before what ``items`` reads from: closing waits for the fetch that is under way.
    """
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = thread.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]  # The only other thing that it gives is _END.
