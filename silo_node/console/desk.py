"""What all pages of the console read from: one silo's parts, opened once, and how far the log was read."""

from dataclasses import dataclass
from pathlib import Path

from silo_node.agent.answering import is_due
from silo_node.agent.pulse import check_pulse
from silo_node.agent.reading import Reading
from silo_node.agent.silo import Silo
from silo_node.agent.studies import Studies
from silo_node.config import SiloConfig
from silo_node.console.journal_check import JournalCheck
from silo_node.console.ledger_view import LedgerReading
from silo_node.errors import Unhealthy


@dataclass(frozen=True, slots=True)
class Desk:
    """The running node works on the same folder in a process of its own; what it writes is seen at the next page."""

    silo: Silo
    config: SiloConfig
    folder: Path
    reading: Reading
    ledger: LedgerReading
    journal_check: JournalCheck

    def studies(self) -> Studies:
        return self.reading.studies()

    def waiting(self) -> int:
        """How many studies may wait for the owner."""
        decided = self.silo.tasks.decided()
        return sum(is_due(self.silo.name, record, decided) for record in self.studies().records.values())

    def node(self) -> tuple[bool, str]:
        """Whether the node runs well, and where it stands in a sentence."""
        try:
            return True, check_pulse(self.folder, self.config, self.silo.clock())
        except Unhealthy as problem:
            return False, str(problem)
