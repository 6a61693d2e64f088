"""The rules of a ledger: each function answers None, or the refusal that names its rule. Pure."""

import re
from collections import Counter
from collections.abc import Iterable

from protocol.accounting import admits, cost_of
from protocol.spend import PICOS, Cost, Event, Gaussian
from silo_node.ledger.budget import Admitted, PrivacyDomain, Refused, Rule, Settled
from silo_node.ledger.caps import Cap, CapBalance, Room

CHARGE_NAME = r"[!-~]{1,200}"


def fixed(known: PrivacyDomain, asked: PrivacyDomain) -> Refused:
    return Refused(
        Rule.DOMAIN_FIXED,
        f"domain {asked.name} asked as {_terms(asked)}",
        f"it is {_terms(known)}, for good",
        "register it with these terms, or other persons under another name",
    )


def undeclared(asked: PrivacyDomain, others: tuple[str, ...]) -> Refused:
    return Refused(
        Rule.OTHER_PERSONS,
        f"domain {asked.name} would be new beside {', '.join(others)}",
        "new budget is for other persons alone: new rows of the same persons draw on the domain they have",
        "use that domain, or declare that these are other persons, and why",
    )


def never_reserved(charge_id: str) -> Refused:
    return Refused(
        Rule.CHARGE_UNKNOWN,
        f"charge {charge_id[:40]!r} was never reserved",
        "only a reservation can be settled",
        "reserve before the rows are read",
    )


def over(room: Room, asked: tuple[Event, ...]) -> Refused | None:
    """The first cap that the ask breaks: the domain's, then the dataset's, the study's and the recipients'."""
    balance = room.balance
    cost, cap = cost_of(asked, balance.domain.order), balance.domain.cap_picos
    if not admits(balance.spent_picos, cost, cap):
        return Refused(
            Rule.WITHIN_BUDGET,
            f"the ask costs {_shown(cost)} beside {_shown(balance.spent_picos)} spent or reserved",
            f"domain {balance.domain.name} has {_shown(cap)} at order {balance.domain.order}, "
            f"{_shown(balance.remaining_picos)} of it left",
            "ask for fewer steps or more noise",
        )
    for one in room.caps:
        if not admits(one.spent_picos, cost, one.cap_picos):
            return _capped(one, cost, balance.domain)
    return None


def _capped(one: CapBalance, cost: Cost, domain: PrivacyDomain) -> Refused:
    return Refused(
        Rule.WITHIN_CAP,
        f"the ask costs {_shown(cost)} beside {_shown(one.spent_picos)} spent or reserved for {one}",
        f"the cap on {one.cap} in domain {domain.name} is {_shown(one.cap_picos)} at order {domain.order}, "
        f"{_shown(one.remaining_picos)} of it left",
        "ask for fewer steps or more noise, or have the owner raise this cap",
    )


def beyond_domain(cap: Cap, domain: PrivacyDomain) -> Refused | None:
    if cap.picos is None or cap.picos <= domain.cap_picos:
        return None
    return Refused(
        Rule.CAP_BOUNDS,
        f"a cap of {_shown(cap.picos)} on {cap}",
        f"domain {domain.name} has {_shown(domain.cap_picos)} in all, and that is never raised",
        "choose a cap below the domain's own",
    )


def nothing_lost() -> Refused:
    return Refused(
        Rule.CHAIN_KNOWN,
        "the chain holds every head that was named",
        "a recovery is for heads that were signed and are not in it",
        "nothing is to be recovered",
    )


def beyond(charge: Admitted, ran: tuple[Event, ...]) -> Refused | None:
    reserved, actual = _steps(charge.events), _steps(ran)
    if all(actual[mechanism] <= reserved[mechanism] for mechanism in actual):
        return None
    return Refused(
        Rule.NEVER_UPWARD,
        f"charge {charge.charge_id} settled at mechanisms or steps that weren't reserved",
        "a settlement has the reserved mechanisms with at most their steps",
        "reserve them as a charge of their own",
    )


def _steps(events: Iterable[Event]) -> Counter[tuple[str, float, float, str]]:
    """How often each mechanism runs, told apart by everything but its steps."""
    steps: Counter[tuple[str, float, float, str]] = Counter()
    for event in events:
        match event:
            case Gaussian():
                steps[event.kind, 1.0, event.noise_multiplier, event.unit] += event.count
            case _:
                steps[event.kind, event.sampling_rate, event.noise_multiplier, event.unit] += event.steps
    return steps


def misnamed(charge_id: str) -> Refused | None:
    if re.fullmatch(CHARGE_NAME, charge_id):
        return None
    return Refused(
        Rule.CHARGE_NAME,
        f"charge {charge_id[:40]!r} of {len(charge_id)} characters",
        "a charge is named by 1 to 200 printable ASCII characters without spaces",
        "use study:round",
    )


def empty(asked: tuple[Event, ...]) -> Refused | None:
    if asked:
        return None
    return Refused(Rule.EVENTS_LISTED, "events is empty", "a charge has at least one", "reserve what may be run")


def weaker(domain: PrivacyDomain, asked: tuple[Event, ...]) -> Refused | None:
    if domain.covers(asked):
        return None
    return Refused(
        Rule.UNIT_STRONG_ENOUGH,
        "an event protects a record",
        f"domain {domain.name} promises protection of a whole subject",
        "sample, clip and noise by subject",
    )


def over_and_done(known: Settled) -> Refused:
    return Refused(
        Rule.CHARGE_SETTLED,
        f"charge {known.charge_id} asked again",
        f"it is settled since entry {known.head.length}",
        "resend what its run made, or name a new charge",
    )


def already(known: Admitted | Settled) -> Refused:
    what = "reserved" if isinstance(known, Admitted) else "settled"
    return Refused(
        Rule.CHARGE_FIXED,
        f"charge {known.charge_id} asked anew with other events or another domain",
        f"it is {what} since entry {known.head.length}",
        "retry with the same events, or name a new charge",
    )


def unknown_domain(name: str) -> Refused:
    return Refused(Rule.DOMAIN_UNKNOWN, f"domain {name!r}", "only a registered domain has a budget", "register it")


def _terms(domain: PrivacyDomain) -> str:
    return f"({domain.epsilon:g}, {domain.delta:g}) for a {domain.unit} at order {domain.order}"


def _shown(picos: Cost) -> str:
    return f"{picos / PICOS:.6f}"
