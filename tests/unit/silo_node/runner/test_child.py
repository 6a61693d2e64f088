"""In the process that reads rows: tasks are answered, and failures quote nothing."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from compose import heart
from protocol.study import StudyContract, study_id
from silo_node.dataset import reading
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.dataset.schema import parse_schema
from silo_node.dataset.sources.source import Source
from silo_node.errors import DatasetRefused
from silo_node.runner.child import answer, serve
from silo_node.runner.messages import Frame, Payload, Pipe
from silo_node.runner.tasks import Task, task_frame, task_of_round
from silo_node.runner.work import Workshop
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.errors import TrainingRefused
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.noise import SeededNoise
from silo_node.training.rows import TrainingRows, scaled
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round
from tests.whole_states import initial_state, state_bytes

ROW = "Ada Lovelace, 63 years"


def task(contract: StudyContract, index: int = 1) -> Task:
    return task_of_round(contract, "cleveland", index, Payload.of(state_bytes(state_of(contract))))


def state_of(contract: StudyContract) -> StudyState:
    return initial_state(contract, study_id(contract))


def noise() -> SeededNoise:
    with pytest.warns(UserWarning):
        return SeededNoise(b"test")


def test_a_failure_says_where_and_of_which_class_and_not_with_what(contract: StudyContract) -> None:
    def work(_: Task) -> Frame:
        np.zeros(3)[5]  # Passes through numpy, raised here.
        raise AssertionError

    def quoting(_: Task) -> Frame:
        raise ValueError(f"could not convert string to float: {ROW}")

    reply = answer(task(contract), work)
    assert (reply.header["reply"], reply.header["kind"]) == ("failed", "IndexError")
    assert reply.header["where"].startswith("silo_node.runner.child:")
    reply = answer(task(contract), quoting)
    assert reply.header["kind"] == "ValueError"
    assert len(reply.header["incident"]) == 8
    assert "Ada" not in str(reply.header)
    assert reply.payload.size == 0


def test_two_failures_are_two_incidents(contract: StudyContract) -> None:
    def work(_: Task) -> Frame:
        raise MemoryError

    incidents = {answer(task(contract), work).header["incident"] for _ in range(2)}
    assert len(incidents) == 2


def test_refusals_of_our_own_keep_their_texts(contract: StudyContract) -> None:
    def refuse(_: Task) -> Frame:
        raise DatasetRefused("column age has a missing value in row 3")

    def stop(_: Task) -> Frame:
        raise TrainingRefused("model: diverged")

    assert answer(task(contract), refuse).header == {
        "reply": "refused",
        "reason": "column age has a missing value in row 3",
    }
    assert answer(task(contract), stop).header == {"reply": "stopped", "reason": "model: diverged"}


def test_garbage_is_answered_as_a_failure_and_ends_the_serving(contract: StudyContract) -> None:
    to_child, from_agent = os.pipe()
    to_agent, from_child = os.pipe()
    agent, child = Pipe(to_agent, from_agent), Pipe(to_child, from_child)
    serving = threading.Thread(target=serve, args=(child, lambda _: Frame({"reply": "done"})))
    serving.start()
    agent.send(task_frame(task(contract)))
    assert agent.receive().header == {"reply": "done"}
    os.write(from_agent, b"hunter2" * 10)
    assert agent.receive().header["kind"] == "BadFrame"
    serving.join(60)
    assert not serving.is_alive()
    for descriptor in (to_child, from_agent, to_agent, from_child):
        os.close(descriptor)


def test_training_and_statistics_see_the_training_rows_and_evaluation_the_held_out(
    contract: StudyContract, catalogue: Catalogue
) -> None:
    """The same seeded noise on both sides: what differs is a row too many or too few."""
    rows = catalogue.open("heart", contract.data, 0.34, "subject")
    assert 0 < rows.is_training.sum() < len(rows.is_training)
    training = TrainingRows(rows.features[rows.is_training], rows.target[rows.is_training])
    held_out = TrainingRows(rows.features[~rows.is_training], rows.target[~rows.is_training])
    state = state_of(contract)
    expected = (
        normalisation_sums(contract, scaled(contract, training.features), noise()),
        train_round(contract, "cleveland", training, state, noise()).vector,
        train_round(contract, "cleveland", training, state, noise()).vector,
        evaluation_counts(contract, held_out, state, noise()),
    )
    for index, vector in enumerate(expected):
        asked = task_of_round(contract, "cleveland", index, Payload.of(state_bytes(state)))
        frame = Workshop(catalogue, noise()).perform(asked)
        assert np.array_equal(np.frombuffer(frame.payload.whole(), "<f8"), vector)


def test_rows_are_read_once_and_again_when_the_file_changes(
    contract: StudyContract, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(source.read_bytes())
    catalogue = Catalogue(tmp_path / "datasets")
    declared = parse_schema(heart.SCHEMA, "heart")
    catalogue.add(
        register("heart", copy, declared, "patients", 50.0, 1e-3, 4, 300), catalogue.check, "2026-11-22T03:29:00Z"
    )
    opened: list[str] = []
    open_source = reading.open_source

    def counted(path: Path) -> Source:
        opened.append(path.suffix)
        return open_source(path)

    monkeypatch.setattr(reading, "open_source", counted)
    workshop = Workshop(catalogue, noise())
    assert workshop.perform(task(contract)).header["reply"] == "outcome"
    assert workshop.perform(task(contract, 2)).header["reply"] == "outcome"
    assert opened == [".csv"]
    copy.write_bytes(source.read_bytes() + b"\n")
    with pytest.raises(DatasetRefused, match="not what was registered"):
        workshop.perform(task(contract))
