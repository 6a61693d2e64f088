"""A matrix whose rows arrive in blocks: in memory while it is small, else mapped from a private file.

Neither way is there ever a second copy of the whole, and of a mapped file the system keeps in memory what it has room
for.
"""

import mmap
import resource
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from silo_node.dataset.scratch import ROWS, scratch_file

IN_MEMORY_BYTES: Final = 2 * 2**30
"""The largest matrix that is held in memory, where memory isn't bounded closer; a larger one is mapped from a file."""
_SHARE: Final = 4
"""Of what the process may have, a matrix in memory takes one part in so many."""
_STEP_BYTES: Final = 64 * 2**20
"""Memory grows by so much at a time; what no row has reached yet takes address space only."""

_COPIED_ROWS: Final = 512


def in_memory_bytes() -> int:
    """The largest matrix that this process holds in memory."""
    bound, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return IN_MEMORY_BYTES if bound == resource.RLIM_INFINITY else min(IN_MEMORY_BYTES, bound // _SHARE)


class GrowingMatrix:
    """Rows of ``columns`` float64 that are appended block by block, and given back as one array by ``finish``."""

    def __init__(self, columns: int, in_memory: int | None = None) -> None:
        self._columns = columns
        self._in_memory = in_memory_bytes() if in_memory is None else in_memory
        self._memory: mmap.mmap | None = None
        self._rows = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: NDArray[np.float64]) -> None:
        """Adds ``rows`` (m, columns), which are copied. Raises ``OSError`` where the disk is full."""
        start = self._rows
        self._rows += len(rows)
        if self._file is None and self._bytes > self._in_memory:
            self._spill(start)
        if self._file is not None:
            self._file.write(np.ascontiguousarray(rows, "<f8").data)
        elif len(rows):
            _copy(rows, self._array(self._grown())[start:])

    def finish(self) -> NDArray[np.float64]:
        """All rows, float64 (n, columns). Nothing may be appended after."""
        if self._file is not None:
            return self._mapped(self._file)
        if self._memory is None:
            return np.empty((0, self._columns))
        return self._array(self._memory)

    @property
    def _bytes(self) -> int:
        return self._rows * self._columns * 8

    def _grown(self) -> mmap.mmap:
        """Memory for all rows. Growing moves no row: the system only maps the same pages elsewhere."""
        wanted = -(-self._bytes // _STEP_BYTES) * _STEP_BYTES
        if self._memory is None:
            self._memory = mmap.mmap(-1, wanted, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        elif len(self._memory) < wanted:
            self._memory.resize(wanted)
        return self._memory

    def _array(self, memory: mmap.mmap) -> NDArray[np.float64]:
        return np.frombuffer(memory, "<f8", self._rows * self._columns).reshape(self._rows, self._columns)

    def _spill(self, rows: int) -> None:
        """Writes the ``rows`` that memory holds to a file."""
        self._file = scratch_file(ROWS)
        if self._memory is not None:
            with memoryview(self._memory) as held:
                self._file.write(held[: rows * self._columns * 8])
            self._memory.close()
            self._memory = None

    def _mapped(self, file: IO[bytes]) -> NDArray[np.float64]:
        file.flush()
        mapped = mmap.mmap(file.fileno(), self._bytes)
        file.close()
        return self._array(mapped)


def _copy(rows: NDArray[np.float64], place: NDArray[np.float64]) -> None:
    """Copies in pieces that the processor's cache holds: ``rows`` lie column beside column where a table gives them."""
    for start in range(0, len(rows), _COPIED_ROWS):
        place[start : start + _COPIED_ROWS] = rows[start : start + _COPIED_ROWS]
