"""Jobs in Python, under the names that PySyft users know: submit, status, outputs::

job = fed.jobs.submit("ages/", dataset="heart", columns=["age"], silo="cleveland",
                      purpose="medical-research", reason="How old are they?")
job.status     # submitted, accepted, released, ...
job.outputs()  # {"mean.txt": b"54.4"} once the owner released them
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.catalogue import one_dataset
from client.code_folder import read_folder
from client.connection import Connection
from client.errors import UsageRefused
from client.job_trial import JobTrial, try_job
from client.jobs import (
    USUAL_MEMORY_MIB,
    USUAL_SECONDS,
    JobRequest,
    checked_purpose,
    find_job,
    jobs,
    outputs,
    submit,
    withdraw,
)
from protocol.job_record import Stage

Folder = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Job:
    """One request to one silo; each look follows the log first."""

    connection: Connection
    id: str

    @property
    def silo(self) -> str:
        return find_job(self.connection, self.id).asked.silo

    @property
    def status(self) -> Stage:
        """Where it stands by the verified log. That it ran is not told: only what its owner decides."""
        self.connection.log.refresh()
        return find_job(self.connection, self.id).stage

    @property
    def reason(self) -> str:
        """Why it was refused or discarded, in the owner's words; empty otherwise."""
        self.connection.log.refresh()
        return find_job(self.connection, self.id).reason

    def outputs(self) -> dict[str, bytes]:
        """What the owner released, by path: exact results, which no differential privacy covers."""
        self.connection.log.refresh()
        return outputs(self.connection, find_job(self.connection, self.id)).contents

    def withdraw(self) -> None:
        """Take it back: nothing more is run or released for it."""
        withdraw(self.connection, find_job(self.connection, self.id))


@dataclass(frozen=True, slots=True)
class JobDesk:
    """``fed.jobs``."""

    connection: Connection

    def trial(self, folder: Folder, *, dataset: str, columns: Sequence[str] = (), silo: str = "") -> JobTrial:
        """Run the code on mock rows of one silo, here: nothing is sent, and nobody is asked."""
        held = one_dataset(self.connection, dataset)
        name = silo or next(iter(held))
        if name not in held:
            raise UsageRefused(f"silo {name} has no dataset {dataset}; these have: {', '.join(held)}")
        return try_job(read_folder(Path(folder)), held[name], columns, USUAL_SECONDS, USUAL_MEMORY_MIB)

    def submit(
        self,
        folder: Folder,
        *,
        dataset: str,
        columns: Sequence[str],
        silo: str,
        purpose: str,
        reason: str,
        name: str = "",
    ) -> Job:
        """Seal the code for ``silo`` and ask its owner to read it and run it."""
        path = Path(folder)
        called = name or path.absolute().name.lower().replace("_", "-")
        request = JobRequest(called, dataset, tuple(columns), checked_purpose(purpose), reason)
        return Job(self.connection, submit(self.connection, read_folder(path), request, silo))

    def all(self) -> tuple[Job, ...]:
        """All that you submitted, oldest first."""
        self.connection.log.refresh()
        return tuple(Job(self.connection, job) for job in jobs(self.connection))
