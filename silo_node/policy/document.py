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
from silo_node.policy.wording import VOCABULARY, placeholders

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NEEDED = {"permit": ("reason",), "forbid": ("reason", "found", "remedy")}
_MAX_SENTENCE = 400


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy of the set. ``hold``: it waits for a person instead of refusing."""

    name: str
    effect: str
    reason: str
    found: str
    remedy: str
    hold: bool


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
    """The policy set in a Cedar text. Raises ``PolicyRefused``, which names ``origin`` and what is wrong."""
    found = cedarpy.validate_policies(text, schema())
    if not found.validation_passed:
        raise PolicyRefused(f"{origin}: " + "; ".join(str(one) for one in found.errors[:5]))
    parsed = json.loads(cedarpy.policies_to_json_str(text))
    if parsed["templates"]:
        raise PolicyRefused(f"{origin}: holds a template (?principal or ?resource); write plain policies only")
    policies = parsed["staticPolicies"]
    rules = tuple(_rule(policies[key], origin) for key in sorted(policies, key=_place))
    _check_set(rules, origin)
    return PolicyDocument(origin, text, canonical.digest(text.encode()), rules)


@lru_cache(maxsize=1)
def schema() -> cedarpy.Schema:
    """The parsed Cedar schema: what a policy may ask about."""
    return cedarpy.Schema.from_str(catalogue.schema_text())


def _place(key: str) -> int:
    """Cedar numbers the policies of a text: policy0, policy1, ..., policy10."""
    return int(key.removeprefix("policy"))


def _rule(policy: dict[str, Any], origin: str) -> Rule:
    notes = {name: value or "" for name, value in policy.get("annotations", {}).items()}
    name, effect = notes.get("id", ""), policy["effect"]
    if not _ID.fullmatch(name):
        shown = json.dumps(name)
        raise PolicyRefused(f'{origin}: a {effect} rule has @id({shown}); each needs a name, such as @id("my-rule")')
    for needed in _NEEDED[effect]:
        _check_sentence(f"{origin}: rule {name}: @{needed}", notes.get(needed, ""))
    if "hold" in notes and (effect != "forbid" or "owner_approved" not in json.dumps(policy["conditions"])):
        # Else no yes of a person would ever lift it, and the study would wait for good.
        raise PolicyRefused(f"{origin}: rule {name}: @hold needs a forbid with unless {{ context.owner_approved }}")
    return Rule(name, effect, notes["reason"], notes.get("found", ""), notes.get("remedy", ""), "hold" in notes)


def _check_sentence(place: str, sentence: str) -> None:
    if not sentence.strip() or len(sentence) > _MAX_SENTENCE:
        raise PolicyRefused(f"{place} has {len(sentence)} characters; it must be a sentence of at most {_MAX_SENTENCE}")
    unknown = sorted(placeholders(sentence) - VOCABULARY.keys())
    if unknown:
        raise PolicyRefused(f"{place} has {unknown} in braces; there are: {', '.join(sorted(VOCABULARY))}")


def _check_set(rules: tuple[Rule, ...], origin: str) -> None:
    twice = sorted(name for name, count in Counter(rule.name for rule in rules).items() if count > 1)
    if twice:
        raise PolicyRefused(f"{origin}: @id given twice: {', '.join(twice)}; each rule needs a name of its own")
    if not any(rule.effect == "permit" for rule in rules):
        raise PolicyRefused(f"{origin}: holds no permit, so it would refuse everything; say what is allowed")
