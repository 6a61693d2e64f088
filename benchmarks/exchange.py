"""What the roles of the sealed-sum benchmark share, and how each runs in a process of its own."""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np

from protocol.sealing.decode import Floats, Segment
from protocol.sealing.masks import MaskOffer, MaskSecrets
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret

Figures = dict[str, float]
Role = Callable[["Exchange", int], Figures]

_SEED: Final = 20240607


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every role knows: the layout, and where the chunks lie."""

    folder: Path
    layout: Layout
    freeze: bytes

    @property
    def silos(self) -> list[str]:
        return [f"silo-{number}" for number in range(self.layout.terms)]

    @property
    def segments(self) -> list[Segment]:
        return [Segment(self.layout.values, 0)]

    @property
    def secret(self) -> StudySecret:
        return StudySecret.from_bytes((self.folder / "secret").read_bytes())

    def mask_secrets(self, number: int) -> MaskSecrets:
        return MaskSecrets.from_bytes((self.folder / f"masks-{number}").read_bytes())

    @property
    def offers(self) -> dict[str, MaskOffer]:
        """What the silos signed of their masks before the freeze."""
        return {silo: self.mask_secrets(number).offer for number, silo in enumerate(self.silos)}

    def prepare(self) -> None:
        """The study secret and every silo's mask seeds."""
        (self.folder / "secret").write_bytes(StudySecret.generate().to_bytes())
        for number in range(self.layout.terms):
            (self.folder / f"masks-{number}").write_bytes(MaskSecrets.generate().to_bytes())

    def chunk(self, name: str, index: int) -> Path:
        return self.folder / f"{name}-{index}"

    def size(self, name: str) -> int:
        """Bytes of a term's chunks, or of the sum's."""
        return sum(self.chunk(name, index).stat().st_size for index in range(self.layout.chunks))

    def values(self, number: int) -> Floats:
        """A silo's vector (values,) in [-1, 1]."""
        return np.random.default_rng([_SEED, number]).uniform(-1, 1, self.layout.values)

    def error_of(self, sums: Floats) -> float:
        """The largest difference from the sum of the floats."""
        expected = np.zeros(self.layout.values)
        for number in range(self.layout.terms):
            expected += self.values(number)
        return float(np.max(np.abs(sums - expected)))


def peak_mb() -> float:
    """Highest resident memory of this process in MB (10^6 bytes); Linux only, as these machines are."""
    # Not ru_maxrss, which a new process inherits from the one that started it.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status: no VmHWM line; this measurement needs Linux")


def run_role(role: Role, exchange: Exchange, number: int = 0) -> Figures:
    """Run one role in a fresh process and give its figures."""
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(role, exchange, number, outbox))
    process.start()
    outbox.close()
    try:
        figures: Figures = inbox.recv()
    finally:
        process.join()
    return figures


def _child(role: Role, exchange: Exchange, number: int, out: Connection) -> None:
    figures = role(exchange, number)
    out.send({"peak_mb": peak_mb(), **figures})
    out.close()
