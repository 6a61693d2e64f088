"""The privacy self-test on the record: run, filed in the journal, and asked for before anything is computed.

The entry in the journal names the verdict, the figures and the versions, and the digest of the whole report, which
lies in ``self-tests``. After a test that failed nothing is computed until a later one passes that is as thorough.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from protocol.canonical import digest
from protocol.ids import as_sentence, timestamp
from protocol.journal import JournalEvent, Kind
from silo_node.errors import RunnerFailed, SelfTestFailed
from silo_node.journal.chain import Journal, JournalEntry
from silo_node.private_files import private_folder, write_private
from silo_node.selftest.measured import NAME, PASSED, Begun, Depth, Finished, Measured, Said, SelfTestReport
from silo_node.selftest.versions import installed_version

FOLDER: Final = "self-tests"
COMMAND: Final = "consortia-silo privacy self-test"
_KIND: Final[Kind] = "self-test"


@dataclass(slots=True)
class SelfTest:
    """One run: what is said goes in, a report comes out."""

    depth: Depth
    sandbox: str
    at: datetime
    figures: list[Measured] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    finished: bool = False

    def followed(self, said: Iterator[Said]) -> Iterator[Measured]:
        """The figures as they are measured. Raises ``RunnerFailed`` as their process does."""
        for one in said:
            match one:
                case Begun():
                    self.versions = one.versions
                case Measured():
                    self.figures.append(one)
                    yield one
                case Finished():
                    self.finished = one.figures == len(self.figures)

    @property
    def worth_filing(self) -> bool:
        """Whether it got anywhere: a box that can't be opened says nothing of what runs in it."""
        return bool(self.versions)

    def report(self, failure: str | None = None) -> SelfTestReport:
        """What there is, as it stands: of a run that broke off, a failed one."""
        missing = None if self.finished else "it broke off"
        return SelfTestReport(
            format="consortia-self-test/1",
            depth=self.depth,
            at=timestamp(self.at),
            sandbox=self.sandbox,
            versions=self.versions,
            figures=tuple(self.figures),
            failure=as_sentence(failure) if failure else missing,
        )


def run_and_file(
    test: SelfTest, said: Iterator[Said], journal: Journal, folder: Path, show: Callable[[Measured], None]
) -> SelfTestReport:
    """The report, filed. A test that is interrupted is filed too if a figure had failed by then.

    Raises ``RunnerFailed``, with nothing filed, where no test could be begun.
    """
    failure = None
    try:
        for one in test.followed(said):
            show(one)
    except RunnerFailed as problem:
        if not test.worth_filing:
            raise
        failure = str(problem)
    except BaseException:
        if test.report().failed:
            file_report(test.report("it was interrupted"), journal, folder)
        raise
    report = test.report(failure)
    file_report(report, journal, folder)
    return report


def file_report(report: SelfTestReport, journal: Journal, folder: Path) -> None:
    """Keeps the report, then enters it: an entry's report is never missing because of a crash."""
    data = report.to_bytes()
    write_private(_path(folder, digest(data)), data)
    event = JournalEvent(
        at=report.at,
        kind=_KIND,
        what=report.in_words(),
        to="nobody",
        study=None,
        digest=digest(data),
        size=len(data),
    )
    journal.record(lambda _: event)


def require_no_failure(journal: Journal) -> None:
    """Raises ``SelfTestFailed`` if the newest self-test failed, or the newest thorough one.

    A machine on which none was ever run is no reason to refuse: its engine is the one that the tests of the product
    pass with.
    """
    for entry in (next(journal.newest_first(_KIND, prefix), None) for prefix in ("", "thorough ")):
        if entry is not None and not _passed(entry):
            how = " --thorough" if entry.event.what.startswith("thorough ") else ""
            raise SelfTestFailed(
                f"the privacy self-test of {entry.event.at} failed (journal entry {entry.index}): nothing is computed "
                f"until one passes. Mend the installation, then: {COMMAND}{how}"
            )


@dataclass(frozen=True, slots=True)
class Standing:
    """How this machine stands with its self-tests, in a sentence."""

    good: bool
    words: str


def standing(journal: Journal, folder: Path) -> Standing:
    """Not good where none was run, one failed, or the newest was run on other versions than are installed now."""
    newest = next(journal.newest_first(_KIND), None)
    if newest is None:
        return Standing(False, f"never run on this machine. Run it: {COMMAND}")
    try:
        require_no_failure(journal)
    except SelfTestFailed as problem:
        return Standing(False, str(problem))
    told = f"{newest.event.what.partition(', on ')[0]}, at {newest.event.at} (journal entry {newest.index})"
    changed = _changed(_read(folder, newest))
    if changed:
        return Standing(False, f"{told}; since then {', '.join(changed)}. Run it again: {COMMAND}")
    return Standing(True, told)


def _passed(entry: JournalEntry) -> bool:
    _, _, rest = entry.event.what.partition(" ")
    return rest.startswith(f"{NAME} {PASSED}: ")


def _read(folder: Path, entry: JournalEntry) -> SelfTestReport | None:
    """The report of an entry, by its digest; None where it is not there."""
    try:
        data = _path(folder, str(entry.event.digest)).read_bytes()
        return SelfTestReport.model_validate_json(data) if digest(data) == entry.event.digest else None
    except (OSError, ValidationError):
        return None


def _changed(report: SelfTestReport | None) -> list[str]:
    if report is None:
        return ["its report was taken away"]
    return [
        f"{name} went from {tested} to {installed}"
        for name, tested in sorted(report.versions.items())
        if (installed := installed_version(name)) != tested
    ]


def _path(folder: Path, name: str) -> Path:
    return private_folder(folder / FOLDER) / f"{name}.json"
