"""What an admin may change in a charter: each function takes the version in force, and gives the next, unsigned."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from client.errors import UsageRefused
from client.keys import Card
from protocol import canonical
from protocol.charter import Charter, Role, charter_digest
from protocol.errors import ProtocolError
from protocol.ids import Hex32, Strict, moment, timestamp
from protocol.signed_note import VerifierKey
from protocol.study import explain

CHARTER_LIFE: Final = timedelta(days=730)


class HubCard(Strict):
    """What a hub's operator hands to the admins (consortia-hub init prints it): the hub's public keys and names."""

    consortium: Annotated[str, Field(min_length=1, max_length=120)]
    hub_key: Hex32
    log_key: Hex32
    log_origin: Annotated[str, Field(max_length=120)]


def read_hub_card(path: Path) -> HubCard:
    """The hub's card. Raises ``UsageRefused`` with every field that is wrong."""
    try:
        return HubCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageRefused(f"hub card {path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageRefused(f"{path} is not a hub card (consortia-hub init makes one): {explain(error)}") from None


def founding_charter(card: HubCard, admins: Sequence[Card], threshold: int, now: datetime) -> Charter:
    """Version 1: the admins alone, of whom ``threshold`` decide, and the keys of the hub."""
    return _charter(
        {
            "format": "consortia-charter/2",
            "consortium": card.consortium,
            "version": 1,
            "previous": None,
            "expires_at": timestamp(now + CHARTER_LIFE),
            "threshold": threshold,
            "hub_key": card.hub_key,
            "log_origin": card.log_origin,
            "log_key": card.log_key,
            "members": [],
            "people": [_person(admin, "admin") for admin in admins],
            "witnesses": [],
            "tolerated_liars": 0,
        }
    )


def with_silo(older: Charter, silo: str, signing_key: str, receiving_key: str, now: datetime) -> Charter:
    """``silo`` with these keys: a new member, or one whose keys are replaced."""
    member = {"silo": silo, "signing_key": signing_key, "receiving_key": receiving_key}
    others = [one.model_dump(mode="json") for one in older.members if one.silo != silo]
    return _next(older, now, members=[*others, member])


def without_silo(older: Charter, silo: str, now: datetime) -> Charter:
    """``silo`` is no member any more: its signature counts for nothing from there on."""
    if silo not in older.silos:
        raise UsageRefused(f"silo {silo} is no member; the members are {', '.join(older.silos) or 'nobody'}")
    return _next(older, now, members=[one.model_dump(mode="json") for one in older.members if one.silo != silo])


def with_person(older: Charter, card: Card, role: Role, now: datetime) -> Charter:
    """A person who was not named before."""
    if any(person.person == card.person for person in older.people):
        raise UsageRefused(f"person {card.person} stands in the charter; new keys: consortia admin replace-key")
    return _next(older, now, people=[*_people(older), _person(card, role)])


def with_new_key(older: Charter, card: Card, now: datetime) -> Charter:
    """A person's new keys in place of the old ones, which were lost, stolen or used for long enough."""
    role = _entry(older, card.person)["role"]
    people = [_person(card, role) if one["person"] == card.person else one for one in _people(older)]
    return _next(older, now, people=people)


def with_role(older: Charter, person: str, role: Role, threshold: int | None, now: datetime) -> Charter:
    """A person in another role; ``threshold`` if that shall change with it."""
    _entry(older, person)
    people = [{**one, "role": role} if one["person"] == person else one for one in _people(older)]
    return _next(older, now, people=people, threshold=threshold or older.threshold)


def without_person(older: Charter, person: str, now: datetime) -> Charter:
    """A person who is not named any more."""
    _entry(older, person)
    return _next(older, now, people=[one for one in _people(older) if one["person"] != person])


def with_threshold(older: Charter, threshold: int, now: datetime) -> Charter:
    """Another number of admins who must sign."""
    return _next(older, now, threshold=threshold)


def with_witness(older: Charter, verifier: str, now: datetime) -> Charter:
    """An outside witness, by its verifier key NAME+KEYID+BASE64 (C2SP signed-note)."""
    try:
        key = VerifierKey.parse(verifier)
    except ProtocolError as error:
        raise UsageRefused(f"witness: {error}") from None
    entry = {"name": key.name, "key": key.public_key.public_bytes_raw().hex()}
    others = [one.model_dump(mode="json") for one in older.witnesses if one.name != key.name]
    return _next(older, now, witnesses=[*others, entry])


def without_witness(older: Charter, name: str, now: datetime) -> Charter:
    if all(witness.name != name for witness in older.witnesses):
        raise UsageRefused(f"witness {name} is not in the charter")
    return _next(older, now, witnesses=[one.model_dump(mode="json") for one in older.witnesses if one.name != name])


def with_liars(older: Charter, tolerated: int, now: datetime) -> Charter:
    """How many of the witnesses may lie without two logs going unnoticed."""
    return _next(older, now, tolerated_liars=tolerated)


def with_hub(older: Charter, card: HubCard, now: datetime) -> Charter:
    """The hub's new keys. Raises ``UsageRefused`` for another hub's card."""
    if (card.consortium, card.log_origin) != (older.consortium, older.log_origin):
        raise UsageRefused(f"this card is of {card.consortium}, log {card.log_origin}; a charter keeps both for good")
    return _next(older, now, hub_key=card.hub_key, log_key=card.log_key)


def renewed(older: Charter, now: datetime) -> Charter:
    """The same again, for two more years."""
    return _next(older, now, expires_at=timestamp(now + CHARTER_LIFE))


def _next(older: Charter, now: datetime, **changed: Any) -> Charter:
    value = older.model_dump(mode="json") | {"version": older.version + 1, "previous": charter_digest(older)}
    if moment(older.expires_at) - now < CHARTER_LIFE / 2:
        value["expires_at"] = timestamp(now + CHARTER_LIFE)
    return _charter(value | changed)


def _people(charter: Charter) -> list[dict[str, Any]]:
    return [person.model_dump(mode="json") for person in charter.people]


def _entry(charter: Charter, name: str) -> dict[str, Any]:
    for person in _people(charter):
        if person["person"] == name:
            return person
    raise UsageRefused(f"person {name} is not named in charter version {charter.version}")


def _person(card: Card, role: Role) -> dict[str, Any]:
    return {
        "person": card.person,
        "role": role,
        "signing_key": card.signing_key,
        "receiving_key": card.receiving_key,
        "decision_key": None if card.decision_key is None else card.decision_key.model_dump(mode="json"),
    }


def _charter(value: dict[str, Any]) -> Charter:
    try:
        return Charter.model_validate_json(canonical.encode(value))
    except ValidationError as error:
        raise UsageRefused(f"charter refused: {explain(error)}") from None
