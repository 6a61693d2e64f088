"""A person refuses or withdraws: put on the domain's list, which the journal follows; and what they were part of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.ids import timestamp
from protocol.record import StudyRecord
from protocol.statistics_study import StatisticsContract
from protocol.training_study import TrainingContract
from silo_node.agent.answers import studies_of
from silo_node.agent.opt_out_record import OptOutRecord
from silo_node.agent.silo import Silo
from silo_node.dataset.registration import Dataset, Found
from silo_node.errors import DatasetRefused
from silo_node.runner.tasks import TraceTask


@dataclass(frozen=True, slots=True)
class Part:
    """A study in which a person's rows were trained on or held out, by the datasets as they are now."""

    record: StudyRecord
    found: Found


def only_domain(silo: Silo, domain: str | None) -> str:
    """The privacy domain that is meant; where none is named there must be one alone. Raises ``DatasetRefused``."""
    known = sorted({dataset.domain for dataset in silo.catalogue.list()})
    if domain is None and len(known) == 1:
        return known[0]
    if domain in known:
        return domain
    named = "none is named" if domain is None else f"{domain[:40]!r} has no dataset"
    raise DatasetRefused(f"privacy domain: {named}; name one of: {', '.join(known) or 'none is registered yet'}")


def withdraw_people(silo: Silo, domain: str, people: Sequence[str]) -> int:
    """Puts ``people`` on the list; returns how many were new to it. Interrupted anywhere, say it again.

    A list that the journal doesn't hold takes them too, and stays refused until it is the newest again.
    """
    record = OptOutRecord(silo.voice, domain)
    return silo.catalogue.opt_outs.add(domain, people, timestamp(silo.clock()), record)


def parts_of(silo: Silo, domain: str, person: str) -> tuple[Part, ...]:
    """The studies this silo computed in, on the domain's datasets, with where the person's rows stood."""
    taken = [(record, dataset) for record, dataset in _taken_part(silo) if dataset.domain == domain]
    found: dict[tuple[str, float], Found] = {}
    for name in dict.fromkeys(dataset.name for _, dataset in taken):
        shares = tuple(sorted({_share(record) for record, dataset in taken if dataset.name == name}))
        traced = silo.runner.trace(TraceTask(person, name, shares))
        found |= {(name, share): one for share, one in zip(shares, traced, strict=True)}
    parts = (Part(record, found[dataset.name, _share(record)]) for record, dataset in taken)
    return tuple(part for part in parts if part.found != "absent")


def _share(record: StudyRecord) -> float:
    match record.contract:
        case TrainingContract():
            return record.contract.evaluation.test_share
        case StatisticsContract():
            return 0.0


def _taken_part(silo: Silo) -> Iterator[tuple[StudyRecord, Dataset]]:
    registered = {dataset.name: dataset for dataset in silo.catalogue.list()}
    for record in studies_of(silo):
        dataset = registered.get(record.contract.data.dataset)
        if dataset is not None and silo.name in record.accepted and record.rounds:
            yield record, dataset
