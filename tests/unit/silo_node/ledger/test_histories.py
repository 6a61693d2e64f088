"""Ten thousand histories of concurrent studies, each held against plain sums: never over, never lost, caps included.

The histories are made by a generator of our own, seeded by their number: hypothesis takes twenty times as long to make
them, and `tests/conformance/test_ledger.py` has it look for the smallest one that goes wrong.
"""

import random
from dataclasses import dataclass, field

from protocol.accounting import cost_of
from protocol.spend import Event, Gaussian, SampledGaussian
from silo_node.ledger.book import Book
from silo_node.ledger.budget import Admitted, Head, PrivacyDomain, Refused, Settled
from silo_node.ledger.caps import EACH, Cap, Scope, Use
from silo_node.ledger.entry import EMPTY, Draft, Entry

HISTORIES, STEPS = 10_000, 12
NOON = "2026-11-22T12:00:00Z"
HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
LUNGS = PrivacyDomain.at_best_order("lungs", "subject", 3.0, 1e-5)
DOMAINS = {"heart": HEART, "lungs": LUNGS}
RECIPIENTS = ("grace", "ruth", "ada")
STUDIES = {f"study-{n}": Use(("mri", "ecg")[n % 2], f"study-{n}", RECIPIENTS[: 1 + n % 3]) for n in range(4)}
NAMES: dict[Scope, tuple[str, ...]] = {
    "dataset": ("mri", EACH),
    "study": ("study-1", EACH),
    "recipient": ("ruth", EACH),
}
EVENTS: tuple[tuple[Event, ...], ...] = tuple(
    (SampledGaussian(sampling_rate=0.1, noise_multiplier=noise, steps=steps, unit="subject"),)
    for noise in (0.8, 2.0)
    for steps in (1, 10, 40)
) + tuple((Gaussian(noise_multiplier=noise, count=1, unit="subject"),) for noise in (2.0, 4.0, 9.0))


COSTS = {(name, one): cost_of(one, DOMAINS[name].order) for name in DOMAINS for one in (*EVENTS, ())}


def entry_of(after: Head, draft: Draft) -> Entry:
    """The entry without its bytes: JSON and SHA-256 are most of a history's time, and other tests have them."""
    name = draft.cap.domain if draft.cap else draft.domain.name if draft.domain else ""
    head, definition = Head(after.length + 1, f"{after.length + 1:064x}"), draft.domain
    said = (draft.charge_id, draft.events, draft.use, draft.cap, draft.heads, draft.others)
    return Entry(head, after.digest, b"", draft.kind, NOON, name, definition if draft.kind == "domain" else None, *said)


@dataclass
class Charge:
    domain: str
    use: Use
    events: tuple[Event, ...]
    now: int
    reserved: int
    over: bool = False


@dataclass
class Plain:
    """What was asked and answered, in lists; every sum is made anew."""

    charges: dict[str, Charge] = field(default_factory=dict)
    caps: dict[tuple[str, Scope, str], int | None] = field(default_factory=dict)

    def spent(self, domain: str, scope: Scope | None = None, name: str = "") -> int:
        mine = (one for one in self.charges.values() if one.domain == domain)
        return sum(one.now for one in mine if scope is None or (scope, name) in one.use.names())

    def cap(self, domain: str, scope: Scope, name: str) -> int | None:
        own = self.caps.get((domain, scope, name))
        return self.caps.get((domain, scope, EACH)) if own is None else own

    def fits(self, domain: str, use: Use, cost: int) -> bool:
        if self.spent(domain) + cost > DOMAINS[domain].cap_picos:
            return False
        caps = ((scope, name, self.cap(domain, scope, name)) for scope, name in use.names())
        return all(cap is None or self.spent(domain, scope, name) + cost <= cap for scope, name, cap in caps)


