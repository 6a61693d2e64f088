"""A matrix whose rows arrive in blocks: in memory while it is small, else in a private file without a name.

Neither way is there ever a second copy of the whole. The file lies in the folder that ``TMPDIR`` names (else /tmp);
it is unlinked from the start, so that only this process reaches it and nothing is left when the process ends.
"""

import mmap
import tempfile
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

IN_MEMORY_BYTES: Final = 2 * 2**30
"""The largest matrix that is held in memory; a larger one is mapped from a file."""
_BLOCK_BYTES: Final = 64 * 2**20
_STEP_BYTES: Final = 64 * 2**20
"""Memory grows by so much at a time; what no row has reached yet takes address space only."""

_COPIED_ROWS: Final = 512


class GrowingMatrix:
    """Rows of ``columns`` float64 that are appended block by block, and given back as one array by ``finish``."""

    def __init__(self, columns: int, in_memory: int = IN_MEMORY_BYTES) -> None:
        self._columns = columns
        self._in_memory = in_memory
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
        self._file = tempfile.TemporaryFile(prefix="consortia-rows-")  # noqa: SIM115  # It lives as long as its map.
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


def selected(
    matrix: NDArray[np.float64], where: NDArray[np.bool_], in_memory: int = IN_MEMORY_BYTES
) -> NDArray[np.float64]:
    """The rows of ``matrix`` (n, d) where ``where`` (n,) is true, gathered block by block."""
    growing = GrowingMatrix(matrix.shape[1], in_memory)
    step = max(1, _BLOCK_BYTES // (8 * matrix.shape[1]))
    for start in range(0, len(matrix), step):
        growing.append(matrix[start : start + step][where[start : start + step]])
    return growing.finish()
