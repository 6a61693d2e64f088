"""The silo's datasets as syft datasets: mock rows that the consortium's people may see, a private side that holds none.

The one module that speaks ``syft_datasets``. The folder is laid out as PySyft lays a datasite out, so its users find
what they know. The private side is a reference: it names a registration. Rows are read where they are registered, by
``Catalogue.open`` and in no other way, so nothing that goes wrong here can show a row.

A dataset is built aside, made private file by file, and moved to its place once it is whole; it stands on the shelf
only if both of its sides do.
"""

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol import canonical
from protocol.ids import NAME
from protocol.mock import NOTICE, mock_rows, schema_digest, usual_count
from protocol.published_column import PublishedColumn
from silo_node.dataset.audience import may_read, readers_of, silo_address, write_readers
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import private_folder, read_private, sync_folder, write_private

MOCK: Final = "mock.csv"
REFERENCE: Final = "registration.json"
METADATA: Final = "dataset.yaml"

_LAYOUT: Final = "1"
"""Syft's protocol version, which one of its folders is named by."""
_ASIDE: Final = ".making-"


@dataclass(frozen=True, slots=True)
class Published:
    """What the silo published of a registered dataset, and the commitment that names the registration."""

    name: str
    title: str
    columns: tuple[PublishedColumn, ...]
    rows: int
    commitment: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The datasite of ``silo`` in ``folder`` (0700, every file 0600), made when something is put on it."""

    folder: Path
    silo: str

    def keep(self, datasets: Iterable[Published], people: Iterable[str]) -> tuple[str, ...]:
        """Makes every dataset stand on the shelf, its mock side readable by ``people``; names those that were made.

        What stood half-made is made anew. Raises ``DatasetRefused``; a dataset is then there whole or not at all.
        """
        readers, made = tuple(people), []
        with self._alone():
            for one in datasets:
                if not self._stands(one):
                    self._make(one)
                    made.append(one.name)
                self._let_read(one.name, readers)
        return tuple(made)

    def names(self) -> tuple[str, ...]:
        """The datasets of which both sides stand on the shelf."""
        folder = self._public
        if not folder.is_dir():
            return ()
        return tuple(
            sorted(path.name for path in folder.iterdir() if _is_name(path.name) and self._is_whole(path.name))
        )

    def readers(self, name: str) -> tuple[str, ...]:
        """The persons who may see the mock side of ``name``. Raises ``DatasetRefused``."""
        return readers_of(self._mock_side(name))

    def mock(self, name: str, person: str) -> bytes:
        """The mock rows of ``name`` as CSV, for a person whom the rules name. Raises ``DatasetRefused``."""
        path = self._mock_side(name) / MOCK
        if not may_read(self._datasite, self.silo, path, person):
            raise DatasetRefused(
                f"dataset {name}: {person} may not see its mock rows; the consortium's people may, an admin adds people"
            )
        return read_private(path)

    @property
    def _datasite(self) -> Path:
        return self.folder / silo_address(self.silo)

    @property
    def _public(self) -> Path:
        return self._datasite / "public" / "syft_datasets" / f"v{_LAYOUT}"

    @property
    def _private(self) -> Path:
        return self._datasite / "private" / "syft_datasets" / f"v{_LAYOUT}"

    def _mock_side(self, name: str) -> Path:
        # Names come from command lines and from studies that others wrote; they must not leave the folder.
        if not _is_name(name):
            raise DatasetRefused(
                f"dataset name {name[:40]!r}: it must be 2 to 32 lower-case letters, digits and dashes, a letter first"
            )
        if not self._is_whole(name):
            raise DatasetRefused(f"dataset {name} has no mock side here; make it with: consortia-silo dataset shelf")
        return self._public / name

    def _is_whole(self, name: str) -> bool:
        return (self._public / name / METADATA).is_file() and (self._private / name / REFERENCE).is_file()

    def _stands(self, one: Published) -> bool:
        if not _is_name(one.name):
            raise DatasetRefused(f"dataset name {one.name[:40]!r} can't stand on the shelf")
        return self._is_whole(one.name) and read_private(self._private / one.name / REFERENCE) == self._reference(one)

    def _reference(self, one: Published) -> bytes:
        value = {
            "format": "consortia-reference/1",
            "dataset": one.name,
            "registration": one.commitment,
            "schema": schema_digest(self.silo, one.name, one.columns),
        }
        return canonical.encode(value)

    def _let_read(self, name: str, people: tuple[str, ...]) -> None:
        """Renews the rules where they are others, or not of our shape."""
        side = self._public / name
        try:
            if readers_of(side) == tuple(sorted(people)):
                return
        except DatasetRefused:
            pass
        write_readers(side, people)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time puts things on the shelf; what others left half-made, dying, goes first."""
        try:
            folder = private_folder(self.folder)
            with (folder / ".lock").open("ab") as lock:
                Path(lock.name).chmod(0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in folder.glob(f"{_ASIDE}*"):
                    shutil.rmtree(left)
                yield
        except ConfigRefused as error:
            raise DatasetRefused(str(error)) from None
        except OSError as error:
            raise DatasetRefused(f"the shelf {self.folder} can't be written: {error.strerror}") from None

    def _make(self, one: Published) -> None:
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.folder))
        try:
            built = Shelf(aside, self.silo)
            self._build(one, built)
            self._move(one.name, built)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _build(self, one: Published, built: "Shelf") -> None:
        # Imported here: it loads IPython, and a node whose shelf is in order does without.
        from syft_datasets import DatasetStorage, PrivateDatasetConfig, SyftBoxConfig
        from syft_datasets.dataset_storage import DatasetSourceFiles

        given = private_folder(built.folder / "given")
        rows = mock_rows(self.silo, one.name, one.columns, usual_count(one.rows, len(one.columns)))
        write_private(given / MOCK, "".join(rows.csv()).encode())
        write_private(given / REFERENCE, self._reference(one))
        write_private(given / "README.md", _readme(self.silo, one).encode())
        storage = DatasetStorage(SyftBoxConfig(syftbox_folder=built.folder.resolve(), email=silo_address(self.silo)))
        source = DatasetSourceFiles(given / MOCK, given / REFERENCE, given / "README.md")
        versions = [_LAYOUT]
        made = storage.create_dataset(
            name=one.name, source=source, summary=one.title, tags=["mock"], protocol_versions=versions
        )[_LAYOUT]
        # Said of the place it is moved to, not of where it is built.
        place = PrivateDatasetConfig(uid=made.uid, data_dir=(self._private / one.name).absolute())
        storage.write_private_config(storage.new_dataset_ref(one.name, _LAYOUT), place)
        for path in built._datasite.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        write_readers(built._public / one.name, ())
        write_readers(built._private / one.name, ())

    def _move(self, name: str, built: "Shelf") -> None:
        """The private side first: a dataset is listed by its public one, and must never be listed half."""
        for folder in (self._public, self._private):
            for level in reversed([folder, *folder.parents[: len(folder.relative_to(self.folder).parts) - 1]]):
                private_folder(level)
            shutil.rmtree(folder / name, ignore_errors=True)
        write_readers(self._datasite / "private", ())
        (built._private / name).rename(self._private / name)
        (built._public / name).rename(self._public / name)
        sync_folder(self._private)
        sync_folder(self._public)


def _readme(silo: str, one: Published) -> str:
    lines = [f"# {one.name} at {silo}", "", NOTICE, "", "| column | kind | range | unit |", "|---|---|---|---|"]
    lines += [f"| {c.name} | {c.kind} | {c.minimum:g} to {c.maximum:g} | {c.unit} |" for c in one.columns]
    lines += [
        "",
        "To compute on the real rows, propose a study; they never leave the silo, and nobody can look at them.",
    ]
    return "\n".join(lines) + "\n"


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None and not name.endswith("\n")
