"""Reads the files that a data owner writes: policies and limits."""

import stat
from pathlib import Path

from silo_node.errors import PolicyRefused

MAX_FILE_BYTES = 1024 * 1024


def read_owner_file(path: Path) -> str:
    """The text of ``path``. Raises ``PolicyRefused`` unless it is a UTF-8 file of at most 1 MiB
    that only its owner (and group) can change."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise PolicyRefused(f"{path}: is no file; name the file itself")
        if found.st_mode & stat.S_IWOTH:
            raise PolicyRefused(f"{path}: everyone on this machine may change it; run chmod o-w on it")
        if found.st_size > MAX_FILE_BYTES:
            raise PolicyRefused(f"{path}: has {found.st_size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise PolicyRefused(f"{path}: can't be read: {problem.strerror}; check the path and its mode") from None
    except UnicodeDecodeError:
        raise PolicyRefused(f"{path}: isn't UTF-8 text; save it as UTF-8") from None
