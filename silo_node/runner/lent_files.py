"""Files that a box is lent beside its dataset: a query's answer to read, and room on the disk for rows.

They lie in a private folder of the silo, 0600, and go with the box. A node that was killed leaves them behind; the next
one removes them. Under bubblewrap they have no name any more once the box holds them, so that nothing is left at all.
"""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from silo_node.dataset.scratch import COPY, ROWS
from silo_node.dataset.sources.description import FETCHED
from silo_node.errors import ConfigRefused, RunnerFailed
from silo_node.private_files import private_folder

FOLDER: Final = "boxed"


@dataclass(frozen=True, slots=True)
class LentFiles:
    """``room`` (0700) holds the files ``rows`` and ``copy``, an empty folder, and ``answer`` for a query's."""

    room: Path
    answer: BinaryIO | None = field(repr=False)

    @property
    def scratch(self) -> tuple[Path, ...]:
        """Those that the box may write."""
        return (self.room / ROWS, self.room / COPY)

    @property
    def folder(self) -> Path:
        """Where it may make files, if it is lent that instead."""
        return self.room / "tmp"

    @property
    def fetched(self) -> Path | None:
        """The query's answer, which it may read."""
        return self.room / f"answer{FETCHED}" if self.answer is not None else None

    def remove(self) -> None:
        """Takes their names away, if they still have any. Who holds one open, or bound, still has it."""
        if self.room.exists():
            _emptied(self.room)


def lent_files(datasets: Path, with_answer: bool) -> LentFiles:
    """New, empty files below the folder ``datasets``, and none any more of processes that are gone.

    Raises ``RunnerFailed``.
    """
    try:
        shelf = private_folder(private_folder(datasets) / FOLDER)
        for left in shelf.iterdir():
            owner = left.name.partition("-")[0]
            if not (owner.isdecimal() and Path(f"/proc/{owner}").exists()):
                _emptied(left)
        room = private_folder(shelf / f"{os.getpid()}-{secrets.token_hex(8)}")
        for name in (ROWS, COPY):
            _new(room / name).close()
        private_folder(room / "tmp")
        return LentFiles(room, _new(room / f"answer{FETCHED}") if with_answer else None)
    except (ConfigRefused, OSError) as error:
        raise RunnerFailed(f"a box has no place for its files: {error}") from None


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _emptied(room: Path) -> None:
    """Without following links: code in a box may have made some."""
    for folder, folders, files in os.walk(room, topdown=False):
        for name in files:
            (Path(folder) / name).unlink(missing_ok=True)
        for name in folders:
            below = Path(folder) / name
            below.unlink() if below.is_symlink() else below.rmdir()
    room.rmdir()
