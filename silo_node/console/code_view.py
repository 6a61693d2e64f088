"""Code and outputs as their pages show them, whole or not at all: what isn't shown can't be said yes to here."""

from dataclasses import dataclass
from typing import Final

from protocol.canonical import digest
from protocol.job_bundle import CodeBundle
from protocol.job_record import JobRecord
from silo_node.agent.job_answering import code_of
from silo_node.agent.job_files import HeldRun
from silo_node.agent.job_reading import ShownFile, described, difference, files
from silo_node.agent.jobs import Jobs
from silo_node.agent.silo import Silo
from silo_node.errors import JobRefused

MAX_LETTERS: Final = 400_000
MAX_LINES: Final = 20_000
MAX_COMPARED: Final = 4_000
"""Lines of both versions together: comparing takes the square of them, and every page waits for it."""


@dataclass(frozen=True, slots=True)
class CodeView:
    """``files`` is empty where they can't be shown, and ``problem`` says why. ``before``: the job whose code was
    approved last; ``changes``: a unified diff from it."""

    files: tuple[ShownFile, ...] = ()
    before: str = ""
    changes: tuple[str, ...] = ()
    uncompared: str = ""
    problem: str = ""

    @property
    def unusual(self) -> tuple[str, ...]:
        return tuple(f"{file.path}:{line.number}" for file in self.files for line in file.lines if line.unusual)


@dataclass(frozen=True, slots=True)
class OutputView:
    """``text`` with hidden characters spelled out; None where it can't be shown."""

    path: str
    size: int
    digest: str
    text: str | None


@dataclass(frozen=True, slots=True)
class OutputsView:
    """What a run gave. ``whole``: every output is shown to its end."""

    run: HeldRun
    outputs: tuple[OutputView, ...]

    @property
    def whole(self) -> bool:
        return all(one.text is not None for one in self.outputs)


def code_view(silo: Silo, jobs: Jobs, record: JobRecord) -> CodeView:
    try:
        bundle = code_of(silo, record)
    except JobRefused as problem:
        return CodeView(problem=str(problem))
    shown = files(bundle)
    letters = sum(len(line.text) for file in shown for line in file.lines)
    if letters > MAX_LETTERS or _length(shown) > MAX_LINES:
        return CodeView(problem=f"It is too long for a page; read it with: consortia-silo job read {record.job[:12]}")
    return _compared(silo, jobs.last_approved(record), bundle, shown)


def _compared(silo: Silo, before: JobRecord | None, bundle: CodeBundle, shown: tuple[ShownFile, ...]) -> CodeView:
    if before is None:
        return CodeView(shown, uncompared="None of its name by this researcher was approved here: read it whole.")
    try:
        approved = code_of(silo, before)
    except JobRefused as problem:
        return CodeView(shown, uncompared=f"The version approved last can't be compared: {problem}")
    if _length(shown) + _length(files(approved)) > MAX_COMPARED:
        return CodeView(shown, uncompared="Too long to compare here; compare it with: consortia-silo job diff")
    return CodeView(shown, before.job, tuple(difference(approved, bundle)))


def outputs_view(held: HeldRun) -> OutputsView:
    outputs, letters = [], 0
    for path, content, text in described(held.outputs):
        letters += len(text or "")
        told = text if letters <= MAX_LETTERS else None
        outputs.append(OutputView(path, len(content), digest(content), told))
    return OutputsView(held, tuple(outputs))


def _length(shown: tuple[ShownFile, ...]) -> int:
    return sum(len(file.lines) for file in shown)
