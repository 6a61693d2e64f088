"""What is left, in whole studies: as many as the ledger then admits, and not one more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.accounting import cost_of
from protocol.spend import Event, Gaussian
from silo_node.ledger.book import Book
from silo_node.ledger.budget import Balance, PrivacyDomain, Refused
from silo_node.ledger.caps import EACH, Cap, Room, Scope, Use
from silo_node.ledger.entry import EMPTY, Draft, write
from silo_node.ledger.forecast import forecast

HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
SHARES = st.none() | st.integers(0, 100)


def count(number: int) -> tuple[Event, ...]:
    return (Gaussian(noise_multiplier=6.0, count=number, unit="subject"),)


class Writing:
    """A book that writes what it drafts."""

    def __init__(self) -> None:
        self.book, self.head = Book(), EMPTY
        assert self.take(self.book.register(HEART))

    def take(self, verdict: object) -> bool:
        if not isinstance(verdict, Draft):
            return not isinstance(verdict, Refused)
        entry = write(self.head, verdict, "2026-11-22T12:00:00Z")
        self.book.apply(entry)
        self.head = entry.head
        return True

    def admits(self, study: str, rounds: list[tuple[Event, ...]]) -> bool:
        use = Use("heart", study, ("ada", "grace"))
        return all(self.take(self.book.reserve("heart", f"{study}:{n}", one, use)) for n, one in enumerate(rounds))


@settings(deadline=None, max_examples=60)
@given(
    before=st.integers(0, 20),
    size=st.integers(1, 6),
    caps=st.fixed_dictionaries({"dataset": SHARES, "study": SHARES, "recipient": SHARES}),
    each=st.booleans(),
)
def test_the_ledger_admits_exactly_as_many_as_were_forecast(
    before: int, size: int, caps: dict[Scope, int | None], each: bool
) -> None:
    ledger, rounds = Writing(), [count(1)] * size
    for number in range(before):
        ledger.admits(f"old-{number}", [count(1)])
    names: dict[Scope, str] = {"dataset": "heart", "study": EACH, "recipient": "ada"}
    for scope, percent in caps.items():
        name = EACH if each else names[scope]
        ledger.take(ledger.book.cap(Cap("heart", scope, name, percent and HEART.cap_picos * percent // 100)))
    room = ledger.book.room("heart", Use("heart", "", ("ada", "grace")))
    assert isinstance(room, Room)
    told = forecast(room, sum(cost_of(one, HEART.order) for one in rounds))
    for number in range(told.more):
        assert ledger.admits(f"new-{number}", rounds)
    assert not ledger.admits("one-too-many", rounds)


def test_studies_under_way_are_taken_off_first() -> None:
    cost = cost_of(count(1), HEART.order)
    room, use = Room(Balance(HEART, 0, HEART.cap_picos % cost)), Use("heart", "s", ("ada",))
    whole = HEART.cap_picos // cost
    assert forecast(room, cost).more == whole
    assert forecast(room, cost, [(use, cost)]).more == whole - 1
    assert forecast(room, cost, [(use, 1)]).more == whole - 1
    assert forecast(room, cost, [(use, 2 * HEART.cap_picos)]).more == 0


def test_a_cost_of_nothing_has_no_forecast() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        forecast(Room(Balance(HEART, 0, 0)), 0)
