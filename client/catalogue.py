"""The consortium's datasets as a researcher sees them: schema, published counts, and mock rows made here.

The names are those that PySyft users know: a dataset has ``.mock``, which anyone may look at, and ``.private``, which
is refused with what to do instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from client.connection import Connection
from client.errors import PrivateRefused, UsageRefused
from client.registrations import by_members, dataset_names
from protocol.clauses import Unit
from protocol.membership_statements import DatasetRegistered
from protocol.mock import MockRows, mock_rows, usual_count
from protocol.published_column import PublishedColumn


@dataclass(frozen=True, slots=True)
class DatasetAtSilo:
    """What one silo made known of a dataset."""

    published: DatasetRegistered

    @property
    def name(self) -> str:
        return self.published.dataset

    @property
    def owner(self) -> str:
        """The silo whose dataset it is."""
        return self.published.issuer.removeprefix("silo:")

    @property
    def columns(self) -> tuple[PublishedColumn, ...]:
        return self.published.columns

    @property
    def rows(self) -> int:
        """The count that the owner typed when it was registered; not the number of rows in the file."""
        return self.published.rows

    @property
    def unit(self) -> Unit:
        """Whom the silo's budget protects."""
        return self.published.unit

    @property
    def mock(self) -> MockRows:
        """Mock rows, made from the schema alone: as many as published, a thousand (and a million values) at most."""
        return self.mock_of(usual_count(self.rows, len(self.columns)))

    def mock_of(self, count: int) -> MockRows:
        """The first ``count`` mock rows. Raises ``Malformed`` below 1 row and above 20 million values."""
        return mock_rows(self.owner, self.name, self.columns, count)

    @property
    def private(self) -> NoReturn:
        """Always raises ``PrivateRefused``."""
        raise PrivateRefused(
            f"the rows of {self.name} never leave {self.owner}, and nobody outside can look at them; "
            f"look at .mock, try your study on it (consortia study try), then ask {self.owner} for the study's result "
            "(consortia study propose)"
        )

    def __repr__(self) -> str:
        return f"<dataset {self.name} of {self.owner}: {len(self.columns)} columns, {about(self.rows)} rows>"


def datasets(connection: Connection) -> dict[str, dict[str, DatasetAtSilo]]:
    """Dataset name -> silo -> the newest of what the silo made known, for members under the charter in force."""
    return {
        name: {silo: DatasetAtSilo(body) for silo, body in held.items()}
        for name in dataset_names(connection)
        if (held := by_members(connection, name))
    }


def one_dataset(connection: Connection, name: str) -> Mapping[str, DatasetAtSilo]:
    """By silo, the dataset ``name``. Raises ``UsageRefused`` where no member has one."""
    found = datasets(connection)
    if name not in found:
        known = f"there are: {', '.join(found)}" if found else "no silo has registered any yet"
        raise UsageRefused(f"no member has registered a dataset {name}; {known}")
    return found[name]


def about(rows: int) -> str:
    """A published count to two digits, for people: ``about 1,200``."""
    grain: int = 10 ** max(0, len(str(rows)) - 2)
    return f"about {(rows + grain // 2) // grain * grain:,}"
