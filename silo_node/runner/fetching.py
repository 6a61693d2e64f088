"""Running the owner's query at a database, in a process of its own: with the network, and with nothing of a study.

The process that computes has no network, and this one computes nothing: it reads the owner's description and query, and
writes what the database gives into a private file, which the box then holds. Neither process is the agent.
"""

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.description import FETCHED
from silo_node.errors import ConfigRefused, DatasetRefused, RunnerFailed, SourceUnreachable
from silo_node.private_files import private_folder
from silo_node.runner.box.code import ROOT

FOLDER: Final = "fetched"
_PROGRAM: Final = ("-P", "-s", "-m", "silo_node.runner.fetching")
_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Query:
    """A source that only the network leads to, and the columns that are wanted of it."""

    source: Path
    schema: Schema


def fetch(query: Query, folder: Path, limit_s: float) -> Path:
    """The private file, below ``folder``, with what the query gives now; who asked removes it.

    Raises ``DatasetRefused`` with what is wrong with the query or the database, ``SourceUnreachable`` where the
    database doesn't answer for now, or ``RunnerFailed``.
    """
    path = _room(folder) / f"{os.getpid()}-{secrets.token_hex(8)}{FETCHED}"
    try:
        done = subprocess.run(
            [sys.executable, *_PROGRAM, str(query.source), str(path), str(os.getpid())],
            input=query.schema.model_dump_json().encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # A traceback quotes what it was working on.
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            timeout=limit_s,
            start_new_session=True,  # Ctrl-C at the terminal is the agent's to handle.
            check=False,
        )
    except subprocess.TimeoutExpired:
        path.unlink(missing_ok=True)
        raise RunnerFailed(
            f"the query took longer than {limit_s:g} s and was ended; raise the limit (training_limit_s) if its "
            "answer is as large as this"
        ) from None
    except OSError as error:
        raise RunnerFailed(f"the process that asks the database cannot be started: {error.strerror}") from None
    refusal = _refusal(done.stdout[:_ANSWER_BYTES])
    if refusal is None and path.is_file():
        return path
    path.unlink(missing_ok=True)
    if refusal is not None:
        raise refusal
    raise RunnerFailed(f"the process that asks the database ended with exit status {done.returncode}")


def _room(folder: Path) -> Path:
    """The folder of such files, without those that processes which are gone have left."""
    try:
        room = private_folder(folder / FOLDER)
    except (ConfigRefused, OSError) as error:
        raise RunnerFailed(f"what a query gives has no place to lie: {error}") from None
    for left in room.iterdir():
        owner = left.name.partition("-")[0]
        if not (owner.isdecimal() and Path(f"/proc/{owner}").exists()):
            left.unlink(missing_ok=True)
    return room


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
    """Asks the database that the description ``arguments[0]`` names, and writes its answer to ``arguments[1]``.

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
        write_fetched(Path(arguments[1]), source.arrow(schema))
    except DatasetRefused as refusal:
        sys.stdout.write(json.dumps({"refused": str(refusal), "passes": isinstance(refusal, SourceUnreachable)}))
        return 1
    except OSError as error:
        sys.stdout.write(json.dumps({"refused": f"what the query gives cannot be kept: {error.strerror}"}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
