"""What every ledger must do: one suite over the SQLite ledger and a naive one that keeps lists and adds them up.

Failures looked for: budget spent twice or lost, a charge that grows, a domain that changes, a retry that is free.
Not failures: a charge that is never settled (it stays in full), a ledger cut back to an old state (its head shows).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.accounting import budget, cost_of
from protocol.spend import Event, Gaussian, SampledGaussian, Unit
from silo_node.ledger.budget import (
    Admitted,
    Balance,
    Head,
    OtherPersons,
    PrivacyDomain,
    Recovered,
    Refused,
    Registered,
    Rule,
    Settled,
)
from silo_node.ledger.caps import EACH, Cap, CapBalance, Capped, Room, Scope, Use
from silo_node.ledger.entry import EMPTY, Draft, Entry, digest, write
from silo_node.ledger.ledger import Ledger
from silo_node.ledger.sqlite import SqliteLedger


def noon() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@dataclass
class NaiveLedger:
    """Keeps what it was asked in lists and decides by adding all of it up, each time."""

    entries: list[Entry] = field(default_factory=list)

    def register(self, domain: PrivacyDomain, reason: str | None = None) -> Registered | Refused:
        for entry in self.entries:
            if entry.definition and entry.definition.name == domain.name:
                same = entry.definition == domain
                return Registered(domain, entry.head) if same else refused(Rule.DOMAIN_FIXED)
        beside = tuple(sorted(entry.domain for entry in self.entries if entry.definition))
        if beside and reason is None:
            return refused(Rule.OTHER_PERSONS)
        others = OtherPersons(beside, reason) if beside and reason is not None else None
        return Registered(domain, self._write(Draft("domain", domain, others=others)))

    def reregister(self, domain: PrivacyDomain, reason: str | None) -> Registered | Refused:
        raise NotImplementedError

    def readmit(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
        raise NotImplementedError

    def recover(self, heads: Iterable[str]) -> Recovered | Refused:
        raise NotImplementedError

    def domains(self) -> tuple[PrivacyDomain, ...]:
        return tuple(sorted((e.definition for e in self.entries if e.definition), key=lambda one: one.name))

    def charge(self, charge_id: str) -> Admitted | Settled | None:
        raise NotImplementedError

    def declared(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.cap or entry.others)

    def cap(self, cap: Cap) -> Capped | Refused:
        terms = self._terms(cap.domain)
        if terms is None:
            return refused(Rule.DOMAIN_UNKNOWN)
        before = [entry for entry in self.entries if entry.cap and same_place(entry.cap, cap)]
        if before and before[-1].cap == cap:
            return Capped(cap, before[-1].head)
        if cap.picos is not None and cap.picos > budget(terms.epsilon, terms.delta, terms.order):
            return refused(Rule.CAP_BOUNDS)
        return Capped(cap, self._write(Draft("cap", terms, cap=cap)))

    def caps(self, domain: str) -> tuple[CapBalance, ...]:
        raise NotImplementedError

    def room(self, domain: str, use: Use) -> Room | Refused:
        balance = self.balance(domain)
        if isinstance(balance, Refused):
            return balance
        return Room(balance, tuple(self._standing(domain, scope, name) for scope, name in self._capped(domain, use)))

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
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
            if (known.domain, known.events, known.use) != (domain, asked, use):
                return refused(Rule.CHARGE_FIXED)
            return Admitted(domain, charge_id, asked, cost, known.head)
        if self._spent(terms) + cost > budget(terms.epsilon, terms.delta, terms.order):
            return refused(Rule.WITHIN_BUDGET)
        caps = [self._standing(domain, scope, name) for scope, name in self._capped(domain, use)]
        if any(one.spent_picos + cost > one.cap_picos for one in caps):
            return refused(Rule.WITHIN_CAP)
        return Admitted(domain, charge_id, asked, cost, self._write(Draft("reserve", terms, charge_id, asked, use)))

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

    def extends(self, digest: str) -> bool:
        return digest in [EMPTY.digest, *(entry.head.digest for entry in self.entries)]

    def _in_force(self, domain: str, scope: Scope, name: str) -> Cap | None:
        for one in (name, EACH):
            said = [e.cap for e in self.entries if e.cap and same_place(e.cap, Cap(domain, scope, one, 0))]
            if said and said[-1].picos is not None:
                return said[-1]
        return None

    def _capped(self, domain: str, use: Use) -> list[tuple[Scope, str]]:
        return [(scope, name) for scope, name in use.names() if self._in_force(domain, scope, name)]

    def _standing(self, domain: str, scope: Scope, name: str) -> CapBalance:
        cap, terms = self._in_force(domain, scope, name), self._terms(domain)
        assert cap is not None and cap.picos is not None and terms is not None
        asked = {e.charge_id: e for e in self.entries if e.kind == "reserve" and e.domain == domain}
        ended = {e.charge_id: e.events for e in self.entries if e.kind == "settle"}
        mine = [e for e in asked.values() if e.use is None or (scope, name) in e.use.names()]
        spent = sum(cost_of(ended.get(e.charge_id, e.events), terms.order) for e in mine)
        return CapBalance(cap, name, cap.picos, spent)

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


def same_place(one: Cap, other: Cap) -> bool:
    return (one.domain, one.scope, one.name) == (other.domain, other.scope, other.name)


def refused(rule: Rule) -> Refused:
    return Refused(rule, "", "", "")


def times(events: tuple[Event, ...], like: Event) -> int:
    def bare(event: Event) -> Event:
        return event.model_copy(update={"count": 1} if isinstance(event, Gaussian) else {"steps": 1})

    return sum(e.count if isinstance(e, Gaussian) else e.steps for e in events if bare(e) == bare(like))


HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
ROWS = PrivacyDomain.at_best_order("rows", "record", 1.0, 1e-5)
USE = Use("heart", "study", ("grace",))
OTHERS = "rows of machines, not of patients"


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
    first = ledger.reserve("heart", "study:1", [steps(5)], USE)
    assert isinstance(first, Admitted)
    assert first.cost_picos == cost_of([steps(5)], HEART.order)
    for _ in range(5):
        assert ledger.reserve("heart", "study:1", iter([steps(5)]), USE) == first
    assert spent(ledger) == first.cost_picos
    assert ledger.head() == first.head


def test_a_different_ask_under_the_same_name_is_refused(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS, OTHERS)
    ledger.reserve("heart", "study:1", [steps(5)], USE)
    before = ledger.head()
    for domain, events in (
        ("heart", [steps(4)]),
        ("heart", [steps(5, 11.0)]),
        ("heart", [steps(5), count(1)]),
        ("rows", [steps(5)]),
    ):
        assert rule(ledger.reserve(domain, "study:1", events, USE)) is Rule.CHARGE_FIXED
    assert ledger.head() == before


def test_the_last_unit_of_a_budget_can_be_spent_and_not_one_more(ledger: Ledger) -> None:
    ledger.register(HEART)
    one = cost_of([count(1)], HEART.order)
    fit = HEART.cap_picos // one
    for number in range(fit):
        assert isinstance(ledger.reserve("heart", f"study:{number}", [count(1)], USE), Admitted)
    assert rule(ledger.reserve("heart", "study:more", [count(1)], USE)) is Rule.WITHIN_BUDGET
    assert spent(ledger) == fit * one <= HEART.cap_picos
    left = HEART.cap_picos - fit * one
    noise = next(n for n in range(10, 10_000) if cost_of([count(1, float(n))], HEART.order) <= left)
    assert isinstance(ledger.reserve("heart", "study:last", [count(1, float(noise))], USE), Admitted)


def test_a_settlement_frees_what_was_not_run(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50), count(1)], USE)
    settled = ledger.settle("study:1", [steps(30)])
    assert isinstance(settled, Settled)
    assert spent(ledger) == settled.cost_picos == cost_of([steps(30)], HEART.order)
    balance = ledger.balance("heart")
    assert isinstance(balance, Balance)
    assert (balance.reserved_picos, balance.settled_picos) == (0, settled.cost_picos)


def test_a_settlement_happens_once(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)], USE)
    settled = ledger.settle("study:1", [steps(30)])
    assert ledger.settle("study:1", [steps(30)]) == settled
    for other in ([steps(29)], [steps(31)], []):
        assert rule(ledger.settle("study:1", other)) is Rule.CHARGE_FIXED
    assert spent(ledger) == cost_of([steps(30)], HEART.order)


def test_a_run_that_never_began_costs_nothing(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)], USE)
    assert isinstance(ledger.settle("study:1", []), Settled)
    assert spent(ledger) == 0


@pytest.mark.parametrize(
    "ran",
    [[steps(51)], [steps(30), steps(21)], [steps(50, 9.0)], [steps(50, 11.0)], [count(1)], [steps(50, unit="record")]],
)
def test_a_settlement_never_goes_upward_or_elsewhere(ledger: Ledger, ran: list[Event]) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)], USE)
    assert rule(ledger.settle("study:1", ran)) is Rule.NEVER_UPWARD
    assert spent(ledger) == cost_of([steps(50)], HEART.order)


def test_what_is_settled_cannot_be_run_again_for_free(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [steps(50)], USE)
    ledger.settle("study:1", [])
    assert rule(ledger.reserve("heart", "study:1", [steps(50)], USE)) is Rule.CHARGE_SETTLED


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
    ledger.register(ROWS, OTHERS)
    assert rule(ledger.reserve("heart", "study:1", [steps(1), count(1, unit="record")], USE)) is Rule.UNIT_STRONG_ENOUGH
    assert isinstance(ledger.reserve("rows", "study:1", [steps(1, 100.0)], USE), Admitted)


def test_domains_do_not_share_a_budget(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS, OTHERS)
    ledger.reserve("heart", "study:1", [steps(5)], USE)
    assert spent(ledger, "rows") == 0


def test_an_unknown_domain_has_no_budget(ledger: Ledger) -> None:
    assert rule(ledger.reserve("heart", "study:1", [steps(1)], USE)) is Rule.DOMAIN_UNKNOWN
    assert rule(ledger.balance("heart")) is Rule.DOMAIN_UNKNOWN
    assert ledger.history("heart") == ()


@pytest.mark.parametrize("name", ["", "two words", "x" * 201])
def test_a_charge_has_a_proper_name(ledger: Ledger, name: str) -> None:
    ledger.register(HEART)
    assert rule(ledger.reserve("heart", name, [steps(1)], USE)) is Rule.CHARGE_NAME


def test_an_empty_ask_is_refused(ledger: Ledger) -> None:
    ledger.register(HEART)
    assert rule(ledger.reserve("heart", "study:1", [], USE)) is Rule.EVENTS_LISTED


def test_the_history_of_a_domain_shows_every_entry_in_one_chain(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.register(ROWS, OTHERS)
    ledger.reserve("heart", "study:1", [steps(5), count(2)], USE)
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
    ledger.reserve("heart", "study:1", [steps(5)], USE)
    ledger.settle("study:1", [steps(5)])
    for entry in ledger.history("heart")[1:]:
        assert b"epsilon" not in entry.body
        assert b"cost" not in entry.body


def test_a_ledger_extends_its_own_heads_and_no_others(ledger: Ledger) -> None:
    heads = [ledger.head()]
    ledger.register(HEART)
    heads.append(ledger.head())
    ledger.reserve("heart", "study:1", [steps(5)], USE)
    heads.append(ledger.head())
    assert all(ledger.extends(head.digest) for head in heads)
    assert not ledger.extends("ab" * 32)


NAMES: dict[Scope, tuple[str, ...]] = {
    "dataset": ("heart", "lungs", EACH),
    "study": ("study-0", EACH),
    "recipient": ("grace", "ruth", EACH),
}


def study_of(charge_id: str) -> Use:
    """Charges of two studies of two datasets, for one recipient or both."""
    number = int(charge_id.partition(":")[2])
    return Use(("heart", "lungs")[number % 2], f"study-{number % 3}", ("grace", "ruth")[: 1 + number % 2])


def share(domain: PrivacyDomain, percent: int) -> int:
    return domain.cap_picos * percent // 100


EVENTS = st.lists(
    st.builds(steps, st.integers(1, 40), st.sampled_from([5.0, 20.0]), st.sampled_from(["subject", "record"]))
    | st.builds(count, st.integers(1, 3), st.sampled_from([2.0, 20.0])),
    max_size=2,
)
CHARGES = st.sampled_from([f"study:{n}" for n in range(5)])
DOMAINS = st.sampled_from(["heart", "rows", "nobody"])
CAPS = st.builds(
    lambda domain, named, percent: Cap(domain, *named, None if percent is None else share(HEART, percent)),
    DOMAINS,
    st.sampled_from([(scope, name) for scope, names in NAMES.items() for name in names]),
    st.sampled_from([None, 0, 1, 5, 20, 60, 101]),
)
Step = Callable[[Ledger], object]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda d: lambda ledger: ledger.register(d, OTHERS), st.sampled_from([HEART, ROWS, replace(HEART, epsilon=9.0)])
    ),
    st.builds(lambda d, c, e: lambda ledger: ledger.reserve(d, c, e, study_of(c)), DOMAINS, CHARGES, EVENTS),
    st.builds(lambda c, e: lambda ledger: ledger.settle(c, e), CHARGES, EVENTS),
    st.builds(lambda cap: lambda ledger: ledger.cap(cap), CAPS),
)
USES = [study_of(f"study:{n}") for n in range(5)]


def plainly(outcome: object) -> object:
    return outcome.rule if isinstance(outcome, Refused) else outcome


@settings(deadline=None, max_examples=150)
@given(history=st.lists(STEPS, max_size=25), reopened_at=st.integers(0, 25))
def test_random_histories_are_never_over_and_never_lost(history: list[Step], reopened_at: int) -> None:
    with TemporaryDirectory() as folder:
        path, naive = Path(folder) / "ledger" / "ledger.sqlite", NaiveLedger()
        ledger = SqliteLedger(path, noon)
        for domain in (HEART, ROWS):
            assert ledger.register(domain, OTHERS) == naive.register(domain, OTHERS)
        for number, step in enumerate(history):
            if number == reopened_at:
                ledger.close()
                ledger = SqliteLedger(path, noon)
            assert plainly(step(ledger)) == plainly(step(naive))
            assert ledger.head() == naive.head()
            for domain in (HEART, ROWS):
                assert spent(ledger, domain.name) == spent(naive, domain.name) <= domain.cap_picos
                for use in USES:
                    assert ledger.room(domain.name, use) == naive.room(domain.name, use)
        assert ledger.history("heart") + ledger.history("rows") == naive.history("heart") + naive.history("rows")
        ledger.close()


ONE = cost_of([count(1)], HEART.order)
CAPPED: list[tuple[Scope, str, Use]] = [
    ("dataset", "heart", Use("heart", "other", ("ruth",))),
    ("study", "study", Use("lungs", "study", ("ruth",))),
    ("recipient", "grace", Use("lungs", "other", ("grace", "ruth"))),
]
NOT_CAPPED = Use("lungs", "other", ("ruth",))


@pytest.mark.parametrize("each", [False, True], ids=["by name", "for each"])
@pytest.mark.parametrize(("scope", "name", "other"), CAPPED, ids=["dataset", "study", "recipient"])
def test_a_cap_binds_all_that_names_it_and_nothing_else(
    ledger: Ledger, scope: Scope, name: str, other: Use, each: bool
) -> None:
    ledger.register(HEART)
    assert isinstance(ledger.cap(Cap("heart", scope, EACH if each else name, 2 * ONE)), Capped)
    assert isinstance(ledger.reserve("heart", "study:1", [count(1)], USE), Admitted)
    assert isinstance(ledger.reserve("heart", "other:1", [count(1)], other), Admitted)
    refusal = ledger.reserve("heart", "study:2", [count(1)], USE)
    assert rule(refusal) is Rule.WITHIN_CAP
    assert isinstance(ledger.reserve("heart", "free:1", [count(1)], NOT_CAPPED), Admitted)
    assert spent(ledger) == 3 * ONE
    room = ledger.room("heart", USE)
    assert isinstance(room, Room)
    assert (room.remaining_picos, room.tightest_cap) == (0, f"{scope} {name}")


def test_a_cap_of_its_own_goes_before_the_one_for_each(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.cap(Cap("heart", "recipient", EACH, 0))
    assert rule(ledger.reserve("heart", "study:1", [count(1)], USE)) is Rule.WITHIN_CAP
    ledger.cap(Cap("heart", "recipient", "grace", ONE))
    assert isinstance(ledger.reserve("heart", "study:1", [count(1)], USE), Admitted)
    ledger.cap(Cap("heart", "recipient", "grace", None))
    assert rule(ledger.reserve("heart", "study:2", [count(1)], USE)) is Rule.WITHIN_CAP


def test_a_cap_can_be_lowered_below_what_is_spent_and_raised_again_by_its_owner(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.reserve("heart", "study:1", [count(2)], USE)
    ledger.cap(Cap("heart", "study", "study", ONE))
    assert rule(ledger.reserve("heart", "study:2", [count(1)], USE)) is Rule.WITHIN_CAP
    assert isinstance(ledger.settle("study:1", [count(2)]), Settled)
    ledger.cap(Cap("heart", "study", "study", 3 * ONE))
    assert isinstance(ledger.reserve("heart", "study:2", [count(1)], USE), Admitted)
    assert rule(ledger.reserve("heart", "study:3", [count(1)], USE)) is Rule.WITHIN_CAP


def test_a_settlement_gives_back_to_the_caps_too(ledger: Ledger) -> None:
    ledger.register(HEART)
    ledger.cap(Cap("heart", "recipient", "grace", 2 * ONE))
    ledger.reserve("heart", "study:1", [count(2)], USE)
    ledger.settle("study:1", [count(1)])
    assert isinstance(ledger.reserve("heart", "study:2", [count(1)], USE), Admitted)
    assert rule(ledger.reserve("heart", "study:3", [count(1)], USE)) is Rule.WITHIN_CAP


def test_no_cap_is_wider_than_its_domain_and_none_raises_the_domains_own(ledger: Ledger) -> None:
    ledger.register(HEART)
    assert rule(ledger.cap(Cap("heart", "study", "study", HEART.cap_picos + 1))) is Rule.CAP_BOUNDS
    assert rule(ledger.cap(Cap("nobody", "study", "study", 1))) is Rule.DOMAIN_UNKNOWN
    ledger.cap(Cap("heart", "study", EACH, HEART.cap_picos))
    fit = HEART.cap_picos // ONE
    admitted = [ledger.reserve("heart", f"s{n}:1", [count(1)], Use("heart", f"s{n}", ())) for n in range(fit + 1)]
    assert [isinstance(one, Admitted) for one in admitted] == [True] * fit + [False]
    assert rule(admitted[-1]) is Rule.WITHIN_BUDGET


def test_the_same_cap_again_is_no_change(ledger: Ledger) -> None:
    ledger.register(HEART)
    first = ledger.cap(Cap("heart", "study", EACH, ONE))
    assert ledger.cap(Cap("heart", "study", EACH, ONE)) == first
    assert [entry.cap for entry in ledger.declared()] == [Cap("heart", "study", EACH, ONE)]


def test_a_second_domain_needs_the_owners_word_that_it_is_of_other_persons(ledger: Ledger) -> None:
    ledger.register(HEART)
    assert rule(ledger.register(ROWS)) is Rule.OTHER_PERSONS
    assert isinstance(ledger.register(ROWS, OTHERS), Registered)
    assert isinstance(ledger.register(ROWS), Registered)
    (entry,) = ledger.declared()
    assert entry.others == OtherPersons(("heart",), OTHERS)
    assert [domain.name for domain in ledger.domains()] == ["heart", "rows"]
