"""The owner's policy and limits as they stand now: a change of either file holds from the next decision on."""

from pathlib import Path

from silo_node.policy.document import parse_policy
from silo_node.policy.gate import Gate
from silo_node.policy.limits import OwnerLimits, parse_limits
from silo_node.policy.owner_file import read_owner_file


class OwnerRules:
    """Reads both files at every question, and parses them again whenever a text has changed.

    The texts are compared and not their times: times are coarse, and can be set. Raises ``PolicyRefused`` while a
    file can't be used, and never falls back to what it held before.
    """

    def __init__(self, policy: Path, limits: Path) -> None:
        self._policy, self._limits = policy, limits
        self._texts: tuple[str, str] | None = None
        self._read: tuple[Gate, OwnerLimits] | None = None

    @property
    def gate(self) -> Gate:
        return self.current()[0]

    @property
    def limits(self) -> OwnerLimits:
        return self.current()[1]

    def current(self) -> tuple[Gate, OwnerLimits]:
        """Both as of one moment."""
        texts = (read_owner_file(self._policy), read_owner_file(self._limits))
        if self._read is None or texts != self._texts:
            self._read = None  # a file that can't be used must not leave the old rules in force
            policy, limits = parse_policy(texts[0], str(self._policy)), parse_limits(texts[1], str(self._limits))
            self._read, self._texts = (Gate(policy), limits), texts
        return self._read
