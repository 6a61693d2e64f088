"""Blobs in a folder of this machine: what was taken in is there after a power cut."""

import contextlib
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hub.errors import NotFound

PART_BYTES = 4 * 1024 * 1024
LEFTOVER_AFTER_S = 86_400
_LEFTOVER = ".part-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*/?")
_TRIES = 5


class FolderBlobs:
    """An object is a file. It is written beside its place, synced, then linked there: whole, or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object; False when the name is taken (then nothing is changed). Durable in both cases."""
        return self._write(self._path(name), io.BytesIO(content))

    def store_large(self, name: str, content: BinaryIO) -> None:
        """Write an object whose name is its digest, in parts; the same name again means the same bytes."""
        self._write(self._path(name), content)

    def read(self, name: str) -> bytes:
        """Raises `NotFound`."""
        with self._open(name) as file:
            return file.read()

    def stream(self, name: str) -> Iterator[bytes]:
        """The object in parts. Raises `NotFound` before the first."""
        return _parts(self._open(name))

    def delete_under(self, prefixes: Iterable[str]) -> None:
        """Delete every object below the prefixes; those already gone don't matter."""
        for prefix in prefixes:
            for folder, _, files in os.walk(self._path(prefix), topdown=False):
                for name in files:
                    (Path(folder) / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: somebody has just put a new object there
                    Path(folder).rmdir()

    def tidy(self) -> None:
        """Delete what writers that were killed left half done, a day later."""
        oldest = time.time() - LEFTOVER_AFTER_S
        for path in self._folder.rglob(f"{_LEFTOVER}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("a blob's name has plain parts only")
        return self._folder / name

    def _open(self, name: str) -> BinaryIO:
        try:
            return self._path(name).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound("these bytes are not here, or not any more") from None

    def _write(self, path: Path, content: BinaryIO) -> bool:
        start = content.tell()
        for left in reversed(range(_TRIES)):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                new = _link_new(path, content)
                self._sync_up_from(path.parent)
            except FileNotFoundError:  # an emptied folder was deleted between two of these steps
                if not left:
                    raise
                content.seek(start)
            else:
                return new
        raise AssertionError("unreachable")

    def _sync_up_from(self, folder: Path) -> None:
        """All folders above as well: another thread may have made them and not synced them yet."""
        while True:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if folder == self._folder:
                return
            folder = folder.parent


def _link_new(path: Path, content: BinaryIO) -> bool:
    if path.exists():
        return False
    handle, beside = tempfile.mkstemp(prefix=_LEFTOVER, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(content, file, PART_BYTES)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another writer put there first.
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        Path(beside).unlink(missing_ok=True)
    return True


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(PART_BYTES):
            yield part
