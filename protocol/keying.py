"""Who holds a study's secret, epoch after epoch, and who is put out by the word of the others. Pure.

A secret serves as long as its holders are the study's, and no round under it was void. Then another one is made: a silo
that left, or was put out, must not open what comes later, and a sum that didn't verify must not be a query of a key
that goes on living.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from protocol.study import StudyContract
from protocol.study_statements import SecretSealed


@dataclass(slots=True)
class Keying:
    """One epoch: the silos that share its secret, what was sealed for them, and the commitments to it by silo."""

    epoch: int
    silos: tuple[str, ...]
    envelopes: dict[str, SecretSealed] = field(default_factory=dict)
    commitments: dict[str, str] = field(default_factory=dict)

    @property
    def key_silo(self) -> str:
        """The silo that makes the secret."""
        return self.silos[0]

    @property
    def made(self) -> bool:
        """Whether the key silo committed to a secret."""
        return self.key_silo in self.commitments


def next_holders(
    holders: Iterable[str], gone: Collection[str], present: Collection[str], silent: Collection[str]
) -> tuple[str, ...]:
    """The holders of the next epoch's secret, in order; the first makes it, so it should be there.

    Those who are gone are left out. ``present``, the silos that completed an upload in the newest round, come first;
    ``silent``, those that were to make a secret before and did not commit to it, come last. Else the order stays.
    """
    left = [silo for silo in holders if silo not in gone]
    return tuple(sorted(left, key=lambda silo: (silo in silent, silo not in present)))  # a stable sort


def tolerated(contract: StudyContract) -> int:
    """How many silos may collude with the hub: min(q - 2, 2q - n - 1) of sealed-sum.md."""
    quorum = contract.schedule.quorum
    return min(quorum - 2, 2 * quorum - len(contract.silos) - 1)


def convicted(blames: Mapping[str, Iterable[str]], colluding: int) -> tuple[str, ...]:
    """The silos that more than ``colluding`` others blame, by name: at least one of these is honest, and looked."""
    counts = Counter(name for by, names in blames.items() for name in set(names) if name != by)
    return tuple(sorted(name for name, count in counts.items() if count > colluding))
