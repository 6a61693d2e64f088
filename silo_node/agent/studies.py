"""The studies that name this silo, as the verified log tells them."""

from collections.abc import Iterable

from protocol.charter import Charter
from protocol.errors import RuleBroken
from protocol.follow import Verified
from protocol.membership_statements import CharterPublished, DatasetRegistered
from protocol.record import StudyRecord
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.study import StudyContract, study_id
from protocol.study_statements import StudyProposed


class NamedCharges:
    """Which rounds were charged, by whom. A silo is told no more of the others' budgets; officers recompute them."""

    def __init__(self) -> None:
        self._charged: set[tuple[str, str, int]] = set()

    def reserve(self, body: SpendReserved, contract: StudyContract) -> None:
        self._charged.add((body.issuer.partition(":")[2], body.study, body.round))

    def settle(self, body: SpendSettled) -> None:
        """Nothing to keep: a settlement frees budget at that silo only."""

    def charged(self, silo: str, study: str, index: int) -> bool:
        return (silo, study, index) in self._charged


class Studies:
    """Every study read of, in the order of the log. ``broken`` says by which rule one can't be gone on with."""

    def __init__(self, entries: Iterable[Verified]) -> None:
        self.records: dict[str, StudyRecord] = {}
        self.broken: dict[str, str] = {}
        self.charter: Charter | None = None
        self.datasets: set[tuple[str, str]] = set()
        """Issuer and name of every dataset whose registration was read of."""
        self._charges = NamedCharges()
        for entry in entries:
            self.take_in(entry)

    def lead_known(self, lead: str, silo: str, besides: str) -> bool:
        """Whether ``silo`` accepted a study of ``lead``, other than the study ``besides``."""
        others = (record for record in self.records.values() if record.study != besides)
        return any(silo in record.accepted and record.contract.lead == lead for record in others)

    def take_in(self, entry: Verified) -> None:
        """Adds the next logged statement to the study it is about. After a broken rule nothing counts."""
        body = entry.signed.body
        if isinstance(body, CharterPublished):
            self.charter = body.charter
            for known in self.records.values():
                known.under(body.charter)
        if isinstance(body, StudyProposed) and self.charter is not None:
            study = study_id(body.contract)
            self.records.setdefault(study, StudyRecord(study, body.contract, entry.at, self.charter))
            return
        if isinstance(body, DatasetRegistered):
            self.datasets.add((body.issuer, body.dataset))
        record = self.records.get(getattr(body, "study", ""))
        if record is None or record.study in self.broken:
            return
        try:
            record.apply(entry.index, entry.at, entry.signed, self._charges)
        except RuleBroken as rule:
            self.broken[record.study] = str(rule)
