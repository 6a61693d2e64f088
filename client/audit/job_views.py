"""Reviewed code as a report shows it: who asked for what at which silo, who decided, what was let go and when."""

from client.audit.replay import Audited
from client.audit.selection import Selection
from protocol.job_record import JobRecord


def job_rows(audited: Audited, selection: Selection) -> tuple[JobRecord, ...]:
    """The jobs that the selection concerns, in the order of the log: of the silo, with a step in the period.

    None where one study is asked for: a job belongs to none.
    """
    if selection.study is not None:
        return ()
    return tuple(
        record
        for record in audited.jobs.values()
        if selection.silo in (None, record.asked.silo) and any(selection.within(at) for _, at in record.steps)
    )
