"""A dataset as its page shows it: what its owner declared, its kept profile, and the mock rows that others see."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

from protocol.mock import as_text, mock_rows
from silo_node.agent.silo import Silo, published_columns
from silo_node.console.desk import Desk
from silo_node.console.profile_view import ProfileView, profile_view
from silo_node.dataset.registration import Dataset

MOCK_ROWS: Final = 5
MOCK_COLUMNS: Final = 12
"""So many are shown of a wide table."""


@dataclass(frozen=True, slots=True)
class DatasetView:
    """``published``: its schema stands in the log. ``mock``: texts of the first rows and columns."""

    dataset: Dataset
    published: bool
    mock_columns: tuple[str, ...]
    mock: tuple[tuple[str, ...], ...]
    profile: ProfileView


def dataset_view(desk: Desk, name: str) -> DatasetView:
    """Raises ``DatasetRefused`` for a name that isn't registered."""
    silo = desk.silo
    dataset = silo.catalogue.get(name)
    published = (silo.identity.party, name) in desk.studies().datasets
    columns = tuple(column.name for column in islice(dataset.declared.columns, MOCK_COLUMNS))
    profile = profile_view(silo.catalogue, dataset)
    return DatasetView(dataset, published, columns, _mock(silo, dataset), profile)


def _mock(silo: Silo, dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    """Made anew from the schema, as everyone makes them; no row is read."""
    rows = mock_rows(silo.name, dataset.name, published_columns(dataset), MOCK_ROWS)
    return tuple(tuple(as_text(float(value)) for value in row[:MOCK_COLUMNS]) for row in rows.values)
