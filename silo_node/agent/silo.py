"""Everything a silo's steps work with, made once in ``app`` and passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from protocol.canonical import digest
from protocol.published_column import PublishedColumn
from protocol.round_record import RoundRecord
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import bundle_bytes
from protocol.study import StudyContract
from silo_node.agent.study import Study
from silo_node.agent.study_files import StudyFiles
from silo_node.agent.tasks import Answer, Tasks
from silo_node.agent.voice import Voice
from silo_node.agent.voyage import Voyage
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Dataset
from silo_node.errors import HubDistrusted
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.session import HubSession
from silo_node.ledger.budget import Refused
from silo_node.ledger.caps import Use
from silo_node.ledger.ledger import Ledger
from silo_node.policy.case import Case, RegisteredDataset, SandboxLevel, Standing, holds_as_well
from silo_node.policy.rules import OwnerRules
from silo_node.private_files import write_private
from silo_node.runner.level import sandbox_level
from silo_node.runner.process import Runner


@dataclass(frozen=True, slots=True)
class Silo:
    """The parts of one silo node."""

    identity: Identity
    hub: HubSession
    tasks: Tasks
    files: StudyFiles
    voice: Voice
    catalogue: Catalogue
    ledger: Ledger
    rules: OwnerRules
    runner: Runner
    clock: Callable[[], datetime]

    @property
    def name(self) -> str:
        return self.identity.silo

    def secret(self, study: str, epoch: int) -> StudySecret | None:
        """The study secret of an epoch that this silo made or opened."""
        data = self.files.secret(study, epoch)
        return None if data is None else StudySecret.from_bytes(data)

    def case(self, study: Study) -> Case:
        """The study as the policy has to judge it now, on what is registered, spent, signed and answered."""
        record, sandbox = study.record, sandbox_level()
        standing = Standing(
            now=int(self.clock().timestamp()),
            people=study.people,
            approved_by_admin=record.stands,
            owner_approved=self._owner_agreed(study, sandbox),
            accepted_here=self.name in record.accepted and self.name not in record.withdrawn,
            lead_known=study.lead_known,
        )
        held = registered_dataset(self.catalogue, self.ledger, use_of(record.contract, study.id))
        return Case(record.contract, self.name, held, standing, self.rules.limits, sandbox)

    def _owner_agreed(self, study: Study, sandbox: SandboxLevel) -> bool:
        """Whether the owner said yes to this; not to computing in a weaker sandbox than there was when they did."""
        question: Answer = "release" if study.record.requested else "accept"
        if self.tasks.answered(study.id, question) is None:
            return False
        agreed = self.tasks.agreed(study.id)
        return question == "release" or agreed is None or holds_as_well(sandbox, agreed)

    def fetch_bundle(self, study: str, one: RoundRecord, dealer: str, holders: int) -> bytes:
        """A frozen silo's bundle of mask shares, by the digest that it signed."""
        path = self.files.shares_folder(study, one.index) / f"{one.attempt}-{dealer}"
        expected = one.offers[dealer].shares
        if path.exists() and digest(path.read_bytes()) == expected:
            return path.read_bytes()
        data = self.hub.get_shares(study, one.index, one.attempt, dealer, bundle_bytes(holders))
        if digest(data) != expected:
            raise HubDistrusted(f"round {one.index}: the shares of {dealer} are not those that it signed for")
        write_private(path, data)
        return data

    def fetch_sum(self, study: str, past: RoundRecord, layout: Layout) -> list[Path]:
        """The files of a served sum's chunks, each of the length and digest that the hub signed for."""
        served = past.total_served
        folder, files = self.files.sum_folder(study, past.index), []
        voyage = Voyage("chunks-fetched", study, past.index, len(served.chunks), self.clock)
        for number, expected in enumerate(served.chunks):
            path = folder / f"{number}"
            if not path.exists() or digest(path.read_bytes()) != expected:
                size = layout.sum_chunk_bytes(number, len(served.survivors))
                data = self.hub.get_sum(study, past.index, past.attempt, number, size)
                if digest(data) != expected:
                    raise HubDistrusted(f"sum of round {past.index}: chunk {number} is not what the hub signed for")
                write_private(path, data)
            files.append(path)
            voyage.at(len(files))
        return files


def use_of(contract: StudyContract, study: str) -> Use:
    """What the ledger counts a study's charges under, beside its domain."""
    return Use(contract.data.dataset, study, contract.recipients)


def registered_dataset(catalogue: Catalogue, ledger: Ledger, use: Use) -> RegisteredDataset | None:
    """What the policy sees of a dataset that is to be used so: nothing that was read from its rows, and what such a
    use may still take. None where it isn't registered."""
    name = use.dataset
    if name not in [dataset.name for dataset in catalogue.list()]:
        return None
    dataset = catalogue.get(name)
    room = ledger.room(dataset.domain, use)
    if isinstance(room, Refused):
        return None
    columns, sensitivity = published_columns(dataset), dataset.declared.sensitivity
    return RegisteredDataset(name, columns, dataset.published_rows, room.balance, sensitivity, room.caps)


def published_columns(dataset: Dataset) -> tuple[PublishedColumn, ...]:
    """The columns of a dataset as the consortium learns them."""
    return dataset.declared.expanded
