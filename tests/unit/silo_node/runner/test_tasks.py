"""Tasks and outcomes survive the pipe, and nothing else does."""

import numpy as np
import pytest

from protocol.errors import Malformed
from protocol.rounds import round_events
from protocol.study import StudyContract, parameter_count
from silo_node.dataset.catalogue import Checked, Registration
from silo_node.runner.messages import BadFrame, Frame, vector_bytes
from silo_node.runner.tasks import (
    CheckTask,
    EvaluateTask,
    NormaliseTask,
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

STATE = b"a study's state"


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
    outcome = outcome_from(task, outcome_frame(np.array([71.0, -2.5]), 1))
    assert outcome.vector.tolist() == [71.0, -2.5]
    assert outcome.steps_run == 1
    assert "71" not in repr(outcome)


@pytest.mark.parametrize(
    "frame",
    [
        outcome_frame(np.zeros(3), 1),
        outcome_frame(np.array([1.0, np.nan]), 1),
        outcome_frame(np.array([1.0, -np.inf]), 1),
        outcome_frame(np.zeros(2), 2),
        Frame({"reply": "outcome", "steps_run": True}, vector_bytes(np.zeros(2))),
        Frame({"reply": "outcome"}, vector_bytes(np.zeros(2))),
        Frame({"reply": "checked", "steps_run": 1}, vector_bytes(np.zeros(2))),
    ],
)
def test_what_is_no_outcome_of_the_round_is_refused(contract: StudyContract, frame: Frame) -> None:
    with pytest.raises(BadFrame):
        outcome_from(task_of_round(contract, "cleveland", 3, STATE), frame)
