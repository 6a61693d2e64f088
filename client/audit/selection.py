"""Which part of a verified log a report shows: a silo, a study, a period. What was verified is always all of it."""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from client.audit.events import statement_body
from client.errors import UsageRefused
from protocol.export import RecordedLeaf
from protocol.translog import LogEntry

DECISIONS: Final = frozenset(
    {
        *("study-proposed", "study-approved", "study-objected", "study-accepted", "study-refused", "study-withdrawn"),
        *("study-paused", "study-resumed", "study-closed", "release-requested", "release-approved", "release-sealed"),
    }
)
"""What persons and silos decide about a study; it is shown whatever the period, with its own time."""
MOST_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Selection:
    """``since`` and ``until`` are days (UTC), both within the period; None where nothing is left out.

    ``study`` is the beginning of a study's id, 8 characters at least.
    """

    silo: str | None = None
    study: str | None = None
    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.study is not None and not re.fullmatch(r"[0-9a-f]{8,64}", self.study):
            raise UsageRefused("--study: give a study's id, or its first 8 hexadecimal characters at least")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UsageRefused(f"--from {self.since} is after --to {self.until}; give the earlier day first")

    def within(self, at: str) -> bool:
        """Whether a time of the log (RFC 3339, UTC) is in the period."""
        after_end = None if self.until is None else (self.until + timedelta(days=1)).isoformat()
        return (self.since is None or at >= self.since.isoformat()) and (after_end is None or at < after_end)

    def names(self, study: str) -> bool:
        return self.study is None or study.startswith(self.study)

    @property
    def whole(self) -> bool:
        return self == Selection()

    @property
    def period(self) -> str:
        """In words, for a heading: "from ... to ..."."""
        if self.since is None and self.until is None:
            return "from the log's beginning to its end"
        begin = "from the log's beginning" if self.since is None else f"from {self.since}"
        return f"{begin} to " + ("the log's end" if self.until is None else f"the end of {self.until}") + " (UTC)"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as a report shows it. ``round`` and ``words`` are what its statement says."""

    index: int
    entry: LogEntry
    round: int | None
    words: str


@dataclass(slots=True)
class Kept:
    """What a report needs of the leaves beside the replay, taken as they are read: a ``verify.Seen``."""

    selection: Selection
    hashes: list[bytes] = field(default_factory=list)
    charters: list[RecordedLeaf] = field(default_factory=list)
    decisions: dict[str, list[Row]] = field(default_factory=dict)
    exchanges: dict[str, list[Row]] = field(default_factory=dict)
    reserved_at: dict[tuple[str, str, int], str] = field(default_factory=dict)
    rows: int = 0

    def __call__(self, leaf: RecordedLeaf) -> None:
        self.hashes.append(leaf.hash)
        entry = leaf.entry
        if entry.kind == "charter":
            self.charters.append(leaf)
        if entry.study is None or not self.selection.names(entry.study):
            return
        if entry.kind in DECISIONS:
            self.decisions.setdefault(entry.study, []).append(_row(leaf))
        if entry.kind == "spend-reserved":
            self._charge(leaf, entry.study)
        silo = self.selection.silo
        if self.selection.within(entry.recorded_at) and (
            silo is None or entry.issuer == f"silo:{silo}" or not entry.issuer.startswith("silo:")
        ):
            self._keep(leaf, entry.study)

    def _charge(self, leaf: RecordedLeaf, study: str) -> None:
        index = statement_body(leaf).get("round")
        if isinstance(index, int):
            silo = leaf.entry.issuer.partition(":")[2]
            self.reserved_at.setdefault((silo, study, index), leaf.entry.recorded_at)

    def _keep(self, leaf: RecordedLeaf, study: str) -> None:
        self.rows += 1
        if self.rows > MOST_ROWS:
            raise UsageRefused(
                f"the report would list more than {MOST_ROWS} entries: narrow it with --study, --silo, --from and --to"
            )
        self.exchanges.setdefault(study, []).append(_row(leaf))


def _row(leaf: RecordedLeaf) -> Row:
    body = statement_body(leaf)
    index = body.get("round")
    words = [str(body[name]) for name in ("rule", "reason", "recipient", "outcome") if name in body]
    return Row(leaf.index, leaf.entry, index if isinstance(index, int) else None, ": ".join(words))
