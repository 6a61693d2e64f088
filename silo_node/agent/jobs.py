"""The jobs that were submitted to this silo, as the verified log tells them, and where an owner finds one."""

from collections.abc import Iterable

from protocol.charter import Charter
from protocol.errors import ProtocolError, RuleBroken
from protocol.follow import Verified
from protocol.job_record import JobRecord, submitted
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobSubmitted, JobWithdrawn
from protocol.membership_statements import CharterPublished
from silo_node.agent.silo import Silo
from silo_node.errors import JobRefused as NoSuchJob


class Jobs:
    """Every job read of, in the order of the log. ``broken`` says by which rule one can't be gone on with."""

    def __init__(self, silo: str, entries: Iterable[Verified]) -> None:
        self._silo = silo
        self._charter: Charter | None = None
        self.records: dict[str, JobRecord] = {}
        self.broken: dict[str, str] = {}
        for entry in entries:
            self.take_in(entry)

    def take_in(self, entry: Verified) -> None:
        """Adds the next logged statement to the job it is about. The same submission logged again is none."""
        body = entry.signed.body
        match body:
            case CharterPublished():
                self._charter = body.charter
            case JobSubmitted():
                self._submit(entry, body)
            case JobWithdrawn() | JobAccepted() | JobRefused() | JobReleased() | JobDiscarded():
                record = self.records.get(body.job)
                if record is None or body.job in self.broken:
                    return
                try:
                    self.records[body.job] = record.after(body, entry.at)
                except RuleBroken as rule:
                    self.broken[body.job] = str(rule)

    def _submit(self, entry: Verified, body: JobSubmitted) -> None:
        job = entry.signed.digest
        if self._charter is None or body.silo != self._silo or job in self.records:
            return
        try:
            self.records[job] = submitted(job, body, entry.at, self._charter)
        except (RuleBroken, ProtocolError):
            return  # It asks for nothing that could be granted.

    def last_approved(self, record: JobRecord) -> JobRecord | None:
        """The newest earlier job of the same researcher under the same name that this silo's owner approved."""
        before = []
        for other in self.records.values():
            if other.job == record.job:
                break
            same = (other.researcher, other.asked.name) == (record.researcher, record.asked.name)
            if same and other.stage in ("accepted", "released", "discarded"):
                before.append(other)
        return before[-1] if before else None


def jobs_of(silo: Silo) -> Jobs:
    """All that this silo has read."""
    return Jobs(silo.name, silo.tasks.entries())


def find(jobs: Jobs, prefix: str) -> JobRecord:
    """The one job whose id begins with ``prefix``. Raises ``JobRefused`` for none or several."""
    found = [record for record in jobs.records.values() if record.job.startswith(prefix)]
    if len(found) != 1 or len(prefix) < 8:
        raise NoSuchJob(f"job {prefix[:64]}: {len(found)} jobs here begin so; give 8 or more characters of one id")
    return found[0]
