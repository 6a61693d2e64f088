"""The owner's policy and limits as they stand now: a change of either file holds from the next decision on."""

from pathlib import Path

from silo_node.errors import PolicyRefused
from silo_node.policy.document import policy_from_file
from silo_node.policy.gate import Gate
from silo_node.policy.limits import OwnerLimits, load_limits


class OwnerRules:
    """Reads both files again whenever one of them has changed. Raises ``PolicyRefused`` while one can't be used."""

    def __init__(self, policy: Path, limits: Path) -> None:
        self._policy, self._limits = policy, limits
        self._seen: tuple[tuple[int, int, int], ...] = ()
        self._read: tuple[Gate, OwnerLimits] | None = None

    @property
    def gate(self) -> Gate:
        return self._current()[0]

    @property
    def limits(self) -> OwnerLimits:
        return self._current()[1]

    def _current(self) -> tuple[Gate, OwnerLimits]:
        stamp = (_stamp(self._policy), _stamp(self._limits))
        if self._read is None or stamp != self._seen:
            self._read = None  # a file that can't be used must not leave the old rules in force
            self._read = Gate(policy_from_file(self._policy)), load_limits(self._limits)
            self._seen = stamp
        return self._read


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as problem:
        raise PolicyRefused(f"{path}: can't be read: {problem.strerror}; restore it, or: policy use") from None
    return found.st_mtime_ns, found.st_size, found.st_ino
