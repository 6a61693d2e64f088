"""How an analysis is called, at a silo and on mock rows alike: ``main(rows, out)`` of the bundle's ``analysis.py``.

``rows`` is a dict from column name to a float64 array (n,), ``out`` the folder for what is to be returned. Run as
``python -m protocol.job_harness BUNDLE ROWS COLUMNS OUT``: a folder with the bundle's files, a file of little-endian
float64 (n, columns) in C order, the columns' names joined by commas, a folder to write to.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.job_bundle import ENTRY

NO_ENTRY: Final = 3
"""The exit status for an ``analysis.py`` without ``main``."""


def read_rows(path: Path, columns: list[str]) -> dict[str, NDArray[np.float64]]:
    """The table by column. Raises ``ValueError`` where the file is no table of so many columns."""
    values = np.fromfile(path, dtype="<f8").reshape(-1, len(columns))
    return {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(columns)}


def main(arguments: list[str]) -> int:
    bundle, rows, names, out = arguments
    table = read_rows(Path(rows), names.split(","))
    sys.path.insert(0, bundle)
    spec = importlib.util.spec_from_file_location("analysis", Path(bundle) / ENTRY)
    if spec is None or spec.loader is None:
        return NO_ENTRY
    analysis = importlib.util.module_from_spec(spec)
    sys.modules["analysis"] = analysis
    spec.loader.exec_module(analysis)
    if not callable(getattr(analysis, "main", None)):
        sys.stderr.write(f"{ENTRY} defines no main(rows, out)\n")
        return NO_ENTRY
    analysis.main(table, Path(out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
