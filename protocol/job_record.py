"""One job as the log tells it, and whether everybody kept to the order of things.

The rules, each named in the reason when one is broken:

1. submitted: once, for a member silo, to end within 90 days of being recorded.
2. accepted, refused: once, by the silo that it was submitted to, before its end; accepted names the submitted bundle.
3. withdrawn: by the researcher who submitted it, while it is neither refused, released nor discarded.
4. released, discarded: once, by that silo, of an accepted job; released before its end.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from protocol.charter import Charter
from protocol.errors import RuleBroken
from protocol.ids import moment
from protocol.job_statements import (
    JobAccepted,
    JobDiscarded,
    JobRefused,
    JobReleased,
    JobStep,
    JobSubmitted,
    JobWithdrawn,
)

Stage = Literal["submitted", "accepted", "refused", "withdrawn", "released", "discarded"]
LONGEST: Final = timedelta(days=90)
OPEN: Final = frozenset[Stage]({"submitted", "accepted"})
_BEFORE: Final[dict[str, frozenset[Stage]]] = {
    "job-accepted": frozenset({"submitted"}),
    "job-refused": frozenset({"submitted"}),
    "job-withdrawn": OPEN,
    "job-released": frozenset({"accepted"}),
    "job-discarded": frozenset({"accepted"}),
}
_AFTER: Final[dict[str, Stage]] = {
    "job-accepted": "accepted",
    "job-refused": "refused",
    "job-withdrawn": "withdrawn",
    "job-released": "released",
    "job-discarded": "discarded",
}
_IN_TIME: Final = ("job-accepted", "job-refused", "job-released")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job and how far it came; ``released`` is the statement that lets its outputs go, ``reason`` the silo's no.

    ``steps``: each stage that it reached, with the time at which the log recorded it.
    """

    job: str
    asked: JobSubmitted
    stage: Stage = "submitted"
    released: JobReleased | None = None
    reason: str = ""
    steps: tuple[tuple[Stage, str], ...] = ()

    @property
    def researcher(self) -> str:
        """The person who asked."""
        return self.asked.issuer.removeprefix("person:")

    def open_at(self, now: str) -> bool:
        """Whether something may still be decided, run or released at the ``Timestamp`` ``now``."""
        return self.stage in OPEN and now < self.asked.expires_at

    def after(self, body: JobStep, at: str) -> "JobRecord":
        """The job after a step that was recorded ``at``. Raises ``RuleBroken`` by the rules above."""
        what, party = f"{body.type} of job {self.job[:12]}", f"silo:{self.asked.silo}"
        if isinstance(body, JobWithdrawn):
            _require(body.issuer == self.asked.issuer, f"job rule 3: {what} by {body.issuer}, who did not submit it")
        else:
            _require(body.issuer == party, f"job rule 2: {what} by {body.issuer}, it was submitted to {party}")
        _require(self.stage in _BEFORE[body.type], f"job rules 2 to 4: {what}, which is {self.stage}")
        late = body.type in _IN_TIME and at >= self.asked.expires_at
        _require(not late, f"job rules 2 and 4: {what}, which ended at {self.asked.expires_at}")
        if isinstance(body, JobAccepted):
            _require(body.bundle == self.asked.bundle, f"job rule 2: {what} names another bundle than the submitted")
        said = body.reason if isinstance(body, JobRefused | JobDiscarded) else ""
        released = body if isinstance(body, JobReleased) else None
        stage = _AFTER[body.type]
        return replace(self, stage=stage, released=released, reason=said, steps=(*self.steps, (stage, at)))


def submitted(job: str, body: JobSubmitted, at: str, charter: Charter) -> JobRecord:
    """A new job, recorded ``at``. Raises ``RuleBroken`` by rule 1, ``BadSignature`` for a silo that is no member."""
    charter.member(body.silo)
    _require(at < body.expires_at, f"job rule 1: it ended at {body.expires_at}, before it was recorded")
    _require(
        moment(body.expires_at) - moment(at) <= LONGEST, f"job rule 1: it ends at {body.expires_at}; 90 days are most"
    )
    return JobRecord(job, body, steps=(("submitted", at),))


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise RuleBroken(reason)
