"""What the scripts of all peers share: the vectors that are summed, the command line, and the figures as JSON.

A peer is a module run as `python -m benchmarks.peers.NAME ROLE FOLDER VALUES SILOS NUMBER`, each role in a process of
its own: `keys`, `seal`, `add`, `open`. It may run under another interpreter, so only NumPy is imported here.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figures = dict[str, float]

_SEED: Final = 20240607
_BLOCK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Task:
    """One role's work: `silos` vectors of `values` in [-1, 1], files in `folder`; `number` is the silo's place."""

    folder: Path
    values: int
    silos: int
    number: int


Role = Callable[[Task], Figures]


def silo_blocks(values: int, number: int) -> Iterator[Floats]:
    """A silo's vector (values,) in [-1, 1], the same in every run and for every peer, in blocks of 2^18."""
    for at in range(0, values, _BLOCK):
        yield np.random.default_rng([_SEED, number, at]).uniform(-1, 1, min(_BLOCK, values - at))


def silo_values(values: int, number: int) -> Floats:
    """All of a silo's vector."""
    return np.concatenate(list(silo_blocks(values, number)))


def largest_error(sums: Floats, silos: int) -> float:
    """The largest absolute difference between `sums` (values,), which may lie in a file, and the silos' sum."""
    largest, at = 0.0, 0
    for blocks in zip(*(silo_blocks(sums.size, number) for number in range(silos)), strict=True):
        expected = sum(blocks[1:], start=blocks[0])
        largest = max(largest, float(np.max(np.abs(sums[at : at + expected.size] - expected))))
        at += expected.size
    return largest


def peak_mb() -> float:
    """Highest resident memory of this process in MB (10^6 bytes); Linux only, as these machines are."""
    # Not ru_maxrss, which a new process inherits from the one that started it.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status: no VmHWM line; this measurement needs Linux")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def run_script(roles: Mapping[str, Role]) -> None:
    """Read the command line, play the role, and print its figures as one JSON object on the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=sorted(roles))
    parser.add_argument("folder", type=Path)
    for name in ("values", "silos", "number"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    figures = roles[asked.role](Task(asked.folder, asked.values, asked.silos, asked.number))
    print(json.dumps({"peak_mb": peak_mb(), **figures}))
