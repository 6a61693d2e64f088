"""Tasks and outcomes survive the pipe, and nothing else does."""

import io
from collections.abc import Iterator

import numpy as np
import pytest

from protocol.errors import Malformed
from protocol.rounds import round_events
from protocol.study import StudyContract
from protocol.training_study import parameter_count
from silo_node.dataset.registration import Checked, Registration
from silo_node.runner.messages import BadFrame, Frame, Payload, vector_payload
from silo_node.runner.tasks import (
    CheckTask,
    EvaluateTask,
    NormaliseTask,
    Outcome,
    TrainTask,
    checked_frame,
    checked_from,
    events_run,
    outcome_frame,
    outcome_from,
    round_of,
    task_frame,
    task_from,
    task_of_round,
    values_of,
)

STATE = Payload.of(b"a study's state")


def test_each_round_of_the_plan_has_its_task(contract: StudyContract) -> None:
    kinds = [type(task_of_round(contract, "cleveland", index, STATE)) for index in range(4)]
    assert kinds == [NormaliseTask, TrainTask, TrainTask, EvaluateTask]
    values = [values_of(task_of_round(contract, "cleveland", index, STATE)) for index in range(4)]
    assert values == [4, parameter_count(contract), parameter_count(contract), 2]


@pytest.mark.parametrize(("silo", "index"), [("cleveland", 4), ("cleveland", -1), ("nobody", 1)])
def test_a_round_or_silo_outside_the_contract_is_no_task(contract: StudyContract, silo: str, index: int) -> None:
    with pytest.raises(Malformed):
        task_of_round(contract, silo, index, STATE)


@pytest.mark.parametrize("index", range(4))
def test_a_round_task_survives_the_pipe(contract: StudyContract, index: int) -> None:
    task = task_of_round(contract, "cleveland", index, STATE)
    again = task_from(task_frame(task))
    assert again == task
    assert round_of(task) == index


def test_a_check_survives_the_pipe(registration: Registration) -> None:
    assert task_from(task_frame(CheckTask(registration))) == CheckTask(registration)
    checked = Checked("ab" * 32, 303, {"age": 1})
    assert checked_from(checked_frame(checked)) == checked
    assert "303" not in repr(checked)


def test_frames_that_are_no_tasks_are_refused(contract: StudyContract, registration: Registration) -> None:
    good = task_frame(task_of_round(contract, "cleveland", 1, STATE)).header
    check = task_frame(CheckTask(registration)).header
    for bad in (
        {},
        good | {"task": "shell"},
        good | {"task": "evaluate"},
        good | {"task": ["train"]},
        good | {"more": 1},
        good | {"round": "1"},
        good | {"round": 99},
        good | {"silo": "nobody"},
        good | {"silo": None},
        good | {"contract": {**good["contract"], "privacy": {}}},
        check | {"registration": check["registration"] | {"name": "../x"}},
        check | {"registration": None},
    ):
        with pytest.raises(BadFrame):
            task_from(Frame(bad, STATE))


@pytest.mark.parametrize("index", range(4))
def test_all_steps_run_cost_what_the_contract_planned(contract: StudyContract, index: int) -> None:
    task = task_of_round(contract, "cleveland", index, STATE)
    steps = 5 if isinstance(task, TrainTask) else 1
    assert events_run(task, steps) == round_events(contract, "cleveland", index)
    assert events_run(task, 0) == ()


def test_fewer_steps_cost_less_and_more_are_refused(contract: StudyContract) -> None:
    task = task_of_round(contract, "cleveland", 1, STATE)
    (event,) = events_run(task, 3)
    assert event.kind == "sampled_gaussian"
    assert event.steps == 3
    for steps in (-1, 6):
        with pytest.raises(BadFrame, match="steps were reported"):
            events_run(task, steps)


def test_an_outcome_survives_the_pipe(contract: StudyContract) -> None:
    task = task_of_round(contract, "cleveland", 3, STATE)
    file = io.BytesIO()
    outcome = outcome_from(task, outcome_frame(np.array([71.0, -2.5]), 1), file)
    assert np.frombuffer(file.getvalue(), "<f8").tolist() == [71.0, -2.5]
    assert outcome == Outcome(1, round_events(contract, "cleveland", 3))


def test_a_training_outcome_says_which_engine_clipped_in_one_short_line(contract: StudyContract) -> None:
    task = task_of_round(contract, "cleveland", 1, STATE)
    vector = np.zeros(values_of(task))
    said = "engine=bookkeeping because every trainable parameter stands in a linear layer of one chain"
    assert outcome_from(task, outcome_frame(vector, 5, 0, said), io.BytesIO()).engine == said
    for unsound in ("", "two\nlines", "long" * 200, 7):
        with pytest.raises(BadFrame):
            outcome_from(task, outcome_frame(vector, 5, 0, unsound), io.BytesIO())  # type: ignore[arg-type]
    with pytest.raises(BadFrame):
        outcome_from(
            task_of_round(contract, "cleveland", 3, STATE), outcome_frame(np.zeros(2), 1, 0, said), io.BytesIO()
        )


@pytest.mark.parametrize(
    "frame",
    [
        outcome_frame(np.zeros(3), 1),
        outcome_frame(np.array([1.0, np.nan]), 1),
        outcome_frame(np.array([1.0, -np.inf]), 1),
        outcome_frame(np.zeros(2), 2),
        Frame({"reply": "outcome", "steps_run": True, "left_out": 0}, vector_payload(np.zeros(2))),
        Frame({"reply": "outcome"}, vector_payload(np.zeros(2))),
        Frame({"reply": "checked", "steps_run": 1, "left_out": 0}, vector_payload(np.zeros(2))),
    ],
)
def test_what_is_no_outcome_of_the_round_is_refused(contract: StudyContract, frame: Frame) -> None:
    with pytest.raises(BadFrame):
        outcome_from(task_of_round(contract, "cleveland", 3, STATE), frame, io.BytesIO())


def test_a_vector_of_another_length_is_refused_before_it_is_read(contract: StudyContract) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the payload was read")
        yield b""

    frame = Frame({"reply": "outcome", "steps_run": 1, "left_out": 0}, Payload(24, never()))
    with pytest.raises(BadFrame, match="a vector of 24 bytes, not of 2 float64"):
        outcome_from(task_of_round(contract, "cleveland", 3, STATE), frame, io.BytesIO())


def test_a_vector_is_written_as_it_arrives_until_a_value_is_not_finite(contract: StudyContract) -> None:
    first, second = np.array([1.0]).tobytes(), np.array([np.inf]).tobytes()
    file, frame = io.BytesIO(), Frame({"reply": "outcome", "steps_run": 1, "left_out": 0}, Payload(16, (first, second)))
    with pytest.raises(BadFrame, match="not finite"):
        outcome_from(task_of_round(contract, "cleveland", 3, STATE), frame, file)
    assert file.getvalue() == first