class History:
    """A book, its entries, and the plain sums beside it."""

    def __init__(self, seed: int) -> None:
        self.random, self.book, self.plain = random.Random(seed), Book(), Plain()
        self.entries: list[Entry] = []
        self.tally = {"admitted": 0, "refused": 0, "capped": 0, "settled": 0, "restarted": 0}
        for domain in DOMAINS.values():
            self.write(self.book.register(domain, "others"))

    def write(self, draft: object) -> Entry:
        assert isinstance(draft, Draft)
        entry = entry_of(self.entries[-1].head if self.entries else EMPTY, draft)
        self.entries.append(entry)
        self.book.apply(entry)
        return entry

    def go(self) -> None:
        for _ in range(STEPS):
            self.random.choice((*5 * (self.reserve,), *3 * (self.settle,), self.cap, self.die))()

    def reserve(self) -> None:
        study = self.random.choice(list(STUDIES))
        domain, use = ("heart", "lungs")[int(study[-1]) // 2], STUDIES[study]
        charge, events = f"{study}:{self.random.randrange(4)}", self.random.choice(EVENTS)
        cost, known = COSTS[domain, events], self.plain.charges.get(charge)
        answer = self.book.reserve(domain, charge, events, use)
        if known is not None:
            same = isinstance(answer, Admitted) and answer.cost_picos == known.reserved
            assert same == (not known.over and known.events == events), "a retry is neither free nor charged again"
        elif self.plain.fits(domain, use, cost):
            self.write(answer)
            self.plain.charges[charge] = Charge(domain, use, events, cost, cost)
            self.tally["admitted"] += 1
        else:
            assert isinstance(answer, Refused)
            self.tally["refused" if self.plain.spent(domain) + cost > DOMAINS[domain].cap_picos else "capped"] += 1

    def settle(self) -> None:
        open_ = [name for name, one in self.plain.charges.items() if not one.over]
        if not open_:
            return
        name = self.random.choice(open_)
        one = self.plain.charges[name]
        ran = self.random.choice((one.events, (), self.random.choice(EVENTS)))
        answer = self.book.settle(name, ran)
        cost = COSTS[one.domain, ran]
        if isinstance(answer, Refused):
            assert ran not in (one.events, ())
            return
        self.write(answer)
        assert cost <= one.now, "never upwards"
        one.now, one.over = cost, True
        self.tally["settled"] += 1

    def cap(self) -> None:
        domain = self.random.choice(list(DOMAINS))
        scope = self.random.choice(list(NAMES))
        name, percent = self.random.choice(NAMES[scope]), self.random.choice((None, 0, 10, 30, 60, 100))
        picos = None if percent is None else DOMAINS[domain].cap_picos * percent // 100
        answer = self.book.cap(Cap(domain, scope, name, picos))
        if isinstance(answer, Draft):
            self.write(answer)
        self.plain.caps[domain, scope, name] = picos

    def die(self) -> None:
        """The process ends, and another one reads what is on the disk."""
        self.book = Book()
        for entry in self.entries:
            self.book.apply(entry)
        self.tally["restarted"] += 1

    def check(self) -> None:
        for name, domain in DOMAINS.items():
            room = self.book.room(name, STUDIES["study-0"])
            assert not isinstance(room, Refused)
            assert room.balance.spent_picos == self.plain.spent(name) <= domain.cap_picos
            for use in STUDIES.values():
                held = self.book.room(name, use)
                assert not isinstance(held, Refused)
                for cap in held.caps:
                    assert cap.spent_picos == self.plain.spent(name, cap.cap.scope, cap.name)
        for name, one in self.plain.charges.items():
            charge = self.book.charge(name)
            assert isinstance(charge, Settled if one.over else Admitted)
            assert (charge.cost_picos, charge.domain) == (one.now, one.domain)


def test_ten_thousand_histories_of_concurrent_studies_are_never_over_and_never_lost() -> None:
    total: dict[str, int] = {}
    for seed in range(HISTORIES):
        history = History(seed)
        history.go()
        history.check()
        for what, number in history.tally.items():
            total[what] = total.get(what, 0) + number
    assert min(total.values()) > HISTORIES / 10, f"a kind of step is too rare to be tested: {total}"
