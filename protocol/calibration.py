"""From a draft to its contract, by published facts only.

Computed: each silo's rows (as it registered them), the Renyi order, the smallest noise with which the whole study fits
the draft's (epsilon, delta) at every silo, and what else the kind of study takes from the rows.
"""

from collections.abc import Mapping

from protocol import accounting
from protocol.draft import Draft
from protocol.errors import DraftRefused
from protocol.membership_statements import DatasetRegistered
from protocol.statistics_calibration import statistics_contract
from protocol.statistics_draft import StatisticsDraft
from protocol.study import StudyContract, study_cost
from protocol.training_calibration import training_contract
from protocol.training_draft import TrainingDraft


def build_contract(draft: Draft, registered: Mapping[str, DatasetRegistered]) -> StudyContract:
    """The contract of a draft. ``registered`` holds, by silo, what each made known of the draft's dataset.

    Raises ``DraftRefused`` where a silo has no such dataset or other columns, or no allowed noise is enough.
    """
    _check_registered(draft, registered)
    contract = contract_of(draft, {one.silo: registered[one.silo].rows for one in draft.silos})
    _check_caps(contract, registered)
    return contract


def contract_of(draft: Draft, rows: Mapping[str, int]) -> StudyContract:
    """The contract of a draft, with ``rows`` published by each of its silos; nothing else of them is looked at.

    Raises ``DraftRefused`` where no allowed noise is enough.
    """
    match draft:
        case TrainingDraft():
            return training_contract(draft, rows)
        case StatisticsDraft():
            return statistics_contract(draft, rows)


def _check_registered(draft: Draft, registered: Mapping[str, DatasetRegistered]) -> None:
    wanted = {column.name: column.kind for column in draft.data.columns}
    for one in draft.silos:
        dataset = registered.get(one.silo)
        if dataset is None:
            raise DraftRefused(f"silos: {one.silo} has not registered a dataset {draft.data.dataset}")
        held = {column.name: column.kind for column in dataset.columns}
        other = sorted(name for name, kind in wanted.items() if held.get(name) != kind)
        if other:
            column = f"column {other[0]} of kind {wanted[other[0]]}"
            raise DraftRefused(f"data: {one.silo} has no {column} in {dataset.dataset}")
        if dataset.unit == "subject" and draft.privacy.unit == "record":
            raise DraftRefused(f"privacy.unit: {one.silo} protects whole subjects, a record is less; use subject")


def _check_caps(contract: StudyContract, registered: Mapping[str, DatasetRegistered]) -> None:
    """A study that a silo's whole cap could not pay for is told now, not by the silo's refusal."""
    for terms in contract.silos:
        domain = registered[terms.silo]
        cap = accounting.budget(domain.epsilon, domain.delta, domain.order)
        cost = study_cost(contract, terms.silo, domain.order)
        if cost > cap:
            spent = accounting.epsilon_at(cost, domain.delta, domain.order)
            raise DraftRefused(
                f"privacy: the study costs epsilon {spent:.3g} at {terms.silo}, "
                f"whose cap is epsilon {domain.epsilon:g} at delta {domain.delta:g}; lower the draft's epsilon"
            )
