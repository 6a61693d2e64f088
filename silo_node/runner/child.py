"""The process that reads rows: takes tasks from its pipe, one after another, until the agent is gone.

What it says about a failure is where it happened and of which class it was. The text of an exception may quote
a row ("could not convert string to float: ..."), so it stays here.
"""

import secrets
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from silo_node.errors import DatasetRefused, SiloError
from silo_node.runner import confinement
from silo_node.runner.messages import BadFrame, Frame, Pipe, PipeClosed
from silo_node.runner.tasks import Task, task_from

WARM: Final = "warm"
_OURS: Final = ("silo_node", "protocol")

Work = Callable[[Task], Frame]


def main(arguments: list[str]) -> int:
    """Serves tasks on the datasets in the folder ``arguments[0]`` for the agent of process id ``arguments[1]``.

    ``arguments[2]`` is ``warm`` where training will be asked for: what it needs is then imported before the first task.
    ``arguments[3]``, if there is one, is the file with what the dataset's query gave.
    """
    folder, parent = Path(arguments[0]), int(arguments[1])
    reading, writing = confinement.take_pipe()
    confinement.leave_no_trace()
    confinement.die_with(parent, reading)
    pipe = Pipe(reading, writing)
    try:
        fetched = Path(arguments[3]) if len(arguments) > 3 else None
        hello, work = _prepare(folder, fetched, warm=arguments[2] == WARM)
        pipe.send(hello)
        if work is None:
            return 1
        serve(pipe, work)
    except PipeClosed:
        pass
    return 0


def serve(pipe: Pipe, work: Work) -> None:
    """Answers each task on ``pipe`` with what ``work`` makes of it, until the pipe is closed.

    A frame that is no task is answered as a failure, and ends the serving: what follows it can't be told apart.
    """
    while True:
        try:
            task = task_from(pipe.receive())
        except BadFrame as error:
            pipe.send(failure(error))
            return
        pipe.send(answer(task, work))


def answer(task: Task, work: Work) -> Frame:
    """What ``work`` makes of ``task``, or a refusal or failure that quotes nothing."""
    try:
        return work(task)
    except DatasetRefused as refusal:
        return Frame({"reply": "refused", "reason": str(refusal)})
    except SiloError as error:
        # By silo_node.errors' promise its text holds no row.
        return Frame({"reply": "stopped", "reason": str(error)})
    except Exception as error:  # noqa: BLE001  # Whatever it is, its text must not leave this process.
        return failure(error)


def failure(error: BaseException) -> Frame:
    """The class of ``error``, the last line of ours it passed, and a random incident number to find it by."""
    header = {
        "reply": "failed",
        "kind": type(error).__name__,
        "where": _where(error),
        "incident": secrets.token_hex(4),
    }
    return Frame(header)


def _where(error: BaseException) -> str:
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.split(".")[0] in _OURS:
            return f"{module}:{line}"
    return "an unknown place"


def _prepare(folder: Path, fetched: Path | None, warm: bool) -> tuple[Frame, Work | None]:
    """Imports what tasks need: "ready" with the seconds that took and who does the work, or a failure and None."""
    started = time.monotonic()
    try:
        # Imported here: the agent imports this package, and must not load torch by that.
        from silo_node.dataset.catalogue import Catalogue
        from silo_node.runner.work import Workshop
        from silo_node.training.noise import SystemNoise

        if warm:
            import silo_node.training.evaluation
            import silo_node.training.trainer  # noqa: F401
    except Exception as error:  # noqa: BLE001
        return failure(error), None
    seconds = round(time.monotonic() - started, 2)
    return Frame({"reply": "ready", "import_s": seconds}), Workshop(Catalogue(folder, fetched), SystemNoise()).perform
