"""How an analysis is called, at a silo and on mock rows alike: ``main(rows, out)`` of the bundle's ``analysis.py``.

``rows`` is a dict from column name to a float64 array (n,); ``out`` is an empty folder. Run as
``python -m protocol.job_harness BUNDLE ROWS COLUMNS MEMORY_MIB``: a folder with the bundle's files, a file of
little-endian float64 (n, columns) in C order, the columns' names joined by commas, the most memory.

What the analysis left in ``out`` goes to standard output as one document (``protocol.job_outputs``), so that no file,
link or device of it ever comes near the reader; what it printed is in it as ``printed.txt``. The reader takes a
bounded number of bytes, and believes none of them before they are read by the document's rules.
"""

import importlib.util
import os
import resource
import stat
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Malformed
from protocol.job_bundle import ENTRY
from protocol.job_outputs import outputs_of

FINISHED, FAILED, NO_OUTPUTS = 0, 1, 4
PRINTED: Final = "printed.txt"
MAX_PRINTED: Final = 64 * 1024


def main(arguments: list[str]) -> int:
    bundle, rows, names, memory_mib = arguments
    answer, printed = _take_output()
    bound = int(memory_mib) * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        status = _call(Path(bundle), Path(rows), names.split(","), Path(folder))
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            document = outputs_of({**collected(Path(folder)), **_printed(printed)}).encode()
        except (Malformed, OSError) as refusal:
            status = NO_OUTPUTS
            document = outputs_of({PRINTED: f"outputs refused: {refusal}\n".encode()}).encode()
    with os.fdopen(answer, "wb") as out:
        out.write(document)
    return status


def read_rows(path: Path, columns: list[str]) -> dict[str, NDArray[np.float64]]:
    """The table by column. Raises ``ValueError`` where the file is no table of so many columns."""
    values = np.fromfile(path, dtype="<f8").reshape(-1, len(columns))
    return {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(columns)}


def collected(folder: Path) -> dict[str, bytes]:
    """The plain files below ``folder`` by path. Raises ``Malformed`` for a link, a device or a pipe."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
            elif not stat.S_ISDIR(mode):
                raise Malformed(f"{name[:80]!r} is neither a file nor a folder")
    return found


def _call(bundle: Path, rows: Path, columns: list[str], out: Path) -> int:
    """Whatever the analysis raises is printed, for the owner to see."""
    try:
        table = read_rows(rows, columns)
        sys.path.insert(0, str(bundle))
        spec = importlib.util.spec_from_file_location("analysis", bundle / ENTRY)
        if spec is None or spec.loader is None:
            raise ImportError(f"{ENTRY} can't be loaded")
        analysis = importlib.util.module_from_spec(spec)
        sys.modules["analysis"] = analysis
        spec.loader.exec_module(analysis)
        analysis.main(table, out)
    except BaseException:  # noqa: BLE001  # an analysis may raise anything, SystemExit too
        traceback.print_exc()
        return FAILED
    return FINISHED


def _take_output() -> tuple[int, int]:
    """(where the document goes, a file that takes what is printed): standard output and error go to the latter."""
    answer = os.dup(1)
    printed, path = tempfile.mkstemp()
    Path(path).unlink()
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    return answer, printed


def _printed(descriptor: int) -> dict[str, bytes]:
    """The last of what was printed; no file where nothing was."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    text = os.pread(descriptor, MAX_PRINTED, max(0, size - MAX_PRINTED))
    return {PRINTED: text} if text else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
