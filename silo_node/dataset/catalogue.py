"""The silo's datasets: what is registered, under which terms, and the one way to open it.

A registration is a private JSON file of its own and is final: terms and published row counts are fixed when a
dataset is registered (privacy.md). Importing this module does not load polars: the agent lists datasets, and
only the runner's process reads them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, ValidationError

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import NAME, DatasetName, Digest, DomainName, Strict, Timestamp
from protocol.study import DataRequirement, Unit, explain
from silo_node.dataset.create_once import create_private
from silo_node.dataset.fingerprint import commitment, same
from silo_node.dataset.keys import DatasetKeys
from silo_node.dataset.schema import Schema
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import private_folder, read_private

if TYPE_CHECKING:
    from silo_node.dataset.rows import Rows

MAX_SOURCE_BYTES: Final = 16 * 2**30


class Registration(Strict):
    """What an owner registers. ``published_rows`` is typed by the owner, and is all that others learn of the count."""

    name: DatasetName
    source: Annotated[str, Field(min_length=1, max_length=4096)]
    declared: Schema
    domain: DomainName
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]
    published_rows: Annotated[int, Field(ge=1, le=10**10)]


class Dataset(Registration):
    """A registered dataset: ``commitment`` is the keyed digest of schema and source."""

    format: Literal["consortia-dataset/1"]
    commitment: Digest
    added_at: Timestamp


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """What a full reading of a source found. All but ``commitment`` is private: for the owner's eyes only."""

    commitment: str
    rows: int
    clamped: dict[str, int]

    def __repr__(self) -> str:
        return f"Checked(commitment={self.commitment!r}, counts redacted)"


def default_unit(schema: Schema) -> Unit:
    """``subject`` wherever a subject column exists."""
    return "record" if schema.subject is None else "subject"


