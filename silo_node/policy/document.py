"""A policy set as a document: Cedar text, checked when it is loaded, and named by its digest."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cedarpy

from policies import catalogue
from protocol import canonical
from silo_node.errors import PolicyRefused
from silo_node.policy.owner_file import read_owner_file
from silo_node.policy.source_text import Statement, comments, statements
from silo_node.policy.wording import VOCABULARY, placeholders

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NEEDED = {"permit": ("reason",), "forbid": ("reason", "found", "remedy")}
_MAX_SENTENCE = 400
_POLICY_NUMBER = re.compile(r"^for policy `policy\d+`, ")
_FOR_ACTION = re.compile(r' for Action::"[^"]*"')
_SHOWN_FAULTS = 5
_ONLY_STUDIES = "; code to be run has no such fact: begin the rule with (principal is Study, action, resource)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy of the set. ``hold``: it waits for a person instead of refusing.

    ``line`` is where it begins in the set's text, counted from 1; ``text`` is all of it.
    """

    name: str
    effect: str
    reason: str
    found: str
    remedy: str
    hold: bool
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy set. ``digest`` is the SHA-256 of its text in hexadecimal; ``rules`` stand in the text's order."""

    name: str
    text: str
    digest: str
    rules: tuple[Rule, ...]


def policy_by_name(name: str) -> PolicyDocument:
    """A policy set that ships with the platform. Raises ``PolicyRefused`` for an unknown name."""
    try:
        return parse_policy(catalogue.policy_text(name), name)
    except LookupError as problem:
        raise PolicyRefused(str(problem.args[0])) from None


def policy_from_file(path: Path) -> PolicyDocument:
    """The policy set in the owner's file. Raises ``PolicyRefused`` for one that can't be used."""
    return parse_policy(read_owner_file(path), str(path))


def parse_policy(text: str, origin: str) -> PolicyDocument:
    """The policy set in a Cedar text. Raises ``PolicyRefused``, which names ``origin``, the line and what is wrong."""
    written = statements(text)
    found = cedarpy.validate_policies(text, schema())
    if not found.validation_passed:
        raise PolicyRefused(f"{origin}: " + "; ".join(_faults(found.errors, written)[:_SHOWN_FAULTS]))
    parsed = json.loads(cedarpy.policies_to_json_str(text))
    if parsed["templates"]:
        raise PolicyRefused(f"{origin}: holds a template (?principal or ?resource); write plain policies only")
    policies = parsed["staticPolicies"]
    if len(policies) != len(written):
        raise PolicyRefused(f"{origin}: Cedar reads {len(policies)} rules where {len(written)} end in a semicolon")
    places = sorted(policies, key=_place)
    rules = tuple(_rule(policies[key], one, origin) for key, one in zip(places, written, strict=True))
    _check_set(rules, origin)
    _check_whole(text, [policies[key].get("annotations", {}) for key in places], origin)
    return PolicyDocument(origin, text, canonical.digest(text.encode()), rules)


def _faults(errors: list[cedarpy.ValidationError], written: tuple[Statement, ...]) -> list[str]:
    """Each fault once, with the line and the name of its rule: Cedar repeats one for every action."""
    told: dict[str, None] = {}
    for error in errors:
        place = written[_place(error.policy_id)] if error.policy_id else _first_unread(written)
        what = _FOR_ACTION.sub("", _POLICY_NUMBER.sub("", error.error))
        if place and "`study." in what and "not found" in what and "is Study" not in place.text:
            what += _ONLY_STUDIES
        told.setdefault(f"{_named(place)}: {what}" if place else what)
    return list(told)


def _first_unread(written: tuple[Statement, ...]) -> Statement | None:
    """The first statement that isn't Cedar."""
    for one in written:
        try:
            cedarpy.policies_to_json_str(one.text)
        except ValueError:
            return one
    return None


def _named(place: Statement) -> str:
    found = re.search(r'@id\s*\(\s*"([^"]*)"', place.text)
    return f"line {place.line}, rule {found[1]}" if found else f"line {place.line}"


@lru_cache(maxsize=1)
def schema() -> cedarpy.Schema:
    """The parsed Cedar schema: what a policy may ask about."""
    return cedarpy.Schema.from_str(catalogue.schema_text())


def _place(key: str) -> int:
    """Cedar numbers the policies of a text: policy0, policy1, ..., policy10."""
    return int(key.removeprefix("policy"))


def _rule(policy: dict[str, Any], written: Statement, origin: str) -> Rule:
    notes = {name: value or "" for name, value in policy.get("annotations", {}).items()}
    name, effect = notes.get("id", ""), policy["effect"]
    if not _ID.fullmatch(name):
        raise PolicyRefused(
            f"{origin}: line {written.line}: a {effect} rule has @id({json.dumps(name)}); each needs a name, such as "
            '@id("my-rule")'
        )
    place = f"{origin}: line {written.line}, rule {name}"
    for needed in _NEEDED[effect]:
        _check_sentence(f"{place}: @{needed}", notes.get(needed, ""))
    if "hold" in notes and (effect != "forbid" or "owner_approved" not in json.dumps(policy["conditions"])):
        # Else no yes of a person would ever lift it, and the study would wait for good.
        raise PolicyRefused(f"{place}: @hold needs a forbid with unless {{ context.owner_approved }}")
    sentences = (notes["reason"], notes.get("found", ""), notes.get("remedy", ""))
    return Rule(name, effect, *sentences, "hold" in notes, written.line, written.text)


def _check_sentence(place: str, sentence: str) -> None:
    if not sentence.strip() or len(sentence) > _MAX_SENTENCE:
        raise PolicyRefused(f"{place} has {len(sentence)} characters; it must be a sentence of at most {_MAX_SENTENCE}")
    unknown = sorted(placeholders(sentence) - VOCABULARY)
    if unknown:
        raise PolicyRefused(f"{place} has {unknown} in braces; there are: {', '.join(sorted(VOCABULARY))}")


def _check_set(rules: tuple[Rule, ...], origin: str) -> None:
    twice = sorted(name for name, count in Counter(rule.name for rule in rules).items() if count > 1)
    if twice:
        raise PolicyRefused(f"{origin}: @id given twice: {', '.join(twice)}; each rule needs a name of its own")
    if not any(rule.effect == "permit" for rule in rules):
        raise PolicyRefused(f"{origin}: holds no permit, so it would refuse everything; say what is allowed")


def _check_whole(text: str, notes: list[dict[str, str | None]], origin: str) -> None:
    """A set whose permit names a closing comment must end with it: cut off in the middle, it would forbid too little.

    Rules behind it could be cut off unseen, so there may be none.
    """
    for closing in (one["closing"] or "" for one in notes if "closing" in one):
        if comments(text)[-1:] != [closing] or not text.rstrip().endswith(closing):
            raise PolicyRefused(
                f"{origin}: doesn't end with the line {json.dumps(closing)}, which is named by @closing. The file was "
                "cut off or is half-written: save it whole; rules of your own belong above that line"
            )
