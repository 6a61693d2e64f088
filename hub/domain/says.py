"""What the hub has to say next, as values; `services.voice` turns them into signed statements."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartKeying:
    epoch: int
    silos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenRound:
    index: int
    attempt: int
    silos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FreezeRound:
    index: int
    attempt: int
    ready: tuple[tuple[str, str], ...]
    base: str


@dataclass(frozen=True, slots=True)
class ServeSum:
    """Only sayable once the chunks of the sum over exactly these survivors are there."""

    index: int
    attempt: int
    survivors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseRound:
    index: int
    attempt: int
    agreed: tuple[str, ...]
    suspended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VoidRound:
    index: int
    attempt: int
    why: str
    suspended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseStudy:
    outcome: str
    reason: str


Say = StartKeying | OpenRound | FreezeRound | ServeSum | CloseRound | VoidRound | CloseStudy
