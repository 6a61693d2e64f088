"""Making a dataset known: checked in full here, its budget fixed in the ledger, its schema published."""

from protocol.ids import timestamp
from protocol.statements import DatasetRegistered
from silo_node.agent.silo import Silo, published_columns
from silo_node.agent.voice import Opening, Saying
from silo_node.dataset.catalogue import Dataset, Registration
from silo_node.errors import DatasetRefused
from silo_node.ledger.budget import PrivacyDomain, Refused


def register_dataset(silo: Silo, registration: Registration) -> Dataset:
    """Checks the source, fixes the domain's cap, records the dataset. Raises ``DatasetRefused``; nothing half-done."""
    cap = PrivacyDomain(
        registration.domain, registration.unit, registration.epsilon, registration.delta, registration.order
    )
    dataset = silo.catalogue.add(registration, silo.runner.check, timestamp(silo.clock()))
    registered = silo.ledger.register(cap)
    if isinstance(registered, Refused):
        raise DatasetRefused(str(registered))
    return dataset


def publish_dataset(silo: Silo, dataset: Dataset) -> None:
    """Posts the dataset's schema, published row count and cap. Posted before, nothing changes."""

    def build(opening: Opening) -> DatasetRegistered:
        return DatasetRegistered(
            type="dataset-registered",
            dataset=dataset.name,
            columns=published_columns(dataset),
            rows=dataset.published_rows,
            domain=dataset.domain,
            unit=dataset.unit,
            epsilon=dataset.epsilon,
            delta=dataset.delta,
            order=dataset.order,
            **opening,
        )

    silo.voice.say(Saying(f"dataset:{dataset.name}", None, build))
