"""Making a dataset known: checked in full here, its budget fixed in the ledger, its schema published."""

from protocol.ids import timestamp
from protocol.membership_statements import DatasetRegistered
from silo_node.agent.declaring import publish_declarations
from silo_node.agent.newcomers import compare_persons, note_other_persons
from silo_node.agent.opt_out_record import check_opt_outs
from silo_node.agent.silo import Silo, published_columns
from silo_node.agent.voice import Opening, Saying
from silo_node.dataset.registration import Checked, Dataset, Registration
from silo_node.errors import DatasetRefused, HubRefused, HubUnreachable
from silo_node.ledger.budget import PrivacyDomain, Refused


def register_dataset(silo: Silo, registration: Registration, other_persons: str | None = None) -> Dataset:
    """Checks the source, fixes the domain's cap, records the dataset. Raises ``DatasetRefused``; nothing half-done.

    ``other_persons`` is the owner's reason why a domain beside others is of persons that stand in none of them.
    """
    cap = PrivacyDomain(
        registration.domain, registration.unit, registration.epsilon, registration.delta, registration.order
    )

    def check(asked: Registration) -> Checked:
        check_opt_outs(silo, asked.domain)
        checked = silo.runner.check(asked)
        compared = compare_persons(silo, asked, checked)
        note_other_persons(silo, asked, other_persons, compared)
        # Between the check and the record: a dataset never stands without its domain in the ledger.
        registered = silo.ledger.register(cap, other_persons)
        if isinstance(registered, Refused):
            raise DatasetRefused(str(registered))
        return checked

    return silo.catalogue.add(registration, check, timestamp(silo.clock()))


def try_to_publish(silo: Silo, dataset: Dataset) -> bool:
    """Publishes now if the hub takes it; a silo that isn't admitted yet is refused, and its node tries again."""
    try:
        publish_declarations(silo)
        publish_dataset(silo, dataset)
    except (HubRefused, HubUnreachable):
        return False
    return True


def publish_pending(silo: Silo, logged: set[tuple[str, str]]) -> None:
    """Publishes what was declared of budgets, and every registered dataset of which the log has no statement."""
    publish_declarations(silo)
    for dataset in silo.catalogue.list():
        if (silo.identity.party, dataset.name) not in logged:
            publish_dataset(silo, dataset)


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

    silo.voice.say(Saying(f"dataset:{dataset.name}", build))
