"""The silo's datasets: what is registered, under which terms, and the one way to open it.

A registration is a private JSON file of its own. Importing this module does not load polars: the agent lists datasets,
and only the runner's process reads them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from protocol import canonical
from protocol.clauses import Column, Unit
from protocol.errors import Malformed
from protocol.ids import NAME, Timestamp
from protocol.training_study import DataRequirement
from silo_node.dataset.create_once import create_private
from silo_node.dataset.keys import DatasetKeys
from silo_node.dataset.opt_outs import OptOutList, OptOuts
from silo_node.dataset.persons import PersonRegisters
from silo_node.dataset.registration import Checked, Dataset, Found, Registration
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import private_folder, read_private, write_private

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from silo_node.dataset.measurements import Measurements
    from silo_node.dataset.rows import Rows

PROFILES: Final = "profiles"

_Registered = TypeVar("_Registered", bound=Registration)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The registrations in ``folder`` (0700): ``NAME.json`` a dataset, and their keys in ``keys/``."""

    folder: Path
    fetched: Path | None = None
    """In the box of a dataset that a query gives: the file with what it gave, which stands for its source."""

    @property
    def keys(self) -> DatasetKeys:
        return DatasetKeys(self.folder / "keys")

    @property
    def opt_outs(self) -> OptOuts:
        return OptOuts(self.folder / "opt-outs", self.keys)

    @property
    def persons(self) -> PersonRegisters:
        return PersonRegisters(self.folder / "persons", self.keys)

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
            lists_opt_outs=True,
            lists_persons=registration.declared.subject is not None,
        )
        try:
            # Before the record: nobody's rows are ever read whose domain doesn't know them.
            self._keep_persons(dataset.domain, checked)
            self._keep_profile(dataset.name, checked)
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
        """Read the source through against schema and unit. For the runner's process: it reads all rows."""
        # Imported here: polars takes memory and time, and the agent's process must be able to list without it.
        from silo_node.dataset.reading import read_through

        opted_out = self._opted_out(registration.domain, expected=False)
        return read_through(self._within_reach(registration), self.keys, opted_out)

    def open(self, name: str, requirement: DataRequirement, test_share: float, unit: Unit) -> "Rows":
        """The rows of dataset ``name`` for a contract, without those of people who opted out. For the runner alone.

        Raises ``DatasetRefused`` if the contract is not covered, the source is not what was registered, or a
        subject has several rows where ``unit`` is subject.
        """
        from silo_node.dataset.reading import open_rows

        dataset = self.get(name)
        return open_rows(self._within_reach(dataset), self.keys, self.opted_out(dataset), requirement, test_share, unit)

    def measure(self, name: str, columns: Sequence[Column], unit: Unit) -> "Measurements":
        """The values of these columns of dataset ``name``, without those of people who opted out. For the runner alone.

        Raises ``DatasetRefused`` as ``open`` does.
        """
        from silo_node.dataset.reading import open_measurements

        dataset = self.get(name)
        return open_measurements(self._within_reach(dataset), self.keys, self.opted_out(dataset), columns, unit)

    def columns(self, name: str, columns: Sequence[str]) -> tuple["NDArray[np.float64]", int]:
        """Exact values (n, columns) of dataset ``name``, for reviewed code, and how many rows were left out of them.

        For the runner's process alone.

        Raises ``DatasetRefused`` for a column that is not declared, or a source that is not what was registered.
        """
        from silo_node.dataset.reading import open_columns

        dataset = self.get(name)
        return open_columns(self._within_reach(dataset), self.keys, self.opted_out(dataset), columns)

    def opted_out(self, dataset: Dataset) -> OptOutList:
        """The people who opted out of the dataset's privacy domain."""
        return self._opted_out(dataset.domain, dataset.lists_opt_outs)

    def find(self, name: str, person: str, test_share: float) -> Found:
        """Where the person's rows are in dataset ``name`` as it is now. For the runner's process."""
        from silo_node.dataset.reading import find_person

        try:
            return find_person(self._within_reach(self.get(name)), self.keys, person, test_share)
        except DatasetRefused:
            return "unreadable"

    def renew(self, name: str, check: Callable[[Registration], Checked], at: Timestamp) -> Dataset:
        """Commits to what the source of ``name`` holds now, once ``check`` has read it through.

        Terms, schema, domain and published rows stay. Raises ``DatasetRefused``; then nothing has changed.
        """
        before = self.get(name)
        self._prepare(before.domain)
        checked = check(Registration(**{field: getattr(before, field) for field in Registration.model_fields}))
        fresh = {"commitment": checked.commitment, "renewed_at": at, "lists_opt_outs": True}
        # What an older registration held before is not in the register: it stays as it was told.
        renewed = Dataset(**(dict(before) | fresh))
        self._keep_persons(before.domain, checked)
        self._keep_profile(name, checked)
        write_private(self._path(name), canonical.encode(renewed.model_dump(mode="json")))
        return renewed

    def profile_before(self, name: str) -> bytes | None:
        """The profile that was kept when ``name`` was registered or renewed, JSON; None for one that is older."""
        path = self.folder / PROFILES / f"{self._path(name).name}"
        return read_private(path) if path.exists() else None

    def _within_reach(self, registered: _Registered) -> _Registered:
        if self.fetched is None:
            return registered
        return registered.model_copy(update={"source": str(self.fetched)})

    def _opted_out(self, domain: str, expected: bool) -> OptOutList:
        return self.opt_outs.load(domain, expected)

    def _keep_persons(self, domain: str, checked: Checked) -> None:
        """A register that other datasets of the domain count on is never begun anew."""
        self.persons.load(domain, expected=any(one.domain == domain and one.lists_persons for one in self.list()))
        self.persons.add(domain, checked.persons)

    def _keep_profile(self, name: str, checked: Checked) -> None:
        folder = private_folder(self.folder / PROFILES)
        write_private(folder / f"{name}.json", canonical.encode(checked.profile))

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
        self._begin_opt_outs(domain)

    def _begin_opt_outs(self, domain: str) -> None:
        """The domain's list of opt-outs, empty if it had none; one that datasets count on is never made anew."""
        counted_on = any(other.domain == domain and other.lists_opt_outs for other in self.list())
        self._opted_out(domain, expected=counted_on)
        self.opt_outs.begin(domain)

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
