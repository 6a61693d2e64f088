"""What silos made known of their datasets, from the verified log."""

from client.connection import Connection
from client.errors import HubUntrusted
from protocol.errors import RuleBroken
from protocol.membership_statements import DatasetRegistered
from protocol.registration import Registrations


def registered(connection: Connection, dataset: str) -> dict[str, DatasetRegistered]:
    """By silo, the registration of a dataset that counts (protocol.registration), of whoever ever registered it.

    Raises ``HubUntrusted`` where the log records one twice.
    """
    newest = _all(connection).newest.items()
    return {silo: body for (silo, name), body in newest if name == dataset}


def by_members(connection: Connection, dataset: str) -> dict[str, DatasetRegistered]:
    """As ``registered``, of the members under the charter in force."""
    members = connection.log.charter.silos
    return {silo: body for silo, body in registered(connection, dataset).items() if silo in members}


def dataset_names(connection: Connection) -> list[str]:
    """Of all datasets that were ever registered, sorted."""
    return sorted({name for _, name in _all(connection).newest})


def _all(connection: Connection) -> Registrations:
    try:
        return Registrations.of(body for _, body in connection.log.statements(DatasetRegistered))
    except RuleBroken as broken:
        raise HubUntrusted(f"the log's registrations don't hold: {broken}; tell the admin") from None
