"""One request as its page shows it: contract in words and to the letter, verdict, cost, who said what, answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pages.contract import Section, SiloLine, in_words, silo_lines
from protocol import accounting, canonical
from protocol.record import StudyRecord
from protocol.study import contract_value, study_cost
from silo_node.agent.answering import Choice, choices, explained, question_of
from silo_node.agent.answers import standing, under_way
from silo_node.agent.forecasting import forecast_after
from silo_node.agent.silo import Silo, use_of
from silo_node.console.ledger_view import LedgerReading
from silo_node.console.signing_preview import signed_fields
from silo_node.console.verdict_view import Headlines, Verdict, verdict_view
from silo_node.dataset.registration import Dataset
from silo_node.errors import PolicyRefused
from silo_node.ledger.budget import Balance, Refused
from silo_node.policy.explanation import Explanation

HEADLINES: Final = Headlines(allowed="Your policy allows it. The node answers by itself.")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the study takes of one privacy domain, in epsilon and in shares of its cap (0 to 1).

    ``capped``: the cap of the owner's that it would break, in words. ``more``: how many more like it fit after it, and
    after what the studies under way may still take; ``bound_by`` names the cap that ends them, if one does.
    """

    domain: str
    unit: str
    delta: float
    cap: float
    before: float
    after: float
    spent_share: float
    adds_share: float
    capped: str
    more: int
    bound_by: str

    @property
    def fits(self) -> bool:
        return self.spent_share + self.adds_share <= 1


@dataclass(frozen=True, slots=True)
class Approver:
    """An admin's word, verified when the node read the log; ``leaf`` is where it stands, None for an objection."""

    person: str
    leaf: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class RequestView:
    """All of it. ``shown`` names what was shown: an answer that brings another name was made on an old page."""

    record: StudyRecord
    words: tuple[Section, ...]
    exact: str
    standing: str
    moving: str | None
    verdict: Verdict
    cost: Cost | None
    silos: tuple[SiloLine, ...]
    approvers: tuple[Approver, ...]
    choices: tuple[Choice, ...]
    signed: Mapping[Choice, Mapping[str, str]]
    answered: tuple[str, str] | None
    shown: str

    @property
    def digest(self) -> str:
        """Computed from the text that is shown, so it can't name another."""
        return canonical.digest(self.exact.encode())


def request_view(
    silo: Silo, ledger: LedgerReading, record: StudyRecord, broken: str | None, records: Iterable[StudyRecord]
) -> RequestView:
    """``broken`` is the rule by which the study can't be gone on with; ``records`` are all studies here."""
    told = _told(silo, record)
    dataset = _dataset(silo, record)
    balance = None if dataset is None else silo.ledger.balance(dataset.domain)
    decision = told.decision if isinstance(told, Explanation) else None
    open_ = () if broken is not None else choices(silo, record, decision)
    signed = {choice: signed_fields(silo, record, choice, dataset) for choice in open_}
    verdict_ = verdict_view(told, HEADLINES)
    return RequestView(
        record=record,
        words=in_words(record.contract, record.study),
        exact=canonical.encode(contract_value(record.contract)).decode(),
        standing=_standing(silo, record, broken, open_),
        moving=under_way(silo, record),
        verdict=verdict_,
        cost=(
            _cost(silo, record, dataset, ledger.reserved(balance, record.study), records)
            if dataset is not None and isinstance(balance, Balance)
            else None
        ),
        silos=silo_lines(record.contract),
        approvers=_approvers(record),
        choices=open_,
        signed=signed,
        answered=_answered(silo, record),
        shown=_name(record, verdict_, balance, signed),
    )


def _standing(silo: Silo, record: StudyRecord, broken: str | None, open_: tuple[Choice, ...]) -> str:
    """The verdict is told apart: here only whose turn it is."""
    if broken is not None:
        return f"the log of this study breaks a rule: {broken}"
    if "accept" in open_:
        return "it waits for your decision"
    undecided = silo.name not in {*record.accepted, *record.refused, *record.gone}
    if record.closed is None and record.stands and undecided and silo.tasks.halted(record.study) is None:
        return "not answered in the log yet"
    return standing(silo, record)


def _told(silo: Silo, record: StudyRecord) -> Explanation | str | None:
    """A text where the policy can't be used."""
    try:
        return explained(silo, record)
    except PolicyRefused as problem:
        return str(problem)


def _dataset(silo: Silo, record: StudyRecord) -> Dataset | None:
    name = record.contract.data.dataset
    return next((one for one in silo.catalogue.list() if one.name == name), None)


def _cost(
    silo: Silo, record: StudyRecord, dataset: Dataset, charged: int, records: Iterable[StudyRecord]
) -> Cost | None:
    """What was charged for this study already is in what was spent."""
    contract = record.contract
    room = silo.ledger.room(dataset.domain, use_of(contract, record.study))
    if isinstance(room, Refused):
        return None
    balance, domain = room.balance, room.balance.domain
    asked = 0 if record.closed is not None else max(0, study_cost(contract, silo.name, domain.order) - charged)
    after = accounting.epsilon_at(balance.spent_picos + asked, domain.delta, domain.order)
    told = forecast_after(silo, dataset, record, records)
    broken = next((str(cap) for cap in room.caps if asked > cap.remaining_picos), "")
    return Cost(
        domain.name,
        domain.unit,
        domain.delta,
        domain.epsilon,
        balance.epsilon_spent,
        after,
        balance.spent_picos / domain.cap_picos,
        asked / domain.cap_picos,
        broken,
        told.more,
        told.bound_by,
    )


def _approvers(record: StudyRecord) -> tuple[Approver, ...]:
    approved = (Approver(party.partition(":")[2], leaf, "") for party, leaf in record.approvals.items())
    objected = (Approver(party.partition(":")[2], None, why) for party, why in record.objections.items())
    return (*approved, *objected)


def _answered(silo: Silo, record: StudyRecord) -> tuple[str, str] | None:
    """The owner's newest answer to the open question, with its reason."""
    refusal = silo.tasks.answered(record.study, "refuse")
    if refusal is not None:
        return "refuse", refusal
    yes = silo.tasks.answered(record.study, question_of(record))
    return None if yes is None or silo.tasks.held(record.study) is not None else (question_of(record), yes)


def _name(
    record: StudyRecord, said: Verdict, balance: Balance | Refused | None, signed: Mapping[Choice, Mapping[str, str]]
) -> str:
    """A digest of all that an answer rests on. Sentences stay out: they may tell the time."""
    spent = str(balance.spent_picos) if isinstance(balance, Balance) else "none"
    value = {
        "study": record.study,
        "approved": list(record.approved_by),
        "objections": dict(record.objections),
        "verdict": said.rests_on,
        "spent": spent,
        "signed": {choice: dict(fields) for choice, fields in signed.items()},
    }
    return canonical.digest(canonical.encode(value))
