"""How a policy's text is laid out: by Cedar's own formatter, if that changes nothing but blanks and line ends."""

import json
from typing import Any

import cedarpy

from silo_node.errors import PolicyRefused
from silo_node.policy.document import parse_policy
from silo_node.policy.source_text import comments

WIDTH, INDENT = 120, 2


def formatted(text: str, origin: str) -> str:
    """``text`` in Cedar's layout. Raises ``PolicyRefused`` for a text that can't be used, or that would change."""
    parse_policy(text, origin)
    laid_out: str = cedarpy.format_policies(text, WIDTH, INDENT).rstrip() + "\n"
    if comments(laid_out) != comments(text) or _rules(laid_out) != _rules(text):
        raise PolicyRefused(f"{origin}: Cedar's formatter would change more than the layout; lay it out by hand")
    return laid_out


def _rules(text: str) -> list[Any]:
    policies = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return [policies[key] for key in sorted(policies, key=lambda key: int(key.removeprefix("policy")))]
