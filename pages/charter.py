"""A charter in plain words, and what one version changes of another: what an admin reads before signing."""

from collections.abc import Iterator
from typing import Final

from pages.contract import Section
from protocol.charter import Charter, Member, Person, charter_digest, charter_words, key_words, person_words

NOBODY: Final = (("nobody yet", "silos are members once they are admitted"),)
A_ROLE: Final = {"admin": "an admin", "researcher": "a researcher", "officer": "an officer"}


def charter_in_words(charter: Charter) -> tuple[Section, ...]:
    """The whole charter, with the words of every key that people compare."""
    digest = charter_digest(charter)
    return (
        Section(
            "Charter",
            (
                ("consortium", charter.consortium),
                ("version", f"{charter.version}, expires {charter.expires_at}"),
                ("digest", digest),
                ("words", charter_words(digest)),
            ),
        ),
        Section("Who decides", _deciding(charter)),
        Section("People", tuple((one.person, f"{one.role}, {keys_of(one)}") for one in charter.people)),
        Section("Members", tuple((one.silo, member_words(one)) for one in charter.members) or NOBODY),
        Section(
            "The hub and its log",
            (("log", charter.log_origin), ("hub key", charter.hub_key), ("log key", charter.log_key)),
        ),
    )


def changes(older: Charter, newer: Charter) -> tuple[str, ...]:
    """Every difference as a sentence; what is not said here stays as it is."""
    return (*_members(older, newer), *_people(older, newer), *_numbers(older, newer), *_witnesses(older, newer))


def keys_of(person: Person) -> str:
    """The six words of a person's keys, and whether a security key is among them."""
    words = person_words(person.signing_key, person.receiving_key, person.decision_key)
    return f"key words {words}" + (", decides with a security key" if person.decision_key is not None else "")


def member_words(member: Member) -> str:
    return f"key words {key_words(member.signing_key, member.receiving_key)}"


def _deciding(charter: Charter) -> tuple[tuple[str, str], ...]:
    named = ", ".join(("all silos", *(one.name for one in charter.witnesses)))
    return (
        ("admins", f"{charter.threshold} of {len(charter.admins)} must sign: {', '.join(charter.admins)}"),
        ("witnesses", f"{_cosigning(charter)}: {named}" if charter.members else _cosigning(charter)),
        ("tolerated", f"{charter.tolerated_liars} of the witnesses may lie"),
    )


def _cosigning(charter: Charter) -> str:
    """How many must cosign the log; said plainly where nobody can, or not enough, so that no silo works."""
    quorum, witnesses = charter.quorum_of_witnesses, len(charter.members) + len(charter.witnesses)
    if not witnesses:
        return "nobody cosigns the log before a silo is a member"
    short = ", more than there are, so that no silo works" if quorum > witnesses else ""
    return f"{quorum} of {witnesses} must cosign the log{short}"


def _members(older: Charter, newer: Charter) -> Iterator[str]:
    before, after = ({one.silo: one for one in charter.members} for charter in (older, newer))
    for silo in sorted(before.keys() | after.keys()):
        if silo not in after:
            yield f"removes silo {silo}"
        elif silo not in before:
            yield f"adds silo {silo}, {member_words(after[silo])}"
        elif before[silo] != after[silo]:
            yield f"gives silo {silo} new keys, {member_words(after[silo])}"


def _people(older: Charter, newer: Charter) -> Iterator[str]:
    before, after = ({one.person: one for one in charter.people} for charter in (older, newer))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"removes {before[name].role} {name}"
        elif name not in before:
            yield f"adds {after[name].role} {name}, {keys_of(after[name])}"
        else:
            yield from _person(before[name], after[name])


def _person(before: Person, after: Person) -> Iterator[str]:
    if before.role != after.role:
        yield f"makes {after.person} {A_ROLE[after.role]}, was {A_ROLE[before.role]}"
    if before.decision_key is not None and after.decision_key is None:
        yield f"lets {after.person} decide without a security key"
    if (before.signing_key, before.receiving_key, before.decision_key) != (
        after.signing_key,
        after.receiving_key,
        after.decision_key,
    ):
        yield f"gives {after.person} new keys, {keys_of(after)}"


def _numbers(older: Charter, newer: Charter) -> Iterator[str]:
    if older.threshold != newer.threshold or older.admins != newer.admins:
        yield (f"{newer.threshold} of {len(newer.admins)} admins decide, {older.threshold} of {len(older.admins)} did")
    if older.hub_key != newer.hub_key:
        yield f"gives the hub a new key, {newer.hub_key}"
    if older.log_key != newer.log_key:
        yield f"gives the log a new key, {newer.log_key}"
    if older.expires_at != newer.expires_at:
        yield f"expires {newer.expires_at}, did {older.expires_at}"


def _witnesses(older: Charter, newer: Charter) -> Iterator[str]:
    before, after = ({one.name: one.key for one in charter.witnesses} for charter in (older, newer))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"removes witness {name}"
        elif name not in before:
            yield f"adds witness {name}, key {after[name]}"
        elif before[name] != after[name]:
            yield f"gives witness {name} a new key, {after[name]}"
    if older.quorum_of_witnesses != newer.quorum_of_witnesses or older.tolerated_liars != newer.tolerated_liars:
        yield f"{_cosigning(newer)}; {newer.tolerated_liars} of the witnesses may lie"
