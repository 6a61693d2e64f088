"""A folder of code as a bundle: what is in it, and nothing that it points to."""

import stat
from pathlib import Path
from typing import Final

from client.errors import UsageRefused
from protocol.errors import Malformed
from protocol.job_bundle import MAX_FILES, MAX_TEXT_BYTES, CodeBundle, bundle_of

LEFT_OUT: Final = ("__pycache__",)


def read_folder(folder: Path) -> CodeBundle:
    """The bundle of all files below ``folder``, but for ``__pycache__`` and what begins with a dot.

    Raises ``UsageRefused`` for a link, a device, a file that is no text, or bounds that are crossed.
    """
    if not folder.is_dir():
        raise UsageRefused(f"{folder} is not a folder; a bundle is a folder with an analysis.py in it")
    files: dict[str, bytes] = {}
    _collect(folder, folder, files)
    try:
        return bundle_of(files)
    except Malformed as refusal:
        raise UsageRefused(f"{folder}: {refusal}") from None


def _collect(folder: Path, top: Path, files: dict[str, bytes]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.startswith("."):
            continue
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            _collect(path, top, files)
        elif not stat.S_ISREG(found.st_mode):
            raise UsageRefused(f"{path} is neither a file nor a folder; a bundle holds no links")
        elif found.st_size > MAX_TEXT_BYTES or len(files) >= MAX_FILES:
            raise UsageRefused(f"{path}: at most {MAX_FILES} files, {MAX_TEXT_BYTES} bytes in all; leave data out")
        else:
            files[path.relative_to(top).as_posix()] = path.read_bytes()
