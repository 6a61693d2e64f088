"""Trying an analysis on mock rows before anyone is asked: the silo's own harness, here, on rows about nobody.

It is the researcher's own code on the researcher's own machine: a process with no key and no environment, and no box.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import protocol
from client.catalogue import DatasetAtSilo
from client.errors import TrialFailed, UsageRefused
from protocol.errors import Malformed
from protocol.job_bundle import CodeBundle
from protocol.job_harness import FINISHED
from protocol.job_outputs import JobOutputs, read_outputs

_ROOT: Final = Path(protocol.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class JobTrial:
    """What an analysis gave on ``rows`` mock rows of one silo; ``finished`` unless it failed."""

    silo: str
    rows: int
    finished: bool
    outputs: JobOutputs


def try_job(
    bundle: CodeBundle, dataset: DatasetAtSilo, columns: Sequence[str], seconds: int, memory_mib: int
) -> JobTrial:
    """Run the bundle on mock rows, as the silo would on its own. Raises ``UsageRefused`` or ``TrialFailed``."""
    names = list(columns) or [column.name for column in dataset.columns]
    mock = dataset.mock
    try:
        values = np.column_stack([mock.column(name) for name in names])
    except Malformed as refusal:
        raise UsageRefused(f"--columns: {refusal}") from None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for path, text in bundle.texts.items():
            (folder / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "bundle" / path).write_bytes(text.encode())
        values.astype("<f8").tofile(folder / "rows")
        status, document = _run(folder, ",".join(names), seconds, memory_mib)
    try:
        return JobTrial(dataset.owner, len(values), status == FINISHED, read_outputs(document))
    except Malformed:
        raise TrialFailed("the analysis gave no outputs that can be read: did it end its process?") from None


def _run(folder: Path, names: str, seconds: int, memory_mib: int) -> tuple[int, bytes]:
    harness = ["-m", "protocol.job_harness", str(folder / "bundle"), str(folder / "rows"), names, str(memory_mib)]
    environment = {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, *harness],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=folder, env=environment, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TrialFailed(f"the analysis took longer than {seconds} s on mock rows; ask for more: --seconds") from None
    return ended.returncode, ended.stdout
