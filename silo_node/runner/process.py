"""The agent's side of the process that reads rows: starts it, asks it, and survives its end.

Rows are read in a child process, in a box (``silo_node.runner.box``) that has the task's dataset and none of the
agent's keys, environment and descriptors. It is kept between tasks on that dataset, since importing torch takes
seconds. What reaches the agent from it is a DP vector, a commitment with counts for the owner, or a text that names no
value.
"""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Checked, Found, Registration
from silo_node.errors import DatasetRefused, RunnerFailed
from silo_node.runner.box.box import Level
from silo_node.runner.box.running import status_of
from silo_node.runner.fetching import Fetching
from silo_node.runner.lent_files import lent_files
from silo_node.runner.level import accepted_level
from silo_node.runner.messages import BadFrame, Frame, PipeClosed, TimedOut
from silo_node.runner.spawning import Child, reading_box, spawn
from silo_node.runner.tasks import (
    CheckTask,
    ExtractTask,
    Outcome,
    RoundTask,
    Task,
    TraceTask,
    checked_from,
    extract_from,
    outcome_from,
    task_frame,
    traced_from,
    values_of,
)
from silo_node.runner.view import View, view_of, view_of_dataset

START_LIMIT_S: Final = 300.0
CLOSE_LIMIT_S: Final = 5.0
MAX_EXTRACT_BYTES: Final = 4 * 2**30
MEMORY_MIB: Final = 16 * 1024
DISK_MIB: Final = 64 * 1024

logger = logging.getLogger(__name__)
_Read = TypeVar("_Read")


