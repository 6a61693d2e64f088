"""Domains, balances and entries as values."""

import hashlib
from datetime import UTC, datetime

import pytest

from protocol.accounting import best_order, budget, epsilon_at
from protocol.spend import Gaussian, Unit
from silo_node.errors import LedgerDamaged
from silo_node.ledger.book import Book
from silo_node.ledger.budget import Balance, PrivacyDomain, Refused, Rule
from silo_node.ledger.caps import Use
from silo_node.ledger.entry import EMPTY, Draft, read, write

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
ONE = Gaussian(noise_multiplier=10.0, count=1, unit="subject")
USE = Use("heart", "study", ("grace",))


def test_a_domain_takes_the_order_that_pays_for_the_most_noise() -> None:
    assert HEART.order == best_order(5.0, 1e-3)
    assert HEART.cap_picos == budget(5.0, 1e-3, HEART.order)


@pytest.mark.parametrize(
    ("name", "unit", "epsilon", "delta", "order", "complaint"),
    [
        ("Heart patients", "subject", 1.0, 1e-3, 10, "domain name is 'Heart patients'"),
        ("h", "subject", 1.0, 1e-3, 10, "domain name is 'h'"),
        ("heart", "household", 1.0, 1e-3, 10, "domain unit is 'household'"),
        ("heart", "subject", -1.0, 1e-3, 10, r"epsilon is -1\.0"),
        ("heart", "subject", 1.0, 1.0, 10, r"delta is 1\.0"),
        ("heart", "subject", 1.0, 1e-3, 1, "order is 1"),
        ("heart", "subject", 1.0, 1e-3, 2, "choose a larger epsilon or delta, or a higher order"),
    ],
)
def test_a_domain_that_cannot_be_is_refused(
    name: str, unit: Unit, epsilon: float, delta: float, order: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        PrivacyDomain(name, unit, epsilon, delta, order)


def test_a_balance_counts_a_reservation_in_full_and_shows_what_is_left() -> None:
    balance = Balance(HEART, 30, 12)
    assert balance.spent_picos == 42
    assert balance.remaining_picos == HEART.cap_picos - 42
    assert balance.epsilon_spent == epsilon_at(42, 1e-3, HEART.order)
    assert Balance(HEART, 0, 0).epsilon_spent == 0.0
    assert Balance(HEART, 2 * HEART.cap_picos, 0).remaining_picos == 0


def test_a_refusal_reads_as_a_sentence_for_people() -> None:
    book = Book()
    book.apply(write(EMPTY, Draft("domain", HEART), NOON))
    refusal = book.reserve("heart", "study:1", [Gaussian(noise_multiplier=0.3, count=1000, unit="subject")], USE)
    assert isinstance(refusal, Refused)
    assert refusal.rule is Rule.WITHIN_BUDGET
    assert str(refusal) == (
        "within-budget: the ask costs 22222.666669 beside 0.000000 spent or reserved; domain heart has 3.447195 at "
        "order 4, 3.447195 of it left; ask for fewer steps or more noise"
    )


def test_an_event_built_around_its_checks_is_refused_by_name() -> None:
    book = Book()
    book.apply(write(EMPTY, Draft("domain", HEART), NOON))
    forged = Gaussian.model_construct(kind="gaussian", noise_multiplier=1e9, count=1, unit="subject")
    for refusal in (book.reserve("heart", "study:1", [forged], USE), book.settle("study:1", [forged])):
        assert isinstance(refusal, Refused)
        assert refusal.rule is Rule.EVENTS_LISTED
        assert "noise_multiplier is 1000000000.0" in refusal.value


def test_an_entry_reads_back_as_it_was_written() -> None:
    first = write(EMPTY, Draft("domain", HEART), NOON)
    second = write(first.head, Draft("reserve", HEART, "study:1", (ONE,)), NOON)
    assert read(EMPTY, first.body) == first
    assert read(first.head, second.body) == second
    assert first.definition == HEART
    assert type(first.definition.epsilon) is float


def test_the_bytes_and_digests_of_a_chain_are_these() -> None:
    """Whoever checks a ledger with other tools goes by these; a change of them is a new format."""
    first = write(EMPTY, Draft("domain", HEART), NOON)
    second = write(first.head, Draft("reserve", HEART, "study:1", (ONE,)), NOON)
    assert first.body == (
        b'{"at":"2026-11-22T12:00:00Z","delta":0.001,"domain":"heart","epsilon":5,"kind":"domain","order":4,'
        b'"sequence":1,"unit":"subject"}'
    )
    assert second.body == (
        b'{"at":"2026-11-22T12:00:00Z","charge":"study:1","domain":"heart","events":[{"count":1,"kind":"gaussian",'
        b'"noise_multiplier":10,"unit":"subject"}],"kind":"reserve","sequence":2}'
    )
    tag = b"consortia/ledger-entry/v1\x00"
    one = hashlib.sha256(tag + bytes(32) + first.body).digest()
    assert first.head.digest == one.hex()
    assert second.head.digest == hashlib.sha256(tag + one + second.body).hexdigest()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"sequence":1}',
        b'{"at":"x","domain":"heart","kind":"refund","sequence":1}',
        b'{"at":"x","charge":"c","domain":"heart","events":[{"kind":"laplace"}],"kind":"reserve","sequence":1}',
        b'{"at":"x","charge":"c","domain":"heart","epsilon":0,"events":[],"kind":"reserve","sequence":1}',
        b'{"at":"x","delta":1,"domain":"heart","epsilon":1,"kind":"domain","order":4,"sequence":1,"unit":"subject"}',
        b'{"at":"x","charge":"c","domain":"heart","events":[],"kind":"settle","sequence":2}',
        b'{"at": "x","charge":"c","domain":"heart","events":[],"kind":"settle","sequence":1}',
    ],
)
def test_bytes_that_no_ledger_wrote_are_damage(body: bytes) -> None:
    with pytest.raises(LedgerDamaged, match="entry 1 "):
        read(EMPTY, body)


