"""Reading what comes next while what came before is worked on."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
_END: Final = object()


def read_ahead(items: Iterator[Item], ahead: int = 2) -> Generator[Item, None, None]:
    """``items`` in their order, fetched by a thread of its own that is up to ``ahead`` of them before its reader.

    What a fetch raises is raised in its place. Close it before what ``items`` reads from: that waits for the fetch that
    is under way, and makes no other.
    """
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = deque(thread.submit(next, items, _END) for _ in range(ahead))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(thread.submit(next, items, _END))
                yield item  # type: ignore[misc]  # The only other thing that it gives is _END.
        finally:
            thread.shutdown(cancel_futures=True)
