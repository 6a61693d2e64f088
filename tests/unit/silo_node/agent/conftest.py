"""Silo alpha with its real files, before a hub in memory, with a runner that answers fixed vectors."""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.charter import charter_digest
from protocol.membership_statements import CharterPublished
from silo_node.agent.loop import Agent
from silo_node.agent.registering import register_dataset
from silo_node.agent.silo import Silo
from silo_node.agent.study_files import StudyFiles
from silo_node.agent.tasks import Tasks
from silo_node.agent.voice import Voice
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Checked, register
from silo_node.dataset.schema import Schema
from silo_node.hub_client.identity import Identity
from silo_node.journal.chain import Journal
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.policy.rules import OwnerRules
from silo_node.runner.tasks import Outcome, TrainTask, events_run, round_of, values_of
from tests.sample_study import consortium, contract, contract_values
from tests.unit.silo_node.agent.fake_hub import FakeHub
from tests.unit.silo_node.agent.peers import Peers

BASELINE = Path(__file__).parents[4] / "policies" / "baseline" / "policy.cedar"
LIMITS = """
purposes = ["medical-research"]
recipients = "charter"
max_epsilon = 5.0
max_delta = 0.001
accept = "within-limits"
release = "within-limits"
[columns]
heart = "registered"

# End of the limits.
"""
SCHEMA = {
    "format": "consortia-schema/1",
    "title": "Heart disease",
    "sensitivity": "special-category",
    "columns": (
        {"name": "age", "kind": "number", "minimum": 0.0, "maximum": 100.0},
        {"name": "chol", "kind": "number", "minimum": 0.0, "maximum": 100.0},
        {"name": "ill", "kind": "binary"},
    ),
    "target": "ill",
}


class FakeRunner:
    """Fixed vectors, another one at every run, so that a second result of a round can't go unseen."""

    def __init__(self):
        self.vectors, self.problems, self.runs = {}, [], 0

    def start(self):
        """No process is needed."""

    def check(self, registration):
        return Checked("a" * 64, 100, {})

    def run(self, task, vector):
        self.runs += 1
        if self.problems:
            raise self.problems.pop(0)
        index, values = round_of(task), values_of(task)
        made = self.vectors.setdefault(index, [])
        made.append(np.random.default_rng([index, len(made), 99]).uniform(-0.5, 0.5, values))
        steps = task.contract.training.local_steps if index == 1 else 1
        vector.write(made[-1].tobytes())
        engine = "engine=hooks because this is a test" if isinstance(task, TrainTask) else ""
        return Outcome(steps, events_run(task, steps), engine=engine)


@dataclass
class Node:
    """Silo alpha on a folder. ``opened``: how each durable part is made, for a test that breaks one."""

    folder: Path
    hub: FakeHub
    runner: FakeRunner
    founding: str
    parts: dict[str, Any] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    silo: Silo | None = None
    agent: Agent | None = None

    def open(self):
        party, clock = self.hub.group.silos["alpha"], lambda: self.now
        identity = Identity("alpha", party.signing, party.receiving)
        journal = self.parts.get("journal", Journal)(self.folder / "journal.sqlite")
        tasks = self.parts.get("tasks", Tasks)(self.folder)
        files = self.parts.get("files", StudyFiles)(self.folder)
        ledger = self.parts.get("ledger", SqliteLedger)(self.folder / "ledger" / "ledger.sqlite", clock)
        rules = OwnerRules(self.folder / "policy.cedar", self.folder / "limits.toml")
        voice = Voice(identity, journal, tasks, self.hub, clock)
        self.journal, self.hub.clock = journal, clock
        catalogue = Catalogue(self.folder / "datasets")
        self.silo = Silo(identity, self.hub, tasks, files, voice, catalogue, ledger, rules, self.runner, clock)
        return self.silo

    def close(self):
        self.silo.ledger.close()
        self.silo.tasks.close()
        self.journal.close()

    def restart(self):
        """The node ends and is started on the same folder again."""
        self.close()
        self.open()
        return self.start()

    def start(self):
        chain = [signed.wire for _, signed in self.hub.leaves if isinstance(signed.body, CharterPublished)]
        self.agent = Agent(self.silo, self.founding, lambda: chain, poll_wait_s=7)
        return self.agent

    def go(self):
        """Polls and works until nothing is left to do."""
        for _ in range(50):
            self.agent.poll(0)
            if not self.agent.work():
                return
        raise AssertionError("the agent never comes to rest")

    def register(self, epsilon):
        asked = register("heart", self.folder / "heart.csv", Schema(**SCHEMA), "patients", epsilon, 0.001, 4, 100)
        return register_dataset(self.silo, asked)

    def write(self, policy=None, limits=LIMITS):
        (self.folder / "policy.cedar").write_text(policy or BASELINE.read_text())
        (self.folder / "limits.toml").write_text(limits)
        self.now += timedelta(seconds=1)

    @property
    def notes(self):
        return [entry.event for entry in self.journal.entries() if entry.event.to == "nobody"]

    @property
    def sent(self):
        """All that left, as one text."""
        return b"\n".join(signed.wire for signed in self.hub.posted).decode()

    def charges(self):
        return [(entry.kind, entry.charge_id) for entry in self.silo.ledger.history("patients") if entry.charge_id]

    def backup(self, name):
        """A copy of one of the folder's files or folders as it is now, with the node stopped."""
        self.close()
        for path in self.folder.glob(name):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, self.folder / f"{path.name}.backup")
        self.open()
        self.start()

    def restore(self, name):
        self.close()
        for path in [*self.folder.glob(name)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            (self.folder / f"{path.name}.backup").rename(path)
        self.open()


@pytest.fixture(scope="session")
def group():
    return consortium()


@pytest.fixture
def make_node(group, tmp_path):
    """A node that is a member with a registered, published dataset; ``name`` tells several apart."""
    opened = []

    def make(name="alpha", limits=LIMITS, epsilon=6.0):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        hub = FakeHub(group, folder / "journal.sqlite")
        founding = group.charter(0)
        hub.say(CharterPublished, "person:ada", **group.published(founding))
        hub.say(CharterPublished, "person:ada", **group.published(group.charter(4, founding)))
        node = Node(folder, hub, FakeRunner(), charter_digest(founding))
        node.write(limits=limits)
        node.open()
        opened.append(node)
        node.register(epsilon)
        node.start()
        return node

    yield make
    for node in opened:
        node.close()


@pytest.fixture
def node(make_node):
    return make_node()


@pytest.fixture
def small():
    """A study of three rounds."""
    return contract(training={**contract_values()["training"], "rounds": 1})


@pytest.fixture
def peers(node, small):
    return Peers(node.hub, small)
