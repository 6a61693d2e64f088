"""What the budgets still pay for at this silo: the studies under way first, then more of the kind that came last."""

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.accounting import cost_of
from protocol.record import StudyRecord
from protocol.rounds import charge_id, last_round, round_events
from protocol.spend import Cost
from protocol.study import study_cost
from silo_node.agent.silo import Silo, use_of
from silo_node.dataset.registration import Dataset
from silo_node.ledger.budget import Refused
from silo_node.ledger.caps import Use
from silo_node.ledger.forecast import Forecast, Pending, forecast

FRESH = ""
"""The name of a study that is yet to come: nothing was charged to it."""


@dataclass(frozen=True, slots=True)
class DatasetForecast:
    """``title``: of the study that the next ones are likened to, the newest that this silo accepted or has read of."""

    dataset: str
    domain: str
    study: str
    title: str
    forecast: Forecast

    def __str__(self) -> str:
        return sentence(self.dataset, self.forecast)


def sentence(dataset: str, told: Forecast) -> str:
    """The forecast as a data owner reads it."""
    studies = "study" if told.more == 1 else "studies"
    bound = f" (by the cap on {told.bound_by})" if told.bound_by else ""
    return f"at this rate dataset {dataset} serves {told.more:,} more such {studies}{bound}"


def forecasts(silo: Silo, records: Iterable[StudyRecord]) -> tuple[DatasetForecast, ...]:
    """One for each dataset that a study here has named."""
    known = list(records)
    found = (_forecast(silo, dataset, known) for dataset in silo.catalogue.list())
    return tuple(one for one in found if one is not None)


def forecast_after(silo: Silo, dataset: Dataset, record: StudyRecord, records: Iterable[StudyRecord]) -> Forecast:
    """What is left once ``record`` has taken all it may, and how many more like it fit. Raises ``ValueError`` for a
    dataset whose domain is not in the ledger."""
    others = [one for one in records if one.study != record.study]
    pending = [*_pending(silo, dataset.domain, others), *_promised(silo, dataset, record)]
    return _of(silo, dataset, record, pending)


def _forecast(silo: Silo, dataset: Dataset, known: list[StudyRecord]) -> DatasetForecast | None:
    asked = [one for one in known if one.contract.data.dataset == dataset.name]
    like = next((one for one in reversed(asked) if silo.name in one.accepted), asked[-1] if asked else None)
    if like is None:
        return None
    told = _of(silo, dataset, like, _pending(silo, dataset.domain, known))
    return DatasetForecast(dataset.name, dataset.domain, like.study, like.contract.title, told)


def _of(silo: Silo, dataset: Dataset, like: StudyRecord, pending: Pending) -> Forecast:
    room = silo.ledger.room(dataset.domain, use_of(like.contract, FRESH))
    if isinstance(room, Refused):
        raise ValueError(str(room))
    return forecast(room, study_cost(like.contract, silo.name, room.balance.domain.order), pending)


def _pending(silo: Silo, domain: str, records: Iterable[StudyRecord]) -> list[tuple[Use, Cost]]:
    """What accepted studies of the domain that are not over may still take."""
    datasets = {dataset.name: dataset for dataset in silo.catalogue.list() if dataset.domain == domain}
    under_way = (
        record
        for record in records
        if record.contract.data.dataset in datasets and record.closed is None
        if silo.name in record.accepted and silo.name not in record.gone
    )
    return [one for record in under_way for one in _promised(silo, datasets[record.contract.data.dataset], record)]


def _promised(silo: Silo, dataset: Dataset, record: StudyRecord) -> list[tuple[Use, Cost]]:
    """All that a study costs, less the rounds that were charged."""
    balance = silo.ledger.balance(dataset.domain)
    if isinstance(balance, Refused) or record.closed is not None:
        return []
    contract, order = record.contract, balance.domain.order
    charged = [silo.ledger.charge(charge_id(record.study, index)) for index in range(last_round(contract) + 1)]
    open_ = [index for index, charge in enumerate(charged) if charge is None]
    return [(use_of(contract, record.study), sum(cost_of(round_events(contract, silo.name, i), order) for i in open_))]