class Runner:
    """Runs tasks on the datasets in ``folder``, one at a time, each within ``limit_s`` seconds.

    Use it as a context manager. The process is started by the first task, or early by ``start``; after a crash or
    an overrun the next task starts a new one, and so does a task on another dataset. ``level`` says in which kind of
    box, and raises ``SiloError`` where there is none and the owner accepts no less. ``memory_mib`` is what the
    process may have in memory, ``disk_mib`` what each of its files on the disk may have. Safe to call from several
    threads.
    """

    def __init__(
        self,
        folder: Path,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
        warm: bool = True,
        level: Callable[[], Level] = accepted_level,
        memory_mib: int = MEMORY_MIB,
        disk_mib: int = DISK_MIB,
    ) -> None:
        self._level = level
        self._memory_mib, self._disk_mib = memory_mib, disk_mib
        self._view: View | None = None
        self._folder = folder.absolute()
        self._catalogue = Catalogue(self._folder)
        self._limit_s = limit_s
        self._warm = warm
        self._clock = clock
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int | None:
        """The process that reads rows, None where none runs."""
        child = self._child
        return child.process.pid if child and child.alive() else None

    def start(self) -> None:
        """Starts the process if none runs, and doesn't wait for it: its imports overlap with other work.

        It has to be clear which dataset it will be for: nothing is started unless there is exactly one.
        """
        with self._lock:
            datasets = self._catalogue.list()
            if len(datasets) != 1 or self.process_id is not None:
                return
            view = view_of_dataset(datasets[0], self._catalogue)
            if view.query is None:  # A database is asked when a round needs it.
                self._launch(view)

    def run(self, task: RoundTask, vector: BinaryIO) -> Outcome:
        """The outcome of a round, its DP vector written to ``vector``. Raises ``DatasetRefused``, or ``RunnerFailed``
        after which nothing is known of the steps that were run, so that the full charge stands; after both what was
        written is nothing."""
        return self._ask(task, 8 * values_of(task), lambda reply: outcome_from(task, reply, vector))

    def check(self, registration: Registration) -> Checked:
        """Reads a source through. Raises ``DatasetRefused`` with what is wrong with it, or ``RunnerFailed``."""
        return self._ask(CheckTask(registration), MAX_EXTRACT_BYTES, checked_from)

    def extract(self, task: ExtractTask, rows: BinaryIO) -> int:
        """Writes the exact values of a job's columns to ``rows``; returns how many rows of people who opted out are not
        among them. Raises as ``check`` does; then they are none."""
        return self._ask(task, MAX_EXTRACT_BYTES, lambda reply: extract_from(task, reply, rows))

    def trace(self, task: TraceTask) -> tuple[Found, ...]:
        """Where a person's rows are in each split that is asked for. Raises ``RunnerFailed``."""
        return self._ask(task, 0, lambda reply: traced_from(task, reply))

    def close(self) -> None:
        """Ends the process. A task that runs in another thread fails with ``RunnerFailed``."""
        child = self._child
        if child is not None and self._lock.locked():
            child.process.kill()
        with self._lock:
            self._end()

    def _ask(self, task: Task, most: int, read: Callable[[Frame], _Read]) -> _Read:
        """What ``read`` makes of the answer to ``task``, which has at most ``most`` bytes of payload."""
        with self._lock:
            view = view_of(task, self._catalogue)
            if view.query is not None and isinstance(task, CheckTask):
                self._end()  # Checked is what the query gives now.
            child = self._launch(view)
            try:
                self._await_ready(child)
                deadline = self._clock() + self._limit_s
                child.pipe.send(task_frame(task), deadline)
                answer = read(_accepted(child.pipe.receive(most, deadline)))
                self._check_query(child, ended=True)
                return answer
            except (DatasetRefused, RunnerFailed):
                self._check_query(child, ended=False)
                raise  # An answer that was read to its end: the process is as good as before.
            except PipeClosed:
                raise RunnerFailed(f"the process that reads rows {self._death(child)}; start the task again") from None
            except TimedOut:
                self._end(kill=True)
                raise RunnerFailed(
                    f"the process that reads rows took longer than {self._limit_s:g} s and was ended; raise the limit "
                    "(training_limit_s) if the task is as large as this"
                ) from None
            except BadFrame as error:
                self._end(kill=True)
                raise RunnerFailed(f"the process that reads rows answered with {error}, and was ended") from None
            except BaseException:
                # Half a frame may lie in the pipe: what came next on it would be taken for something else.
                self._end(kill=True)
                raise

    def _launch(self, view: View) -> Child:
        if self._child is not None and not self._child.alive():
            self._end(kill=True)
        if self._view != view:
            self._end()
        if self._child is None:
            level = self._level()
            lent = lent_files(self._folder, with_answer=view.query is not None)
            box = reading_box(view.paths, lent, level, self._memory_mib, self._disk_mib)
            fetching = Fetching(view.query, lent.answer, self._limit_s) if view.query and lent.answer else None
            self._child = spawn(self._folder, box, level, self._clock, self._warm, lent, fetching)
            self._ready, self._view = False, view
        return self._child

    def _check_query(self, child: Child, ended: bool) -> None:
        """Raises what is wrong with the query, as far as is known, or once it has ``ended``: half an answer is none."""
        if child.fetching is None:
            return
        failure = child.fetching.outcome() if ended else child.fetching.failure
        if failure is not None:
            self._end(kill=True)
            raise failure from None

    def _await_ready(self, child: Child) -> None:
        if self._ready:
            return
        try:
            hello = child.pipe.receive(0, self._clock() + START_LIMIT_S)
        except TimedOut:
            self._end(kill=True)
            raise RunnerFailed(f"the process that reads rows did not start within {START_LIMIT_S:g} s") from None
        if hello.header.get("reply") == "ready":
            logger.info(
                "reading process %d is ready, torch imported in %s s", child.process.pid, hello.header["import_s"]
            )
            self._ready = True
            child.settle()
            return
        self._end(kill=True)
        _accepted(hello)
        raise RunnerFailed("the process that reads rows did not say that it is ready")

    def _death(self, child: Child) -> str:
        self._end(kill=True)
        code = status_of(child.process.returncode)
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"

    def _end(self, kill: bool = False) -> None:
        child, self._child, self._ready = self._child, None, False
        if child is None:
            return
        os.close(child.pipe.writing)
        if kill:
            child.process.kill()
        try:
            child.process.wait(CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        os.close(child.pipe.reading)
        child.clear()


def _accepted(reply: Frame) -> Frame:
    """``reply`` unless it says that the task was refused or failed, which takes no payload."""
    header = reply.header
    if header.get("reply") in ("refused", "stopped", "failed") and reply.payload.size:
        raise BadFrame("a refusal with a payload")
    if header.get("reply") == "refused":
        raise DatasetRefused(str(header.get("reason")))
    if header.get("reply") == "stopped":
        raise RunnerFailed(str(header.get("reason")))
    if header.get("reply") == "failed":
        raise RunnerFailed(
            f"the process that reads rows failed at {header.get('where')} with {header.get('kind')} "
            f"(incident {header.get('incident')}); what it had read stays there"
        )
    return reply
