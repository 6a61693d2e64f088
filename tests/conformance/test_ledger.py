"""What every ledger must do: one suite over the SQLite ledger and a naive one that keeps lists and adds them up.

Failures looked for: budget spent twice or lost, a charge that grows, a domain that changes, a retry that is free.
Not failures: a charge that is never settled (it stays in full), a ledger cut back to an old state (its head shows).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.accounting import budget, cost_of
from protocol.spend import Event, Gaussian, SampledGaussian, Unit
from silo_node.ledger.book import Book
from silo_node.ledger.budget import (
    Admitted,
    Balance,
    Head,
    PrivacyDomain,
    Refused,
    Registered,
    Rule,
    Settled,
)
from silo_node.ledger.entry import EMPTY, Draft, Entry, digest, write
from silo_node.ledger.ledger import Ledger
from silo_node.ledger.sqlite import SqliteLedger


def noon() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@dataclass
class NaiveLedger:
    """Keeps what it was asked in lists and decides by adding all of it up, each time."""

    entries: list[Entry] = field(default_factory=list)

    def register(self, domain: PrivacyDomain) -> Registered | Refused:
        for entry in self.entries:
            if entry.definition and entry.definition.name == domain.name:
                same = entry.definition == domain
                return Registered(domain, entry.head) if same else refused(Rule.DOMAIN_FIXED)
        return Registered(domain, self._write(Draft("domain", domain)))

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event]) -> Admitted | Refused:
        asked, terms = tuple(events), self._terms(domain)
        if terms is None:
            return refused(Rule.DOMAIN_UNKNOWN)
        if not charge_id or " " in charge_id or len(charge_id) > 200:
            return refused(Rule.CHARGE_NAME)
        if not asked:
            return refused(Rule.EVENTS_LISTED)
        if terms.unit == "subject" and any(event.unit == "record" for event in asked):
            return refused(Rule.UNIT_STRONG_ENOUGH)
        cost = cost_of(asked, terms.order)
        if self._find("settle", charge_id):
            return refused(Rule.CHARGE_SETTLED)
        if known := self._find("reserve", charge_id):
            if (known.domain, known.events) != (domain, asked):
                return refused(Rule.CHARGE_FIXED)
            return Admitted(domain, charge_id, asked, cost, known.head)
        if self._spent(terms) + cost > budget(terms.epsilon, terms.delta, terms.order):
            return refused(Rule.WITHIN_BUDGET)
        return Admitted(domain, charge_id, asked, cost, self._write(Draft("reserve", terms, charge_id, asked)))

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Settled | Refused:
        ran, charge = tuple(events_run), self._find("reserve", charge_id)
        if charge is None:
            return refused(Rule.CHARGE_UNKNOWN)
        terms = self._terms(charge.domain)
        assert terms is not None
        cost = cost_of(ran, terms.order)
        if known := self._find("settle", charge_id):
            if known.events != ran:
                return refused(Rule.CHARGE_FIXED)
            return Settled(charge.domain, charge_id, ran, cost, known.head)
        if any(times(ran, one) > times(charge.events, one) for one in ran):
            return refused(Rule.NEVER_UPWARD)
        return Settled(charge.domain, charge_id, ran, cost, self._write(Draft("settle", terms, charge_id, ran)))

    def balance(self, domain: str) -> Balance | Refused:
        terms = self._terms(domain)
        if terms is None:
            return refused(Rule.DOMAIN_UNKNOWN)
        settled = [entry for entry in self.entries if entry.kind == "settle" and entry.domain == domain]
        final = sum(cost_of(entry.events, terms.order) for entry in settled)
        return Balance(terms, self._spent(terms) - final, final)

    def history(self, domain: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.domain == domain)

    def head(self) -> Head:
        return self.entries[-1].head if self.entries else EMPTY

    def extends(self, head: Head) -> bool:
        return head == EMPTY or head in [entry.head for entry in self.entries]

    def _terms(self, domain: str) -> PrivacyDomain | None:
        found = [entry.definition for entry in self.entries if entry.definition and entry.domain == domain]
        return found[0] if found else None

    def _find(self, kind: str, charge_id: str) -> Entry | None:
        found = [entry for entry in self.entries if (entry.kind, entry.charge_id) == (kind, charge_id)]
        return found[0] if found else None

    def _spent(self, terms: PrivacyDomain) -> int:
        asked = {e.charge_id: e.events for e in self.entries if e.kind == "reserve" and e.domain == terms.name}
        ended = {e.charge_id: e.events for e in self.entries if e.kind == "settle" and e.domain == terms.name}
        return sum(cost_of(events, terms.order) for events in (asked | ended).values())

    def _write(self, draft: Draft) -> Head:
        self.entries.append(write(self.head(), draft, "2026-11-22T12:00:00Z"))
        return self.entries[-1].head


def refused(rule: Rule) -> Refused:
    return Refused(rule, "", "", "")


def times(events: tuple[Event, ...], like: Event) -> int:
    def bare(event: Event) -> Event:
        return event.model_copy(update={"count": 1} if isinstance(event, Gaussian) else {"steps": 1})

    return sum(e.count if isinstance(e, Gaussian) else e.steps for e in events if bare(e) == bare(like))


HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
ROWS = PrivacyDomain.at_best_order("rows", "record", 1.0, 1e-5)


def steps(number: int, noise: float = 10.0, unit: Unit = "subject") -> SampledGaussian:
    return SampledGaussian(sampling_rate=1.0, noise_multiplier=noise, steps=number, unit=unit)


def count(number: int, noise: float = 10.0, unit: Unit = "subject") -> Gaussian:
    return Gaussian(noise_multiplier=noise, count=number, unit=unit)


@pytest.fixture(params=["sqlite", "naive"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "naive":
        yield NaiveLedger()
        return
    ledger = SqliteLedger(tmp_path / "ledger" / "ledger.sqlite", noon)
    yield ledger
    ledger.close()


def spent(ledger: Ledger, domain: str = "heart") -> int:
    balance = ledger.balance(domain)
    assert isinstance(balance, Balance)
    return balance.spent_picos


def rule(outcome: object) -> Rule:
    assert isinstance(outcome, Refused)
    return outcome.rule


def test_a_round_is_charged_once_however_often_it_is_retried(ledger: Ledger) -> None:
    ledger.register(HEART)
    first = ledger.reserve("heart", "study:1", [steps(5)])
    assert isinstance(first, Admitted)
    assert first.cost_picos == cost_of([steps(5)], HEART.order)
    for _ in range(5):
        assert ledger.reserve("heart", "study:1", iter([steps(5)])) == first
    assert spent(ledger) == first.cost_picos
    assert ledger.head() == first.head


def test_a_different_ask_under_the_same_name_is_refused(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS)
    ledger.reserve("heart", "study:1", [steps(5)])
    before = ledger.head()
    for domain, events in (
        ("heart", [steps(4)]),
        ("heart", [steps(5, 11.0)]),
        ("heart", [steps(5), count(1)]),
        ("rows", [steps(5)]),
    ):
        assert rule(ledger.reserve(domain, "study:1", events)) is Rule.CHARGE_FIXED
    assert ledger.head() == before


def test_the_last_unit_of_a_budget_can_be_spent_and_not_one_more(ledger: Ledger) -> None:
    ledger.register(HEART)
    one = cost_of([count(1)], HEART.order)
    fit = HEART.cap_picos // one
    for number in range(fit):
        assert isinstance(ledger.reserve("heart", f"study:{number}", [count(1)]), Admitted)
    assert rule(ledger.reserve("heart", "study:more", [count(1)])) is Rule.WITHIN_BUDGET
    assert spent(ledger) == fit * one <= HEART.cap_picos
    left = HEART.cap_picos - fit * one
    noise = next(n for n in range(10, 10_000) if cost_of([count(1, float(n))], HEART.order) <= left)
    assert isinstance(ledger.reserve("heart", "study:last", [count(1, float(noise))]), Admitted)


def test_a_settlement_frees_what_was_not_run(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50), count(1)])
    settled = ledger.settle("study:1", [steps(30)])
    assert isinstance(settled, Settled)
    assert spent(ledger) == settled.cost_picos == cost_of([steps(30)], HEART.order)
    balance = ledger.balance("heart")
    assert isinstance(balance, Balance)
    assert (balance.reserved_picos, balance.settled_picos) == (0, settled.cost_picos)


def test_a_settlement_happens_once(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)])
    settled = ledger.settle("study:1", [steps(30)])
    assert ledger.settle("study:1", [steps(30)]) == settled
    for other in ([steps(29)], [steps(31)], []):
        assert rule(ledger.settle("study:1", other)) is Rule.CHARGE_FIXED
    assert spent(ledger) == cost_of([steps(30)], HEART.order)


def test_a_run_that_never_began_costs_nothing(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)])
    assert isinstance(ledger.settle("study:1", []), Settled)
    assert spent(ledger) == 0


@pytest.mark.parametrize(
    "ran",
    [[steps(51)], [steps(30), steps(21)], [steps(50, 9.0)], [steps(50, 11.0)], [count(1)], [steps(50, unit="record")]],
)
def test_a_settlement_never_goes_upward_or_elsewhere(ledger: Ledger, ran: list[Event]) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)])
    assert rule(ledger.settle("study:1", ran)) is Rule.NEVER_UPWARD
    assert spent(ledger) == cost_of([steps(50)], HEART.order)


def test_what_is_settled_cannot_be_run_again_for_free(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)])
    ledger.settle("study:1", [])
    assert rule(ledger.reserve("heart", "study:1", [steps(50)])) is Rule.CHARGE_SETTLED


def test_an_unknown_charge_cannot_be_settled(ledger: Ledger) -> None:
    ledger.register(HEART)
    assert rule(ledger.settle("study:1", [])) is Rule.CHARGE_UNKNOWN


def test_a_domain_is_fixed_for_good(ledger: Ledger) -> None:
    first = ledger.register(HEART)
    assert isinstance(first, Registered)
    assert ledger.register(HEART) == first
    for other in (
        replace(HEART, epsilon=50.0),
        replace(HEART, delta=1e-2),
        replace(HEART, order=HEART.order + 1),
        replace(HEART, unit="record"),
    ):
        assert rule(ledger.register(other)) is Rule.DOMAIN_FIXED
    assert ledger.head() == first.head


def test_a_weaker_unit_than_the_domains_is_refused(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS)
    assert rule(ledger.reserve("heart", "study:1", [steps(1), count(1, unit="record")])) is Rule.UNIT_STRONG_ENOUGH
    assert isinstance(ledger.reserve("rows", "study:1", [steps(1, 100.0)]), Admitted)


def test_domains_do_not_share_a_budget(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS)
    ledger.reserve("heart", "study:1", [steps(5)])
    assert spent(ledger, "rows") == 0


def test_an_unknown_domain_has_no_budget(ledger: Ledger) -> None:
    assert rule(ledger.reserve("heart", "study:1", [steps(1)])) is Rule.DOMAIN_UNKNOWN
    assert rule(ledger.balance("heart")) is Rule.DOMAIN_UNKNOWN
    assert ledger.history("heart") == ()


@pytest.mark.parametrize("name", ["", "two words", "x" * 201])
def test_a_charge_has_a_proper_name(ledger: Ledger, name: str) -> None:
    ledger.register(HEART)
    assert rule(ledger.reserve("heart", name, [steps(1)])) is Rule.CHARGE_NAME


def test_an_empty_ask_is_refused(ledger: Ledger) -> None:
    ledger.register(HEART)
    assert rule(ledger.reserve("heart", "study:1", [])) is Rule.EVENTS_LISTED


def test_the_history_of_a_domain_shows_every_entry_in_one_chain(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS)
    ledger.reserve("heart", "study:1", [steps(5), count(2)])
    ledger.settle("study:1", [steps(3)])
    heart, rows = ledger.history("heart"), ledger.history("rows")
    assert [entry.kind for entry in heart] == ["domain", "reserve", "settle"]
    assert [entry.events for entry in heart] == [(), (steps(5), count(2)), (steps(3),)]
    assert {entry.at for entry in heart} == {"2026-11-22T12:00:00Z"}
    chain = sorted(heart + rows, key=lambda entry: entry.head.length)
    previous = EMPTY
    for entry in chain:
        assert entry.previous == previous.digest
        assert entry.head == Head(previous.length + 1, digest(entry.previous, entry.body))
        previous = entry.head
    assert previous == ledger.head()


def test_a_claimed_epsilon_is_nowhere_in_a_charge(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(5)])
    ledger.settle("study:1", [steps(5)])
    for entry in ledger.history("heart")[1:]:
        assert b"epsilon" not in entry.body
        assert b"cost" not in entry.body


def test_a_ledger_extends_its_own_heads_and_no_others(ledger: Ledger) -> None:
    heads = [ledger.head()]
    ledger.register(HEART)
    heads.append(ledger.head())
    ledger.reserve("heart", "study:1", [steps(5)])
    heads.append(ledger.head())
    assert all(ledger.extends(head) for head in heads)
    assert not ledger.extends(Head(1, heads[2].digest))
    assert not ledger.extends(Head(3, "ab" * 32))


EVENTS = st.lists(
    st.builds(steps, st.integers(1, 40), st.sampled_from([5.0, 20.0]), st.sampled_from(["subject", "record"]))
    | st.builds(count, st.integers(1, 3), st.sampled_from([2.0, 20.0])),
    max_size=2,
)
CHARGES = st.sampled_from([f"study:{n}" for n in range(5)])
DOMAINS = st.sampled_from(["heart", "rows", "nobody"])
Step = Callable[[Ledger], object]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda d: lambda ledger: ledger.register(d), st.sampled_from([HEART, ROWS, replace(HEART, epsilon=9.0)])),
    st.builds(lambda d, c, e: lambda ledger: ledger.reserve(d, c, e), DOMAINS, CHARGES, EVENTS),
    st.builds(lambda c, e: lambda ledger: ledger.settle(c, e), CHARGES, EVENTS),
)


def plainly(outcome: object) -> object:
    return outcome.rule if isinstance(outcome, Refused) else outcome


@settings(deadline=None, max_examples=150)
@given(history=st.lists(STEPS, max_size=25), reopened_at=st.integers(0, 25))
def test_random_histories_are_never_over_and_never_lost(history: list[Step], reopened_at: int) -> None:
    with TemporaryDirectory() as folder:
        path, naive = Path(folder) / "ledger" / "ledger.sqlite", NaiveLedger()
        ledger = SqliteLedger(path, noon)
        for domain in (HEART, ROWS):
            assert ledger.register(domain) == naive.register(domain)
        for number, step in enumerate(history):
            if number == reopened_at:
                ledger.close()
                ledger = SqliteLedger(path, noon)
            assert plainly(step(ledger)) == plainly(step(naive))
            assert ledger.head() == naive.head()
            for domain in (HEART, ROWS):
                assert spent(ledger, domain.name) == spent(naive, domain.name) <= domain.cap_picos
        assert ledger.history("heart") + ledger.history("rows") == naive.history("heart") + naive.history("rows")
        ledger.close()


class Replayed(NaiveLedger):
    """The arithmetic of the SQLite ledger without its file: thousands of histories take seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()

    def register(self, domain: PrivacyDomain) -> Any:
        return self._done(self.book.register(domain))

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event]) -> Any:
        return self._done(self.book.reserve(domain, charge_id, events))

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Any:
        return self._done(self.book.settle(charge_id, events_run))

    def balance(self, domain: str) -> Balance | Refused:
        return self.book.balance(domain)

    def _done(self, verdict: object) -> object:
        if not isinstance(verdict, Draft):
            return verdict
        self._write(verdict)
        return self.book.apply(self.entries[-1])


@settings(deadline=None, max_examples=2000)
@given(history=st.lists(STEPS, max_size=25))
def test_thousands_of_random_histories_add_up_to_the_same(history: list[Step]) -> None:
    book, naive = Replayed(), NaiveLedger()
    for domain in (HEART, ROWS):
        assert book.register(domain) == naive.register(domain)
    for step in history:
        assert plainly(step(book)) == plainly(step(naive))
    assert book.head() == naive.head()
    for domain in (HEART, ROWS):
        assert book.balance(domain.name) == naive.balance(domain.name)
        assert spent(book, domain.name) <= domain.cap_picos
