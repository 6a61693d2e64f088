"""Where reviewed code runs: a box that has the bundle, the granted rows, and a pipe out for what it wrote.

``Bubblewrap`` gives it namespaces of its own (no network, no other process, no file beyond Python's and the two it is
given, read-only), an empty environment, a small memory file system to write to, a bound on memory and on time. Nothing
runs without a box.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import protocol
from protocol.job_bundle import MAX_BUNDLE_BYTES
from protocol.job_harness import FINISHED
from silo_node.errors import RunnerFailed

Outcome = Literal["finished", "failed", "timed-out"]
SCRATCH_BYTES: Final = 64 * 1024**2
MAX_DOCUMENT_BYTES: Final = MAX_BUNDLE_BYTES
_PIECE: Final = 1 << 16
_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one run needs. ``bundle``: a folder of its files; ``rows``: float64 (n, columns) in a file."""

    bundle: Path
    rows: Path
    columns: tuple[str, ...]
    seconds: int
    memory_mib: int


@dataclass(frozen=True, slots=True, repr=False)
class Ended:
    """How a run ended, and the bytes that it gave; they may be anything."""

    outcome: Outcome
    document: bytes

    def __repr__(self) -> str:
        return f"Ended({self.outcome!r}, {len(self.document)} bytes, redacted)"


class Box(Protocol):
    """``level`` names the isolation, for the record."""

    level: str

    def run(self, analysis: Analysis) -> Ended:
        """Raises ``RunnerFailed`` where the box can't be made; then nothing of the analysis ran."""


class Bubblewrap:
    """A box by ``bwrap``."""

    level = "bubblewrap"

    def __init__(self, program: str | None = None) -> None:
        found = program or shutil.which("bwrap")
        if found is None:
            raise RunnerFailed("reviewed code runs only in a sandbox, and bwrap is not here: apt install bubblewrap")
        self._program = found

    def run(self, analysis: Analysis) -> Ended:
        command = [self._program, *_walls(analysis), "--", *_inside(analysis)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise RunnerFailed(f"the sandbox can't be started: {error.strerror}") from None
        return _followed(process, analysis.seconds)


def _followed(process: "subprocess.Popen[bytes]", seconds: int) -> Ended:
    """What comes out of the box until it ends, is late, or says too much; then all in it is ended."""
    deadline = time.monotonic() + seconds
    try:
        document = _read(process, deadline)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        return Ended("timed-out", b"")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return Ended("finished" if status == FINISHED else "failed", document)


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """Raises ``TimeoutError``. Of a document that is too long one byte more than it may have, and the box is ended."""
    pipe = process.stdout
    if pipe is None:
        raise RunnerFailed("the sandbox was started without its pipe")
    poll, data = select.poll(), bytearray()
    poll.register(pipe, select.POLLIN)
    while len(data) <= MAX_DOCUMENT_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(pipe.fileno(), min(_PIECE, MAX_DOCUMENT_BYTES + 1 - len(data)))
        if not piece:
            return bytes(data)
        data += piece
    os.killpg(process.pid, signal.SIGKILL)
    return bytes(data)


def _walls(analysis: Analysis) -> list[str]:
    """Temporary file systems come before what is bound below them."""
    walls = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--clearenv"]
    walls += ["--cap-drop", "ALL", "--hostname", "box", "--proc", "/proc", "--dev", "/dev"]
    walls += ["--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"]  # noqa: S108  # its own
    for path in _SYSTEM:
        if Path(path).is_symlink():
            walls += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).exists():
            walls += ["--ro-bind", path, path]
    for part in _python():
        walls += ["--ro-bind", str(part), str(part)]
    walls += ["--ro-bind", str(analysis.bundle), "/job/bundle", "--ro-bind", str(analysis.rows), "/job/rows"]
    for name, value in (("PYTHONPATH", ":".join(_search())), ("PYTHONDONTWRITEBYTECODE", "1"), ("LANG", "C.UTF-8")):
        walls += ["--setenv", name, value]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        walls += ["--setenv", name, "1"]
    return [*walls, "--chdir", "/tmp"]  # noqa: S108


def _inside(analysis: Analysis) -> list[str]:
    columns = ",".join(analysis.columns)
    harness = ["-m", "protocol.job_harness", "/job/bundle", "/job/rows", columns, str(analysis.memory_mib)]
    return [sys.executable, "-s", *harness]


def _python() -> list[Path]:
    """The interpreter, its libraries, and of this project the package ``protocol`` alone."""
    wanted = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, _libraries()), Path(protocol.__file__).parent]
    return [path for path in dict.fromkeys(wanted) if path.exists() and not path.is_relative_to("/usr")]


def _search() -> list[str]:
    return [str(Path(protocol.__file__).parents[1]), *_libraries()]


def _libraries() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
