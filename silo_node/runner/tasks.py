"""What the process that reads rows is asked to do, what it answers, and both as frames.

What comes back is a DP vector ready to be sealed, or, for reviewed code alone, granted values for its box. The agent
hands state, vector and values on in blocks, from a file and into one, and holds none. Importing this module loads
neither torch nor polars.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO, Final, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from protocol import canonical
from protocol.errors import ProtocolError
from protocol.rounds import last_round, plan_round
from protocol.spend import Event, Gaussian, SampledGaussian
from protocol.statistics_study import StatisticsContract, statistics_events
from protocol.study import StudyContract, contract_value, parse_contract
from protocol.training_study import TrainingContract, evaluation_events, normalisation_events, training_events
from silo_node.dataset.persons import TAG_BYTES
from silo_node.dataset.registration import Checked, Found, Registration
from silo_node.runner.messages import BadFrame, Frame, Payload, vector_payload


@dataclass(frozen=True, slots=True)
class CheckTask:
    """Read a source through before it is registered."""

    registration: Registration


@dataclass(frozen=True, slots=True)
class NormaliseTask:
    """This silo's noised sums of round 0."""

    contract: TrainingContract
    silo: str


@dataclass(frozen=True, slots=True)
class TrainTask:
    """This silo's weighted update of a training round; ``state`` is the study's state before it."""

    contract: TrainingContract
    silo: str
    round: int
    state: Payload


@dataclass(frozen=True, slots=True)
class EvaluateTask:
    """This silo's two noised counts of the last round; ``state`` is the study's state before it."""

    contract: TrainingContract
    silo: str
    state: Payload


@dataclass(frozen=True, slots=True)
class StatisticsTask:
    """This silo's noised sums of a statistics study's one round."""

    contract: StatisticsContract
    silo: str


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """The exact values of granted columns, for a box (silo_node.runner.analysis_box). No privacy is in them."""

    dataset: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class TraceTask:
    """On which side of each of a dataset's splits, by the share held out, a person's rows are, if any are there.

    ``person`` is an id: never shown.
    """

    person: str
    dataset: str
    test_shares: tuple[float, ...]


RoundTask = NormaliseTask | TrainTask | EvaluateTask | StatisticsTask
Task = CheckTask | ExtractTask | TraceTask | RoundTask


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was run to make a round's DP vector, for the ledger; the vector itself went into a file.

    ``steps_run`` counts the mechanism's steps: noisy gradients in training, 1 elsewhere. ``left_out`` counts the
    rows of people who opted out; it is private. ``engine`` says which way gradients were clipped, and why; no row
    is in it, and it is empty outside training.
    """

    steps_run: int
    events_run: tuple[Event, ...]
    left_out: int = 0
    engine: str = ""


def task_of_round(contract: StudyContract, silo: str, index: int, state: Payload) -> RoundTask:
    """The task of round ``index`` for ``silo``. Raises ``Malformed`` outside the contract's plan."""
    contract.terms_of(silo)
    match contract:
        case TrainingContract():
            return _training_task(contract, silo, index, state)
        case StatisticsContract():
            plan_round(contract, index)
            return StatisticsTask(contract, silo)


def _training_task(contract: TrainingContract, silo: str, index: int, state: Payload) -> RoundTask:
    stage = plan_round(contract, index).stage
    if stage == "normalisation":
        return NormaliseTask(contract, silo)
    if stage == "training":
        return TrainTask(contract, silo, index, state)
    return EvaluateTask(contract, silo, state)


def round_of(task: RoundTask) -> int:
    """The index of the round that ``task`` is for."""
    if isinstance(task, TrainTask):
        return task.round
    return last_round(task.contract) if isinstance(task, EvaluateTask) else 0


def values_of(task: RoundTask) -> int:
    """How many values the outcome's vector must have."""
    return plan_round(task.contract, round_of(task)).values


def events_run(task: RoundTask, steps_run: int) -> tuple[Event, ...]:
    """The events to settle: those of the contract, with the steps really run. Raises ``BadFrame`` for too many."""
    most = task.contract.training.local_steps if isinstance(task, TrainTask) else 1
    if not 0 <= steps_run <= most:
        raise BadFrame(f"{steps_run} steps were reported, the contract has {most}")
    if steps_run == 0:
        return ()
    events = _planned(task)
    return tuple(_with_steps(event, steps_run) for event in events)


def _planned(task: RoundTask) -> tuple[Event, ...]:
    if isinstance(task, TrainTask):
        return training_events(task.contract, task.silo)
    if isinstance(task, NormaliseTask):
        return normalisation_events(task.contract)
    if isinstance(task, StatisticsTask):
        return statistics_events(task.contract)
    return evaluation_events(task.contract)


def _with_steps(event: SampledGaussian | Gaussian, steps: int) -> Event:
    return event.model_copy(update={"steps": steps}) if isinstance(event, SampledGaussian) else event


# -- as frames

_MOST_SENTENCE: Final = 500
_ROUND_TASKS: Final = {
    "normalise": NormaliseTask,
    "train": TrainTask,
    "evaluate": EvaluateTask,
    "statistics": StatisticsTask,
}


def task_frame(task: Task) -> Frame:
    if isinstance(task, CheckTask):
        return Frame({"task": "check", "registration": task.registration.model_dump(mode="json")})
    if isinstance(task, ExtractTask):
        return Frame({"task": "extract", "dataset": task.dataset, "columns": list(task.columns)})
    if isinstance(task, TraceTask):
        shares = list(task.test_shares)
        return Frame({"task": "trace", "person": task.person, "dataset": task.dataset, "test_shares": shares})
    name = next(name for name, kind in _ROUND_TASKS.items() if isinstance(task, kind))
    header = {"task": name, "contract": contract_value(task.contract), "silo": task.silo, "round": round_of(task)}
    return Frame(header, Payload() if isinstance(task, (NormaliseTask, StatisticsTask)) else task.state)


