"""Running the owner's query at a database, in a process of its own: with the network, and with nothing of a study.

The process that computes has no network, and this one computes nothing: it reads the owner's description and query, and
writes what the database gives into a private file, which the box holds and reads while it grows. Neither process is the
agent.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from silo_node.dataset.schema import Schema
from silo_node.errors import DatasetRefused, RunnerFailed, SiloError, SourceUnreachable
from silo_node.runner.box.code import ROOT

_PROGRAM: Final = ("-P", "-s", "-m", "silo_node.runner.fetching")
_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Query:
    """A source that only the network leads to, and the columns that are wanted of it."""

    source: Path
    schema: Schema


class Fetching:
    """A query that is being asked, whose answer goes into ``file`` (0600), within ``limit_s`` seconds.

    When no more of the answer will come, whole or not, the file is made 0400: who reads it then knows. A failure is
    ``DatasetRefused`` with what is wrong with the query or the database, ``SourceUnreachable`` where the database
    doesn't answer for now, or ``RunnerFailed``.
    """

    def __init__(self, query: Query, file: BinaryIO, limit_s: float) -> None:
        self._query, self._file, self._limit_s = query, file, limit_s
        self._failure: SiloError | None = None
        self._given_up = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        # Linux sends the parent-death signal when the thread that started a process ends: this one outlives it.
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="query-keeper")
        self._keeper.start()

    @property
    def failure(self) -> SiloError | None:
        """What is wrong with the query or the database, or that the process failed; None while nothing is known."""
        return self._failure

    def outcome(self) -> SiloError | None:
        """The failure, or None if the whole answer came; waits until that is known."""
        self._keeper.join()
        return self._failure

    def end(self) -> None:
        """Gives up what is still under way, and waits for that."""
        self._given_up.set()
        if self._process is not None:
            self._process.kill()
        self._keeper.join()
        self._file.close()

    def _keep(self) -> None:
        self._failure = self._asked()
        os.fchmod(self._file.fileno(), 0o400)

    def _asked(self) -> SiloError | None:
        try:
            process = self._started()
        except OSError as error:
            return RunnerFailed(f"the process that asks the database cannot be started: {error.strerror}")
        with process:
            self._process = process
            if self._given_up.is_set():
                process.kill()
            try:
                answer, _ = process.communicate(self._query.schema.model_dump_json().encode(), self._limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return RunnerFailed(
                    f"the query took longer than {self._limit_s:g} s and was ended; raise the limit (training_limit_s) "
                    "if its answer is as large as this"
                )
        refusal = _refusal(answer[:_ANSWER_BYTES])
        if refusal is not None:
            return refusal
        if process.returncode != 0 and not self._given_up.is_set():
            return RunnerFailed(f"the process that asks the database ended with exit status {process.returncode}")
        return None

    def _started(self) -> "subprocess.Popen[bytes]":
        file = self._file.fileno()
        return subprocess.Popen(
            [sys.executable, *_PROGRAM, str(self._query.source), str(file), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # A traceback quotes what it was working on.
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            pass_fds=(file,),
            start_new_session=True,  # Ctrl-C at the terminal is the agent's to handle.
        )


def _refusal(answer: bytes) -> DatasetRefused | None:
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(said, dict) or "refused" not in said:
        return None
    reason = str(said["refused"])
    return SourceUnreachable(reason) if said.get("passes") else DatasetRefused(reason)


def main(arguments: list[str]) -> int:
    """Asks the database that the description ``arguments[0]`` names; its answer goes to descriptor ``arguments[1]``.

    ``arguments[2]`` is the agent's process id. The schema comes on standard input; what goes wrong goes, as JSON with
    no value of any row, to standard output.
    """
    from silo_node.dataset.sources.fetched import write_fetched
    from silo_node.dataset.sources.opening import open_source
    from silo_node.dataset.sources.postgresql import PostgresqlQuery
    from silo_node.runner import confinement

    confinement.leave_no_trace()
    confinement.end_with(int(arguments[2]))
    schema = Schema.model_validate_json(sys.stdin.buffer.read())
    try:
        source = open_source(Path(arguments[0]))
        if not isinstance(source, PostgresqlQuery):
            raise DatasetRefused("the source is no query to PostgreSQL any more; start again")
        with os.fdopen(int(arguments[1]), "wb") as file:
            write_fetched(file, source.arrow(schema))
    except DatasetRefused as refusal:
        sys.stdout.write(json.dumps({"refused": str(refusal), "passes": isinstance(refusal, SourceUnreachable)}))
        return 1
    except OSError as error:
        sys.stdout.write(json.dumps({"refused": f"what the query gives cannot be kept: {error.strerror}"}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
