"""Exact values for reviewed code: read by the process that reads rows, of the columns asked for, of nobody who left."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import DatasetRefused
from silo_node.runner.messages import BadFrame, Frame, Payload
from silo_node.runner.process import Runner
from silo_node.runner.tasks import ExtractTask, extract_from

SCHEMA = """
format: consortia-schema/1
title: People
sensitivity: special-category
columns:
  - {name: age, kind: number, minimum: 0, maximum: 120}
  - {name: bmi, kind: number, minimum: 10, maximum: 60}
  - {name: ill, kind: binary}
target: ill
subject: person
"""


@pytest.fixture
def people(tmp_path: Path) -> Catalogue:
    rows = {"person": ["p1", "p2", "p3"], "age": [30, 70, 50], "bmi": [20.5, 30.0, 25.0], "ill": [0, 1, 1]}
    pl.DataFrame(rows).write_csv(tmp_path / "people.csv")
    catalogue = Catalogue(tmp_path / "datasets")
    asked = register("people", tmp_path / "people.csv", parse_schema(SCHEMA, "here"), "all", 1.0, 1e-3, 4, 3)
    catalogue.add(asked, catalogue.check, "2026-11-22T03:29:00Z")
    return catalogue


def extracted(catalogue: Catalogue, *columns: str) -> list[list[float]]:
    file = io.BytesIO()
    with Runner(catalogue.folder, limit_s=120, warm=False) as runner:
        runner.extract(ExtractTask("people", columns), file)
    return np.frombuffer(file.getvalue(), "<f8").reshape(-1, len(columns)).tolist()


def test_the_columns_asked_for_come_in_the_order_asked_and_no_other(people: Catalogue) -> None:
    assert extracted(people, "ill", "age") == [[0.0, 30.0], [1.0, 70.0], [1.0, 50.0]]


def test_who_opted_out_is_not_among_the_rows(people: Catalogue) -> None:
    people.opt_outs.add("all", ["p2"], "2026-11-23T00:00:00Z")
    assert extracted(people, "age") == [[30.0], [50.0]]


def test_who_opts_out_while_the_process_is_kept_is_in_no_read_after(people: Catalogue) -> None:
    with Runner(people.folder, limit_s=120, warm=False) as runner:
        for left in (3, 2):
            file = io.BytesIO()
            assert runner.extract(ExtractTask("people", ("age",)), file) == 3 - left
            assert len(file.getvalue()) == 8 * left
            people.opt_outs.add("all", ["p2"], "2026-11-23T00:00:00Z")


def test_a_column_that_is_not_declared_or_a_source_that_was_changed_gives_nothing(people: Catalogue) -> None:
    for name in ("person", "salary"):
        with pytest.raises(DatasetRefused, match=f"declares no column {name}"):
            extracted(people, name)
    source = Path(people.get("people").source)
    source.write_text(source.read_text().replace("30.0", "31.0"))
    with pytest.raises(DatasetRefused, match="not what was registered"):
        extracted(people, "age", "bmi")


@pytest.mark.parametrize(
    "frame",
    [
        Frame({"reply": "outcome", "steps_run": 1}),
        Frame({"reply": "checked"}),
        Frame({"reply": "extracted", "left_out": 0}, Payload.of(bytes(12))),
        Frame({"reply": "extracted"}, Payload.of(bytes(16))),
        Frame({"reply": "extracted", "left_out": -1}, Payload.of(bytes(16))),
        Frame({"reply": "extracted", "left_out": True}, Payload.of(bytes(16))),
    ],
)
def test_an_answer_that_is_no_table_of_the_columns_is_refused(frame: Frame) -> None:
    with pytest.raises(BadFrame):
        extract_from(ExtractTask("people", ("age", "bmi")), frame, io.BytesIO())
