"""The same sum by a peer: its roles run as scripts of their own, with the interpreter that has its libraries."""

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.peers.roles import Figures

PEERS: Final = ("ckks", "nvflare")
_REQUIREMENT: Final = "nvflare[HE]==2.9.*"
_ROOT: Final = Path(__file__).parents[1]


class PeerFailed(RuntimeError):
    """A peer could not be installed, or one of its roles ended with an error."""


@contextmanager
def peer_python(peer: str, given: Path | None) -> Iterator[Path]:
    """The interpreter that runs this peer; NVFlare's is installed into a temporary folder unless one is given.

    Raises PeerFailed when the installation doesn't work.
    """
    if given is not None or peer == "ckks":
        yield given or Path(sys.executable)
        return
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        venv.create(name, with_pip=True)
        python = Path(name) / "bin" / "python"
        command = [str(python), "-m", "pip", "install", "--quiet", _REQUIREMENT]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode:
            raise PeerFailed(f"{peer}: `pip install {_REQUIREMENT}` failed: {_last_line(installed.stderr)}")
        yield python


def measure_peer(peer: str, values: int, silos: int, python: Path) -> Figures:
    """One whole sum by the peer. Raises PeerFailed when a role fails."""
    with tempfile.TemporaryDirectory(prefix=f"{peer}-sum-") as name:

        def run(role: str, number: int = 0) -> Figures:
            return _run(peer, python, [role, name, str(values), str(silos), str(number)])

        run("keys")
        sealed = [run("seal", number) for number in range(silos)]
        added, opened = run("add"), run("open")
    peaks = {
        "seal_peak_mb": max(figures["peak_mb"] for figures in sealed),
        "add_peak_mb": added["peak_mb"],
        "open_peak_mb": opened["peak_mb"],
    }
    return {
        "values": values,
        "silos": silos,
        "upload_bytes_per_value": sealed[0]["bytes"] / values,
        "download_bytes_per_value": added["bytes"] / values,
        "seal_s": max(figures["seconds"] for figures in sealed),
        "add_s": added["seconds"],
        "open_s": opened["seconds"],
        "peak_mb": max(peaks.values()),
        **peaks,
        "max_error": opened["error"],
    }


def _run(peer: str, python: Path, arguments: list[str]) -> Figures:
    command = [str(python), "-m", f"benchmarks.peers.{peer}_sum", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise PeerFailed(f"{peer}: its role {arguments[0]} failed: {_last_line(done.stderr)}")
    figures: Figures = json.loads(_last_line(done.stdout))
    return figures


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
