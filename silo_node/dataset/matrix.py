"""A matrix of which rows arrive in blocks: in memory while it is small, else in a private file without a name.

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


class GrowingMatrix:
    """Rows of ``columns`` float64 that are appended block by block, and given back as one array by ``finish``."""

    def __init__(self, columns: int, in_memory: int = IN_MEMORY_BYTES) -> None:
        self._columns = columns
        self._in_memory = in_memory
        self._full: list[NDArray[np.float64]] = []
        self._block = self._new_block(0)
        self._used = 0
        self._rows = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: NDArray[np.float64]) -> None:
        """Adds ``rows`` (m, columns), which are copied. Raises ``OSError`` where the disk is full."""
        self._rows += len(rows)
        if self._file is None and self._rows * self._columns * 8 > self._in_memory:
            self._spill()
        if self._file is not None:
            self._file.write(np.ascontiguousarray(rows, "<f8").data)
            return
        while len(rows):
            if self._used == len(self._block):
                self._full.append(self._block)
                self._block, self._used = self._new_block(len(rows)), 0
            taken = min(len(rows), len(self._block) - self._used)
            self._block[self._used : self._used + taken] = rows[:taken]
            self._used += taken
            rows = rows[taken:]

    def finish(self) -> NDArray[np.float64]:
        """All rows, float64 (n, columns). Nothing may be appended after."""
        if self._file is not None:
            return self._mapped(self._file)
        # np.empty takes pages only as they are written, and each block is let go as soon as it was copied.
        whole = np.empty((self._rows, self._columns))
        self._full.append(self._block[: self._used])
        self._block = self._new_block(0)
        at = 0
        self._full.reverse()
        while self._full:
            block = self._full.pop()
            whole[at : at + len(block)] = block
            at += len(block)
            del block
        return whole

    def _spill(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="consortia-rows-")  # noqa: SIM115  # It lives as long as its map.
        for block in (*self._full, self._block[: self._used]):
            self._file.write(np.ascontiguousarray(block, "<f8").data)
        self._full, self._block, self._used = [], self._new_block(0), 0

    def _mapped(self, file: IO[bytes]) -> NDArray[np.float64]:
        file.flush()
        mapped = mmap.mmap(file.fileno(), self._rows * self._columns * 8)
        file.close()
        return np.frombuffer(mapped, "<f8").reshape(self._rows, self._columns)

    def _new_block(self, rows: int) -> NDArray[np.float64]:
        wanted = max(1, _BLOCK_BYTES // (8 * self._columns)) if rows else 0
        return np.empty((wanted, self._columns))


def selected(
    matrix: NDArray[np.float64], where: NDArray[np.bool_], in_memory: int = IN_MEMORY_BYTES
) -> NDArray[np.float64]:
    """The rows of ``matrix`` (n, d) where ``where`` (n,) is true, gathered block by block."""
    growing = GrowingMatrix(matrix.shape[1], in_memory)
    step = max(1, _BLOCK_BYTES // (8 * matrix.shape[1]))
    for start in range(0, len(matrix), step):
        growing.append(matrix[start : start + step][where[start : start + step]])
    return growing.finish()
