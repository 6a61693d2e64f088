"""What a query gives is read while it is being written, and half of it is refused."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pyarrow
import pytest

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema, parse_schema
from silo_node.dataset.sources.fetched import FetchedQuery, write_fetched

FIRST, SECOND = ({"age": pyarrow.array([float(one), 2.0])} for one in (1, 3))


@pytest.fixture
def schema() -> Schema:
    head = "format: consortia-schema/1\ntitle: T\nsensitivity: personal\ntarget: ill\ncolumns:\n"
    return parse_schema(
        head + "  - {name: age, kind: number, minimum: 0, maximum: 9}\n  - {name: ill, kind: binary}\n", "t"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "answer.fetched"
    os.close(os.open(path, os.O_CREAT, 0o600))
    return path


def batch(columns: dict[str, pyarrow.Array]) -> pyarrow.RecordBatch:
    return pyarrow.record_batch(columns | {"ill": pyarrow.array([0, 1])})


def read(path: Path, schema: Schema, seen: Callable[[], object] = lambda: None) -> list[float]:
    ages: list[float] = []
    for frame in FetchedQuery(path).batches(schema, lambda _: None):
        ages += frame["age"].to_list()
        seen()
    return ages


def test_a_batch_is_read_before_the_next_one_is_written(path: Path, schema: Schema) -> None:
    one_is_read = Event()

    def batches() -> Iterator[pyarrow.RecordBatch]:
        yield batch(FIRST)
        assert one_is_read.wait(30)
        yield batch(SECOND)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read, path, schema, one_is_read.set)
        with path.open("wb", buffering=0) as file:
            write_fetched(file, batches())
        assert reading.result(30) == [1.0, 2.0, 3.0, 2.0]


def test_an_answer_without_a_batch_holds_no_rows(path: Path, schema: Schema) -> None:
    with path.open("wb") as file:
        write_fetched(file, [])
    assert read(path, schema) == []


@pytest.mark.parametrize("kept", [0, 3, 100, -100, -8, -1])
def test_an_answer_that_broke_off_is_refused_wherever_that_was(kept: int, path: Path, schema: Schema) -> None:
    with path.open("wb") as file:
        write_fetched(file, [batch(FIRST), batch(SECOND)])
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    path.chmod(0o400)  # Nothing more will come.
    with pytest.raises(ContentRefused):
        read(path, schema)
