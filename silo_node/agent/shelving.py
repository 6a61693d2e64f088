"""The shelf of syft datasets, kept as the catalogue and the charter say."""

import structlog

from protocol.charter import Charter
from silo_node.agent.silo import Silo, published_columns
from silo_node.dataset.registration import Dataset
from silo_node.dataset.shelf import Published, Shelf
from silo_node.errors import SiloError

log = structlog.get_logger()


def shelf_of(silo: Silo) -> Shelf:
    """The shelf in the silo's own folder, beside its registrations."""
    return Shelf(silo.catalogue.folder.parent / "syft", silo.name)


def keep_shelf(silo: Silo, charter: Charter | None) -> tuple[str, ...]:
    """Every registered dataset on the shelf, its mock side open to the charter's people; names those that were made.

    Raises ``DatasetRefused``.
    """
    people = () if charter is None else tuple(person.person for person in charter.people)
    return shelf_of(silo).keep(map(_published, silo.catalogue.list()), people)


class ShelfKeeper:
    """Keeps the shelf while a node runs: once at its start, then whenever datasets or people have changed.

    The shelf holds nothing that a study needs, so a node whose shelf can't be kept says so and goes on.
    """

    def __init__(self, silo: Silo) -> None:
        self._silo = silo
        self._kept: tuple[object, ...] | None = None

    def look(self, charter: Charter | None) -> None:
        """Does nothing where nothing changed since the last look."""
        try:
            held = tuple((dataset.name, dataset.commitment) for dataset in self._silo.catalogue.list())
            people = None if charter is None else charter.people
            if self._kept != (held, people):
                self._kept = (held, people)
                keep_shelf(self._silo, charter)
        except SiloError as problem:
            log.warning("shelf-not-kept", problem=str(problem))


def _published(dataset: Dataset) -> Published:
    return Published(
        name=dataset.name,
        title=dataset.declared.title,
        columns=published_columns(dataset),
        rows=dataset.published_rows,
        commitment=dataset.commitment,
    )
