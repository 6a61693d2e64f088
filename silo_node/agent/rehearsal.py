"""A study that nobody has proposed yet, as this silo's policy would judge it today. Asks no hub."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from protocol.rounds import last_round
from protocol.study import StudyContract, study_id
from silo_node.agent.silo import registered_dataset, use_of
from silo_node.agent.studies import Studies
from silo_node.agent.tasks import Tasks
from silo_node.dataset.catalogue import Catalogue
from silo_node.ledger.ledger import Ledger
from silo_node.policy.asked import read_study
from silo_node.policy.case import Case, Standing
from silo_node.policy.facts import facts_of_round, facts_of_study
from silo_node.policy.limits import OwnerLimits
from silo_node.policy.question import Facts, StudyAction
from silo_node.runner.level import sandbox_level

TRAINING: Final = 1
"""The first round of training: the round that is asked about for all. A study of one round is asked about that."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The question, and in sentences what had to be assumed for it."""

    contract: StudyContract
    facts: Facts
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a silo knows without its hub."""

    silo: str
    catalogue: Catalogue
    ledger: Ledger
    tasks: Tasks

    def rehearse(self, path: Path, step: StudyAction, limits: OwnerLimits, now: datetime) -> Rehearsal:
        """The study in ``path``, asked about ``step``. Raises ``PolicyRefused`` for a file that holds none."""
        published = {dataset.name: dataset.published_rows for dataset in self.catalogue.list()}
        contract = read_study(path, self.silo, published)
        held = registered_dataset(self.catalogue, self.ledger, use_of(contract, study_id(contract)))
        standing, assumed = self._standing(contract, step, int(now.timestamp()))
        case = Case(contract, self.silo, held, standing, limits, sandbox_level())
        return Rehearsal(contract, _facts(step, case), assumed)

    def _standing(self, contract: StudyContract, step: StudyAction, now: int) -> tuple[Standing, tuple[str, ...]]:
        follower = self.tasks.follower()
        charter = follower.charter if follower else None
        named = frozenset((contract.lead, *contract.recipients))
        people = frozenset(person.person for person in charter.people) if charter else named
        known = Studies(self.tasks.entries()).lead_known(contract.lead, self.silo, study_id(contract))
        assumed = ["the admins approve it", "nobody here has said yes or no"]
        if step != "accept":
            assumed.append("this silo accepted it")
        if charter is None:
            assumed.append("all recipients stand in the charter, which this silo hasn't read yet")
        standing = Standing(now, people, True, accepted_here=step != "accept", lead_known=known)
        return standing, tuple(assumed)


def _facts(step: StudyAction, case: Case) -> Facts:
    if step == "round":
        index = min(TRAINING, last_round(case.contract))
        return facts_of_round(case, index, len(case.contract.silos), charged=False)
    return facts_of_study(step, case)