def register(
    name: str,
    source: Path,
    schema: Schema,
    domain: str,
    epsilon: float,
    delta: float,
    order: int,
    published_rows: int,
    unit: Unit | None = None,
) -> Registration:
    """A registration from an owner's words. Raises ``DatasetRefused`` naming each field that is wrong."""
    try:
        return Registration(
            name=name,
            source=str(source.absolute()),
            declared=schema,
            domain=domain,
            unit=unit or default_unit(schema),
            epsilon=epsilon,
            delta=delta,
            order=order,
            published_rows=published_rows,
        )
    except ValidationError as error:
        raise DatasetRefused(f"dataset registration refused: {explain(error)}") from None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The registrations in ``folder`` (0700): ``NAME.json`` a dataset, and their keys in ``keys/``."""

    folder: Path

    @property
    def keys(self) -> DatasetKeys:
        return DatasetKeys(self.folder / "keys")

    def add(self, registration: Registration, check: Callable[[Registration], Checked], added_at: Timestamp) -> Dataset:
        """Register a dataset once ``check`` has read its source through, by the runner or ``Catalogue.check``.

        Raises ``DatasetRefused``; then nothing is registered.
        """
        self._admit(registration)
        self._prepare(registration.domain)
        checked = check(registration)
        dataset = Dataset(
            **dict(registration),
            format="consortia-dataset/1",
            commitment=checked.commitment,
            added_at=added_at,
        )
        try:
            created = create_private(self._path(dataset.name), canonical.encode(dataset.model_dump(mode="json")))
        except OSError as error:
            raise DatasetRefused(f"dataset {dataset.name} cannot be recorded: {error.strerror}") from None
        if not created:
            raise DatasetRefused(_taken(dataset.name))
        return dataset

    def list(self) -> tuple[Dataset, ...]:
        """All registered datasets, by name. Raises ``DatasetRefused`` for a damaged one."""
        if not self.folder.is_dir():
            return ()
        return tuple(self.get(path.stem) for path in sorted(self.folder.glob("[a-z]*.json")))

    def get(self, name: str) -> Dataset:
        """The dataset registered as ``name``. Raises ``DatasetRefused``."""
        path = self._path(name)
        if not path.is_file():
            raise DatasetRefused(f"no dataset {name} is registered; register it with: consortia-silo dataset add")
        try:
            data = read_private(path)
            canonical.decode(data)
            dataset = Dataset.model_validate_json(data)
        except (ConfigRefused, OSError) as error:
            raise DatasetRefused(f"registration of dataset {name} cannot be read: {error}") from None
        except (Malformed, ValidationError):
            raise DatasetRefused(f"registration {path.name} is damaged; restore it from a backup") from None
        if dataset.name != name:
            raise DatasetRefused(f"registration {path.name} names another dataset, {dataset.name}")
        return dataset

    def check(self, registration: Registration) -> Checked:
        """Read the source through against schema and unit. For the runner's process: it holds all rows for a while."""
        # Imported here: polars takes memory and time, and the agent's process must be able to list without it.
        from silo_node.dataset.loaders import load
        from silo_node.dataset.rows import check_unit

        source = Path(registration.source)
        content = _content(source)
        table = load(content, source.suffix, registration.declared)
        check_unit(registration.declared, registration.unit, table.repeated_row)
        digest = commitment(self.keys.fingerprint(), registration.declared, content)
        return Checked(commitment=digest, rows=len(table.identities), clamped=table.clamped)

    def open(self, name: str, requirement: DataRequirement, test_share: float, unit: Unit) -> "Rows":
        """The rows of dataset ``name`` for a contract. For the runner's process alone.

        Raises ``DatasetRefused`` if the contract is not covered, the source is not what was registered, or a
        subject has several rows where ``unit`` is subject.
        """
        from silo_node.dataset.loaders import load
        from silo_node.dataset.rows import check_requirement, check_unit, rows_for

        dataset = self.get(name)
        check_requirement(dataset.declared, requirement, name)
        source = Path(dataset.source)
        content = _content(source)
        if not same(commitment(self.keys.fingerprint(), dataset.declared, content), dataset.commitment):
            raise DatasetRefused(
                f"dataset {name}: {source.name} is not what was registered, it was changed since; "
                "restore it, or register the new version under another name in the same domain"
            )
        table = load(content, source.suffix, dataset.declared)
        # The stronger of the two units: a domain promised to subjects is not opened by records.
        check_unit(dataset.declared, "subject" if "subject" in (unit, dataset.unit) else "record", table.repeated_row)
        return rows_for(table, requirement, self.keys.split(dataset.domain), test_share)

    def _admit(self, registration: Registration) -> None:
        for other in self.list():
            if other.name == registration.name:
                raise DatasetRefused(_taken(other.name))
            if other.domain == registration.domain and _terms(other) != _terms(registration):
                raise DatasetRefused(
                    f"privacy domain {other.domain} has unit {other.unit}, epsilon {other.epsilon}, "
                    f"delta {other.delta} and order {other.order} for good, set with dataset {other.name}; register "
                    "with these, or in another domain if it concerns other persons"
                )

    def _prepare(self, domain: str) -> None:
        try:
            private_folder(self.folder)
        except ConfigRefused as error:
            raise DatasetRefused(str(error)) from None
        except OSError as error:
            raise DatasetRefused(f"folder {self.folder} cannot be used: {error.strerror}") from None
        if any(other.domain == domain for other in self.list()):
            self.keys.split(domain)  # Lost keys are refused, never made anew under a domain in use.
            self.keys.fingerprint()
        else:
            self.keys.make(domain)

    def file_of(self, name: str) -> Path:
        """The file of the registration of ``name``. Raises ``DatasetRefused`` for what can't be a name."""
        return self._path(name)

    def _path(self, name: str) -> Path:
        # Names come from command lines and from contracts that others wrote; they must not leave the folder.
        if not re.fullmatch(NAME, name) or "\n" in name:
            raise DatasetRefused(
                f"dataset name {name[:40]!r}: it must be 2 to 32 lower-case letters, digits and dashes, a letter first"
            )
        return self.folder / f"{name}.json"


def _terms(registration: Registration) -> tuple[str, float, float, int]:
    return registration.unit, registration.epsilon, registration.delta, registration.order


def _taken(name: str) -> str:
    return f"dataset {name} is registered already; a registration is final, take another name for a new version"


def _content(source: Path) -> bytes:
    """The source's bytes, read once: what is committed to is what is parsed."""
    if not source.is_file():
        raise DatasetRefused(f"source {source} is not a file")
    try:
        size = source.stat().st_size
        if size > MAX_SOURCE_BYTES:
            raise DatasetRefused(f"source {source} has {size} bytes, at most {MAX_SOURCE_BYTES} are read")
        return source.read_bytes()
    except OSError as error:
        raise DatasetRefused(f"source {source} cannot be read: {error.strerror}") from None