def chain(*drafts: Draft) -> Book:
    book, head = Book(), EMPTY
    for draft in drafts:
        entry = write(head, draft, NOON)
        book.apply(entry)
        head = entry.head
    return book


DOMAIN = Draft("domain", HEART)
RESERVE = Draft("reserve", HEART, "study:1", (ONE,))
SETTLE = Draft("settle", HEART, "study:1", ())


@pytest.mark.parametrize(
    "drafts",
    [
        (DOMAIN, DOMAIN),
        (RESERVE,),
        (DOMAIN, RESERVE, RESERVE),
        (DOMAIN, SETTLE),
        (DOMAIN, RESERVE, SETTLE, SETTLE),
        (DOMAIN, RESERVE, Draft("settle", HEART, "study:1", (ONE, ONE))),
        (DOMAIN, RESERVE, SETTLE, RESERVE),
    ],
)
def test_a_chain_in_order_that_no_honest_ledger_writes_is_damage(drafts: tuple[Draft, ...]) -> None:
    """The digests fit: someone wrote it anew, say to settle a charge twice."""
    with pytest.raises(LedgerDamaged):
        chain(*drafts)


def test_an_entry_after_another_head_is_damage() -> None:
    book = chain(DOMAIN)
    with pytest.raises(LedgerDamaged, match="doesn't follow"):
        book.apply(write(EMPTY, RESERVE, NOON))


def test_a_chain_over_its_cap_stands_and_admits_nothing_more() -> None:
    """As after a later version that counts dearer: history is not rewritten, and nothing new fits."""
    dear = Gaussian(noise_multiplier=0.3, count=1000, unit="subject")
    book = chain(DOMAIN, Draft("reserve", HEART, "study:1", (dear,)))
    balance = book.balance("heart")
    assert isinstance(balance, Balance)
    assert balance.remaining_picos == 0
    assert isinstance(book.reserve("heart", "study:2", [ONE], USE), Refused)
