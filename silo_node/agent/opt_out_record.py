"""What the journal holds of each domain's list of opt-outs: an old list put back is noticed, a lawful one not refused.

A change is journalled as intended, then the list is replaced, then it is journalled as written. So, killed anywhere,
the list on the disk is the one that was written last, or one that was intended since. Any other is refused. Whoever
meets an intended one on the disk journals it as written: from then on the one before it is an old list too.
"""

import re
from dataclasses import dataclass
from typing import Final

from silo_node.agent.silo import Silo
from silo_node.agent.voice import Voice
from silo_node.dataset.opt_outs import OptOutList
from silo_node.errors import OptOutsRefused

EMPTY: Final = OptOutList(b"", {}).digest()


@dataclass(frozen=True, slots=True)
class Counted:
    """The newest list that the journal holds as written, and the digests of those that were intended since."""

    people: int
    written: str
    intended: frozenset[str]

    def holds(self, present: OptOutList) -> bool:
        return present.digest() in {self.written, *self.intended}


@dataclass(frozen=True, slots=True)
class OptOutRecord:
    """The record in the journal of one domain's list. Use it while the lists are locked."""

    voice: Voice
    domain: str

    def counted(self) -> Counted:
        """What the journal says of the list; of a domain that it says nothing of, the list is empty."""
        what = re.compile(re.escape(self._beginning) + r"(to be )?([0-9]+) people, list ([0-9a-f]{64})")
        intended: set[str] = set()
        for entry in self.voice.journal.newest_first("decision", self._beginning):
            found = what.fullmatch(entry.event.what)
            if found and found[1] is None:
                return Counted(int(found[2]), found[3], frozenset(intended))
            if found:
                intended.add(found[3])
        return Counted(0, EMPTY, frozenset(intended))

    def intended(self, before: OptOutList, after: OptOutList) -> None:
        """Nothing is noted on top of a list that the journal doesn't hold: it would count for the newest."""
        if self.counted().holds(before):
            self._note(f"to be {_says(after)}")

    def written(self, present: OptOutList) -> None:
        if present.digest() in self.counted().intended:
            self._note(_says(present))

    def take_as_it_is(self, present: OptOutList) -> None:
        """The owner's word for a list that the journal doesn't hold."""
        counted = self.counted().people
        what = f"owner: take the opt-outs of domain {self.domain} as they are, {len(present)} people of {counted}"
        self.voice.note("decision", what, None)
        self._note(_says(present))

    def _note(self, what: str) -> None:
        self.voice.note("decision", self._beginning + what, None)

    @property
    def _beginning(self) -> str:
        return f"opt-outs of domain {self.domain}: "


def check_opt_outs(silo: Silo, domain: str) -> None:
    """Raises ``OptOutsRefused`` unless the list of ``domain`` is the newest by the journal. Before any row is read."""
    lists, record = silo.catalogue.opt_outs, OptOutRecord(silo.voice, domain)
    with lists.locked():
        counted, present = record.counted(), _present(silo, domain)
        if not counted.holds(present):
            raise OptOutsRefused(
                f"the opt-outs of domain {domain} are not those that the journal counts: {counted.people} people "
                f"there, {len(present)} on the list. It was restored from an old backup, or replaced; no row of the "
                "domain is read. Restore the newest datasets/opt-outs; or withdraw again who is missing, with: "
                "consortia-silo subject import; or take the list as it is, on the record, with: consortia-silo "
                "subject accept"
            )
        record.written(present)


def check_all_opt_outs(silo: Silo) -> None:
    """At the start of the node, for every domain. Raises ``OptOutsRefused``."""
    for domain in sorted({dataset.domain for dataset in silo.catalogue.list()}):
        check_opt_outs(silo, domain)


def take_opt_outs(silo: Silo, domain: str) -> int | None:
    """Takes the list of ``domain`` as it is; returns how many are on it, or None where it is the newest anyway."""
    lists, record = silo.catalogue.opt_outs, OptOutRecord(silo.voice, domain)
    with lists.locked():
        present = _present(silo, domain)
        if record.counted().holds(present):
            record.written(present)
            return None
        record.take_as_it_is(present)
        return len(present)


def _present(silo: Silo, domain: str) -> OptOutList:
    counted_on = any(one.domain == domain and one.lists_opt_outs for one in silo.catalogue.list())
    return silo.catalogue.opt_outs.load(domain, expected=counted_on)


def _says(people: OptOutList) -> str:
    return f"{len(people)} people, list {people.digest()}"
