"""What is fetched ahead comes in its order, whole, and stops where its reader or its source stops."""

import threading
from collections.abc import Iterator

import pytest

from silo_node.dataset.sources.read_ahead import read_ahead


def test_the_next_is_fetched_while_one_is_worked_on() -> None:
    second_asked = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        second_asked.set()
        yield 2

    reading = read_ahead(source())
    assert next(reading) == 1
    assert second_asked.wait(10), "nobody asked for the second while the first was in hand"
    assert list(reading) == [2]


def test_an_error_comes_after_all_that_was_read_before_it() -> None:
    def source() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("broken off")

    reading = read_ahead(source())
    assert [next(reading), next(reading)] == [1, 2]
    with pytest.raises(OSError, match="broken off"):
        next(reading)


def test_one_that_is_closed_early_asks_for_no_more_and_leaves_no_thread() -> None:
    asked = []

    def source() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    reading = read_ahead(source())
    next(reading)
    reading.close()
    assert len(asked) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_it_is_never_more_than_so_many_ahead() -> None:
    """Batches that pile up would be a second table in memory."""
    asked = []

    def source() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    for number in read_ahead(source(), ahead=3):
        assert len(asked) <= number + 4


def test_none_are_none() -> None:
    assert list(read_ahead(iter(()))) == []
