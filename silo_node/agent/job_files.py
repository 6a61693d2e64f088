"""The files of jobs at the silo: the bundle as it was opened, a run's rows while it lasts, outputs until their release.

Every file is private, whole or absent. Rows lie here only while a run lasts; what a node that was killed left goes
before the next run, and with the job.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import Digest, Strict, Timestamp
from protocol.job_bundle import CodeBundle, read_bundle
from protocol.job_outputs import JobOutputs
from silo_node.errors import JobRefused
from silo_node.private_files import private_folder, write_private


class HeldRun(Strict):
    """How a run of a job's bundle ended, and what it gave: held until the owner lets it go or discards it.

    ``digest`` of its canonical bytes is what an owner's release names: another run is another release.
    """

    format: Literal["consortia-held-run/1"]
    bundle: Digest
    outcome: Literal["finished", "failed", "timed-out"]
    ended_at: Timestamp
    sandbox: Annotated[str, Field(max_length=80)]
    outputs: JobOutputs

    def encode(self) -> bytes:
        return canonical.encode(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        return canonical.digest(self.encode())


class JobFiles:
    """A folder for each job in ``folder``/jobs."""

    def __init__(self, folder: Path) -> None:
        self._jobs = private_folder(folder / "jobs")

    def keep_bundle(self, job: str, bundle: CodeBundle) -> None:
        write_private(self._job(job) / "bundle", bundle.encode())

    def bundle(self, job: str, digest: str) -> CodeBundle | None:
        """The bundle that was kept, if its digest is still ``digest``. Raises ``JobRefused`` for a changed file."""
        data = _read(self._job(job) / "bundle")
        if data is None:
            return None
        if canonical.digest(data) != digest:
            raise JobRefused(f"job {job[:12]}: the kept bundle was changed on this disk; call the admin")
        return read_bundle(data)

    def hold(self, job: str, run: HeldRun) -> None:
        write_private(self._job(job) / "held", run.encode())

    def held(self, job: str) -> HeldRun | None:
        """What the last run gave. Raises ``JobRefused`` for a file that is damaged."""
        data = _read(self._job(job) / "held")
        if data is None:
            return None
        try:
            canonical.decode(data)
            return HeldRun.model_validate_json(data)
        except (Malformed, ValidationError, ValueError):
            raise JobRefused(f"job {job[:12]}: its held outputs are damaged; run it again") from None

    def keep_sealed(self, job: str, sealed: bytes) -> None:
        """Outputs sealed for their researcher, before they are sent; the held ones stay the owner's."""
        write_private(self._job(job) / "sealed", sealed)

    def sealed(self, job: str) -> bytes | None:
        return _read(self._job(job) / "sealed")

    def forget_run(self, job: str) -> None:
        """Removes outputs and whatever a run left."""
        for name in ("held", "sealed"):
            (self._job(job) / name).unlink(missing_ok=True)
        shutil.rmtree(self._job(job) / "run", ignore_errors=True)

    @contextmanager
    def running(self, job: str) -> Iterator[Path]:
        """An empty folder for one run, gone afterwards. Raises ``JobRefused`` while another run of the job lasts."""
        with (self._job(job) / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise JobRefused(f"job {job[:12]}: it is running already") from None
            folder = self._job(job) / "run"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                yield private_folder(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _job(self, job: str) -> Path:
        return private_folder(self._jobs / job)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
