"""What adds the chunks of terms: the interface, its job and its outcomes as values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hub.store.blobs import BlobPlace
from protocol.sealing.parameters import Layout


@dataclass(frozen=True, slots=True)
class SumJob:
    """Chunk `position` of the sum over `silos`, in this order; `arrived` is the order in which they delivered it.

    `blobs` says where the terms lie and the sum goes, so that a worker needs nothing else.
    """

    blobs: BlobPlace
    study: str
    round: int
    attempt: int
    survivors: str
    position: int
    silos: tuple[str, ...]
    arrived: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Added:
    """The sum's chunk is stored: SHA-256 in hex, bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class BadTerm:
    """One silo's chunk can't be added; the reason holds no content of it."""

    silo: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The workers failed, not the terms: try again."""

    reason: str


Outcome = Added | BadTerm | Failed
Done = Callable[[SumJob, Outcome], None]


class Aggregator(Protocol):
    """Runs jobs elsewhere; `submit` returns at once, a job that is under way already is not run twice."""

    def start(self, done: Done) -> None: ...

    def submit(self, job: SumJob) -> None: ...

    def close(self) -> None: ...