def task_from(frame: Frame) -> Task:
    """The task in ``frame``, its state held whole. Raises ``BadFrame`` for anything else, naming no content."""
    header, state = frame.header, Payload.of(frame.payload.whole())
    try:
        if header.get("task") == "check":
            _only(header, "task", "registration")
            return CheckTask(Registration.model_validate_json(canonical.encode(header["registration"])))
        if header.get("task") == "extract":
            _only(header, "task", "dataset", "columns")
            return ExtractTask(header["dataset"], tuple(header["columns"]))
        if header.get("task") == "trace":
            _only(header, "task", "person", "dataset", "test_shares")
            return _trace(header["person"], header["dataset"], header["test_shares"])
        _only(header, "task", "contract", "silo", "round")
        kind = _ROUND_TASKS[header["task"]]
        task = task_of_round(parse_contract(header["contract"]), header["silo"], header["round"], state)
    except (ValidationError, ProtocolError, KeyError, TypeError):
        raise BadFrame("a frame that is no task") from None
    if not isinstance(task, kind):
        raise BadFrame("a task for another kind of round")
    return task


def _trace(person: Any, dataset: Any, test_shares: Any) -> TraceTask:
    shares = tuple(float(share) for share in test_shares)
    if not isinstance(person, str) or not isinstance(dataset, str):
        raise TypeError
    return TraceTask(person, dataset, shares)


def outcome_frame(vector: NDArray[np.float64], steps_run: int, left_out: int = 0, engine: str = "") -> Frame:
    """A training round's outcome names its engine, another one has none."""
    header = {"reply": "outcome", "steps_run": steps_run, "left_out": left_out}
    return Frame(header | {"engine": engine} if engine else header, vector_payload(vector))


def outcome_from(task: RoundTask, frame: Frame, vector: BinaryIO) -> Outcome:
    """The outcome of ``task`` in ``frame``, whose DP vector is written to ``vector`` as it arrives.

    Little-endian float64, all finite, as many as the round has; else ``BadFrame``, and what was written is nothing.
    """
    _only(frame.header, "reply", "steps_run", "left_out", *(("engine",) if isinstance(task, TrainTask) else ()))
    steps, left_out, values = frame.header["steps_run"], frame.header["left_out"], values_of(task)
    if frame.header["reply"] != "outcome" or type(steps) is not int or type(left_out) is not int or left_out < 0:
        raise BadFrame("a reply that is no outcome")
    if frame.payload.size != 8 * values:
        raise BadFrame(f"a vector of {frame.payload.size} bytes, not of {values} float64")
    outcome = Outcome(steps, events_run(task, steps), left_out, _sentence(frame.header.get("engine", "")))
    for block in frame.payload.blocks:
        if not bool(np.isfinite(np.frombuffer(block, "<f8")).all()):
            raise BadFrame("an outcome that is not finite")
        vector.write(block)
    return outcome


def _sentence(engine: Any) -> str:
    """What a log may take in one line. Raises ``BadFrame``."""
    if not isinstance(engine, str) or len(engine) > _MOST_SENTENCE or not engine.isprintable():
        raise BadFrame("an engine that is no short sentence")
    return engine


def extract_frame(values: NDArray[np.float64], left_out: int) -> Frame:
    return Frame({"reply": "extracted", "left_out": left_out}, vector_payload(values.reshape(-1)))


def extract_from(task: ExtractTask, frame: Frame, rows: BinaryIO) -> int:
    """The granted values, written to ``rows`` as they arrive: little-endian float64 (n, columns), in C order.

    Returns how many rows of people who opted out are not among them.
    """
    _only(frame.header, "reply", "left_out")
    left_out, whole = frame.header["left_out"], frame.payload.size % (8 * len(task.columns)) == 0
    if frame.header["reply"] != "extracted" or type(left_out) is not int or left_out < 0 or not whole:
        raise BadFrame("a reply that is no table of the columns asked for")
    for block in frame.payload.blocks:
        rows.write(block)
    return left_out


def checked_frame(checked: Checked) -> Frame:
    header = {
        "reply": "checked",
        "commitment": checked.commitment,
        "rows": checked.rows,
        "clamped": dict(checked.clamped),
        "left_out": checked.left_out,
        "profile": checked.profile,
    }
    return Frame(header, Payload.of(checked.persons))


def checked_from(frame: Frame) -> Checked:
    """What a check found. Raises ``BadFrame``."""
    _only(frame.header, "reply", "commitment", "rows", "clamped", "left_out", "profile")
    if frame.header["reply"] != "checked":
        raise BadFrame("a reply that is no check")
    header = frame.header
    persons = frame.payload.whole()
    if len(persons) % TAG_BYTES:
        raise BadFrame("a reply whose tags are cut")
    found = (header["commitment"], header["rows"], header["clamped"], header["left_out"], header["profile"])
    return Checked(*found, persons)


def traced_frame(found: tuple[Found, ...]) -> Frame:
    return Frame({"reply": "traced", "found": list(found)})


def traced_from(task: TraceTask, frame: Frame) -> tuple[Found, ...]:
    """What was found for each split that ``task`` asks for. Raises ``BadFrame``."""
    _only(frame.header, "reply", "found")
    found = frame.header["found"]
    whole = isinstance(found, list) and len(found) == len(task.test_shares)
    if frame.header["reply"] != "traced" or not whole or not set(found) <= set(get_args(Found)):
        raise BadFrame("a reply that is no trace")
    return tuple(found)


def _only(header: dict[str, Any], *names: str) -> None:
    if set(header) != set(names):
        raise BadFrame("a frame with other fields than its kind has")
