"""A silo's real folder, the node's memory in it as a hub's real log made it, and its console as a process."""

import socket
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np

from protocol.charter import charter_digest
from protocol.membership_statements import CharterPublished
from silo_node.config import SiloConfig, save
from silo_node.dataset.profile import profile_of
from silo_node.dataset.registration import Checked
from silo_node.dataset.table import Table
from silo_node.private_files import private_folder, write_private
from tests.sample_study import contract, contract_values
from tests.unit.silo_node.agent.conftest import LIMITS, FakeRunner, Node
from tests.unit.silo_node.agent.fake_hub import FakeHub
from tests.unit.silo_node.agent.peers import Peers

ASK = LIMITS.replace('"within-limits"', '"ask"')


class OwnersRunner(FakeRunner):
    """Reads no source; ``check`` tells of 96 rows that it makes up."""

    def check(self, registration):
        columns = registration.declared.columns
        low, high = ([getattr(one, end) for one in columns] for end in ("minimum", "maximum"))
        made = np.random.default_rng(7).uniform(low, high, (96, len(columns)))
        names, counts = tuple(one.name for one in columns), {one.name: at for at, one in enumerate(columns)}
        table = Table(names, made, np.zeros((96, 2), np.uint64), counts, counts, None, 4)
        return Checked("a" * 64, 96, counts, 4, profile_of(table, registration.declared).value())


def make_owner(folder, group, limits=ASK, registered=True):
    """Silo alpha's node on a whole folder, which a command can open too; it has read the log."""
    folder.mkdir(mode=0o700)
    hub = FakeHub(group, folder / "journal.sqlite")
    founding = group.charter(0)
    hub.say(CharterPublished, "person:ada", **group.published(founding))
    hub.say(CharterPublished, "person:ada", **group.published(group.charter(4, founding)))
    node = Node(folder, hub, OwnersRunner(), charter_digest(founding))
    node.now = datetime.now(UTC)
    node.write(limits=limits)
    party, keys = group.silos["alpha"], private_folder(folder / "keys")
    write_private(keys / "signing", party.signing.private_bytes_raw())
    write_private(keys / "receiving", party.receiving.private)
    save(SiloConfig(silo="alpha", hub_url="http://127.0.0.1:9", charter=charter_digest(founding)), folder)
    node.open()
    if registered:
        node.register(6.0)
    node.start()
    node.go()
    return node


def study(node, rounds=1, **changes):
    """A study that nobody has proposed yet; two more rounds begin and end it."""
    training = {**contract_values()["training"], "rounds": rounds}
    return Peers(node.hub, contract(**{"training": training, **changes}))


def propose(node, approved=True, **changes):
    """A study of three rounds that the node has read of."""
    peers = study(node, **changes)
    peers.propose(approved)
    node.go()
    return peers


class Terminal:
    """``consortia-silo console`` as its user starts it; ``link`` is the first that it says."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "silo_node", "console", "--folder", str(folder), "--port", str(self.port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.link = self.next_link()

    @property
    def origin(self):
        return f"http://localhost:{self.port}"

    def next_link(self):
        for line in self.process.stdout:
            if line.startswith("http://"):
                return line.strip()
        raise AssertionError(self.process.stderr.read())

    def another_link(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.next_link()

    def close(self):
        self.process.terminate()
        self.process.communicate(timeout=30)
