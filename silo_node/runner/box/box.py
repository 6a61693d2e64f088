"""What a box is: the files that code in it sees, and its bounds; and the command that runs code in one.

The outer wall is bubblewrap's namespaces, or Landlock where there are none. At its door ``entering`` sets the limits,
drops capabilities and filters system calls, alike for both.
"""

import errno
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from silo_node.runner.box.code import ROOT, SYSTEM, code_paths

Level = Literal["bubblewrap", "landlock", "none"]
MIB: Final = 2**20
# Not /dev/zero: mapped, it is shared memory that no limit counts.
_DEVICES: Final = ("/dev/null", "/dev/urandom", "/dev/random")
_ABOUT_THE_MACHINE: Final = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class Limits:
    """A box's bounds, of each process in it. ``cpu_s`` None: the caller watches the clock.

    ``mapped_mib`` is address space beyond ``memory_mib``, for files that are mapped and for no data without a file.
    """

    memory_mib: int
    mapped_mib: int = 0
    scratch_mib: int = 256
    file_mib: int = 256
    threads: int = 128
    open_files: int = 512
    cpu_s: int | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """Code in it sees the interpreter, the product's code, ``readable``, and ``writable`` alone to write to.

    ``scratch`` are files that it may write besides, and read; they must be there. Absolute paths, all at their own
    place. Its /tmp is its own and bounded; under Landlock there is none.
    """

    limits: Limits
    readable: tuple[Path, ...] = ()
    writable: Path | None = None
    scratch: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def command(box: Box, level: Level, arguments: Sequence[str]) -> list[str]:
    """The command that runs this interpreter with ``arguments`` in ``box``; at level ``none``, without any wall.

    Start it with ``environment(box)`` and no descriptors beyond the standard ones. Raises ``OSError`` where bubblewrap
    is asked for and missing.
    """
    program = [sys.executable, *arguments]
    if level == "none":
        return program
    door = [sys.executable, "-S", "-P", "-m", "silo_node.runner.box.entering"]
    inside = [*door, json.dumps(_terms(box, level)), *program]
    return [*_bubblewrap(box), *inside] if level == "bubblewrap" else inside


def environment(box: Box) -> dict[str, str]:
    """All that code in ``box`` finds in its environment: nothing of the agent's, where passphrases may stand."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108  # the box's own
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **box.environment,
    }


def _terms(box: Box, level: Level) -> dict[str, Any]:
    bounds = box.limits
    limits = {
        "AS": (bounds.memory_mib + bounds.mapped_mib) * MIB,
        "DATA": bounds.memory_mib * MIB,
        "CORE": 0,
        "FSIZE": bounds.file_mib * MIB,
        "NOFILE": bounds.open_files,
    }
    if bounds.cpu_s is not None:
        limits["CPU"] = bounds.cpu_s
    if level == "bubblewrap":
        # Counted in the box's own user namespace.
        limits["NPROC"] = bounds.threads
        return {"limits": limits, "threads": None, "landlock": None}
    readable = [*SYSTEM, *map(str, code_paths()), *map(str, box.readable), *_DEVICES, *_ABOUT_THE_MACHINE]
    writable = ["/dev/null", *([str(box.writable)] if box.writable else []), *map(str, box.scratch)]
    # Python looks for packages by listing the folder that they lie in: of a checkout, names can be seen and no more.
    files = {"readable": readable, "writable": writable, "listable": [str(ROOT)]}
    return {"limits": limits, "threads": bounds.threads, "landlock": files}


def _bubblewrap(box: Box) -> list[str]:
    scratch = str(box.limits.scratch_mib * MIB)
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError(errno.ENOENT, "bubblewrap (bwrap) is not installed")
    words = [program, "--die-with-parent", "--cap-drop", "ALL"]
    words += ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "box", "--uid", "65534", "--gid", "65534"]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    # Folders of its own come before what is bound below them.
    words += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/dev/null", "/dev/zero"]
    words += ["--size", scratch, "--tmpfs", "/dev/shm"]  # noqa: S108
    words += ["--remount-ro", "/dev", "--size", scratch, "--tmpfs", "/tmp"]  # noqa: S108
    for seen in (*code_paths(), *box.readable):
        words += ["--ro-bind", str(seen), str(seen)]
    for path in (*([box.writable] if box.writable else []), *box.scratch):
        words += ["--bind", str(path), str(path)]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--"]
