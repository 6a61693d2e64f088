"""A dataset as its page shows it: what its owner declared, its kept profile, and the mock rows that others see."""

from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from protocol.mock import as_text, mock_rows
from silo_node.agent.silo import Silo, published_columns
from silo_node.console.desk import Desk
from silo_node.console.profile_view import ProfileView, profile_view
from silo_node.dataset.columns import DeclaredColumn
from silo_node.dataset.registration import Dataset

MOCK_ROWS: Final = 5
MOCK_COLUMNS: Final = 12
"""So many are shown of a wide table."""
NAMES: Final = 40
"""So many are shown of the columns that one declared column becomes; an image becomes one a pixel."""


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A declared column, and the columns of numbers that the consortium, a draft and the limits know it by.

    ``names``: the first of them, where they are others than the declared one; ``more``: how many aren't shown.
    """

    declared: DeclaredColumn
    names: tuple[str, ...]
    more: int

    @classmethod
    def of(cls, declared: DeclaredColumn) -> Self:
        names = tuple(column.name for column in declared.expanded())
        if names == (declared.name,):
            return cls(declared, (), 0)
        return cls(declared, names[:NAMES], max(0, len(names) - NAMES))


@dataclass(frozen=True, slots=True)
class DatasetView:
    """``published``: its schema stands in the log. ``mock``: texts of the first rows and columns, as published."""

    dataset: Dataset
    published: bool
    columns: tuple[ColumnView, ...]
    mock_columns: tuple[str, ...]
    mock: tuple[tuple[str, ...], ...]
    profile: ProfileView


def dataset_view(desk: Desk, name: str) -> DatasetView:
    """Raises ``DatasetRefused`` for a name that isn't registered."""
    silo = desk.silo
    dataset = silo.catalogue.get(name)
    published = (silo.identity.party, name) in desk.studies().datasets
    columns = tuple(map(ColumnView.of, dataset.declared.columns))
    mocked = tuple(column.name for column in islice(published_columns(dataset), MOCK_COLUMNS))
    profile = profile_view(silo.catalogue, dataset)
    return DatasetView(dataset, published, columns, mocked, _mock(silo, dataset), profile)


def _mock(silo: Silo, dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    """Made anew from the schema, as everyone makes them; no row is read."""
    rows = mock_rows(silo.name, dataset.name, published_columns(dataset), MOCK_ROWS)
    return tuple(tuple(as_text(float(value)) for value in row[:MOCK_COLUMNS]) for row in rows.values)
