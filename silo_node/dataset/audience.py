"""Who may see a side of a dataset: the one module that speaks ``syft_permissions``, and in one shape of rules only.

That library lets a rule name anybody by ``*``, ``**`` or ``USER``, lets the rule that stands first win where two fit
equally well, and lets a rules file further down open what one further up closed. So a folder here has one rule for all
of it, which is the last word for everything below (``terminal``), and names persons one by one. A file of any other
shape, however it came there, lets nobody in.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError
from syft_permissions import PERMISSION_FILE_NAME, Access, AccessLevel, ACLRequest, ACLService, Rule, RuleSet, User

from protocol.ids import NAME
from silo_node.errors import DatasetRefused
from silo_node.private_files import write_private

RULES: Final = PERMISSION_FILE_NAME
_EVERYTHING: Final = "**"
_PEOPLE: Final = "@people.invalid"
_SILOS: Final = "@silos.invalid"
"""Syft names everybody by an address. Nobody can have these (RFC 2606, section 2)."""


def person_address(person: str) -> str:
    """What ``person`` is called in rules. Raises ``DatasetRefused`` for anything but a person's name: no pattern."""
    if not _is_name(person):
        raise DatasetRefused(f"reader {person[:40]!r}: rules name persons one by one, a pattern is none")
    return person + _PEOPLE


def silo_address(silo: str) -> str:
    """What the silo itself is called, as the owner of its datasets. Raises ``DatasetRefused``."""
    if not _is_name(silo):
        raise DatasetRefused(f"silo {silo[:40]!r}: not a silo's name")
    return silo + _SILOS


def write_readers(folder: Path, readers: Iterable[str]) -> None:
    """Lets these persons, and nobody else, read what is in ``folder`` and below. Raises ``DatasetRefused``."""
    addresses = sorted(person_address(person) for person in readers)
    rules = RuleSet(rules=[Rule(pattern=_EVERYTHING, access=Access(read=addresses))], terminal=True)
    write_private(folder / RULES, yaml.safe_dump(rules.model_dump(mode="json")).encode())


def readers_of(folder: Path) -> tuple[str, ...]:
    """The persons who may read what is in ``folder``. Raises ``DatasetRefused`` unless the rules have our one shape."""
    return tuple(address.removesuffix(_PEOPLE) for address in _rules(folder).rules[0].access.read)


def may_read(datasite: Path, silo: str, path: Path, person: str) -> bool:
    """Whether ``person`` may read the file ``path`` of ``silo``'s ``datasite``, by the rules in the file's folder.

    Raises ``DatasetRefused`` where those rules are not of our one shape, or ``person`` is no person's name.
    """
    address, inside = person_address(person), path.relative_to(datasite)
    if ".." in inside.parts:
        raise DatasetRefused("a path that climbs is looked up for nobody")
    rules = _rules(path.parent)
    rules.path = inside.parent.as_posix()
    service = ACLService(owner=silo_address(silo))
    service.add_ruleset(rules)
    asked = ACLRequest(path=inside.as_posix(), level=AccessLevel.READ, user=User(id=address))
    return bool(service.can_access(asked))


def _rules(folder: Path) -> RuleSet:
    path = folder / RULES
    try:
        rules = RuleSet.load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError, AttributeError):
        raise DatasetRefused(f"{path} can't be read as rules; nobody may read what it governs") from None
    if not _has_our_shape(rules):
        raise DatasetRefused(f"{path} is not as it was written; nobody may read what it governs")
    return rules


def _has_our_shape(rules: RuleSet) -> bool:
    if not rules.terminal or len(rules.rules) != 1 or rules.rules[0].pattern != _EVERYTHING:
        return False
    access = rules.rules[0].access
    persons = (address.removesuffix(_PEOPLE) for address in access.read if address.endswith(_PEOPLE))
    return not access.admin and not access.write and sum(map(_is_name, persons)) == len(access.read)


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None and not name.endswith("\n")
