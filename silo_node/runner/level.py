"""Which sandbox this machine offers, found by starting one and trying its walls: a fact for the owner's policy."""

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from silo_node.errors import ConfigRefused
from silo_node.runner.box.box import Box, Level, Limits, command, environment

WORDS: Final[dict[Level, str]] = {
    "bubblewrap": "bubblewrap: namespaces of its own, no network, only the approved files, seccomp",
    "landlock": "Landlock and seccomp: no network, only the approved files; bubblewrap is missing, or may not make "
    "namespaces here",
    "none": "none: neither bubblewrap nor Landlock (Linux 6.2 or later) works here",
}
_PROBE_LIMIT_S: Final = 20
_CLOSED: Final = 7
# Exit status 7 if a file outside can't be read and there are no sockets; anything else is a wall with a hole.
_PROBE: Final = """
import os, sys
def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False
import _socket
closed = refused(lambda: os.open(sys.argv[1], os.O_RDONLY)) and refused(_socket.socket)
sys.exit(7 if closed else 1)
"""


@functools.cache
def sandbox_level() -> Level:
    """The strongest level whose probe held; found once in a process."""
    levels: tuple[Level, ...] = ("bubblewrap", "landlock")
    return next((level for level in levels if holds(level)), "none")


def holds(level: Level) -> bool:
    """Whether a box of ``level`` starts here, keeps a file outside from being read, and has no network."""
    box = Box(Limits(memory_mib=1024))
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "outside"
        secret.write_bytes(b"outside")
        try:
            done = subprocess.run(
                command(box, level, ["-I", "-S", "-c", _PROBE, str(secret)]),
                env=environment(box),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PROBE_LIMIT_S,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == _CLOSED


def accepted_level(none_accepted: bool = False) -> Level:
    """The level to run at. Raises ``ConfigRefused`` for none, unless the owner accepts that."""
    level = sandbox_level()
    if level == "none" and not none_accepted:
        raise ConfigRefused(
            "no sandbox works on this machine, so nothing that reads rows is run: install bubblewrap, or use Linux 6.2 "
            'or later with Landlock; to run without all the same, set sandbox = "none-accepted" in silo.toml, which '
            "the journal records"
        )
    return level
