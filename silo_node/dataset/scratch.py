"""Room on the disk for rows that memory does not hold: for a matrix, and for the copy of a file that is parsed.

In a box the agent lends a file for each, which the environment names: a temporary folder there is memory itself.
"""

import os
import tempfile
from pathlib import Path
from typing import IO, Final, Literal

SCRATCH: Final = "CONSORTIA_SCRATCH"
"""The environment's name of the folder with both files; without it they are temporary files, where TMPDIR says."""
ROWS: Final = "rows"
COPY: Final = "copy"


def scratch_file(name: Literal["rows", "copy"]) -> IO[bytes]:
    """The file, empty, for reading and writing. A lent one serves one user at a time: whoever came before loses it."""
    folder = os.environ.get(SCRATCH)
    if folder is None:
        return tempfile.TemporaryFile(prefix="consortia-")
    file = (Path(folder) / name).open("r+b")
    file.truncate()
    return file
