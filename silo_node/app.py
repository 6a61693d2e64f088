"""Puts a silo node together from its folder."""

import fcntl
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from protocol import routes
from protocol.follow import begin
from silo_node.agent.loop import Agent
from silo_node.agent.silo import Silo
from silo_node.agent.study_files import StudyFiles
from silo_node.agent.tasks import Tasks
from silo_node.agent.voice import Voice
from silo_node.config import SiloConfig, load
from silo_node.dataset.catalogue import Catalogue
from silo_node.errors import ConfigRefused
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession, fetch_charter
from silo_node.journal.chain import FILE, Journal
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.policy.rules import OwnerRules
from silo_node.private_files import private_folder, read_passphrase
from silo_node.runner.level import accepted_level
from silo_node.runner.process import Runner

POLICY, LIMITS = "policy.cedar", "limits.toml"


def now() -> datetime:
    return datetime.now(UTC)


def patient() -> Backoff:
    """Pauses of up to 30 seconds while the hub is away; a silo never gives up by itself."""
    return Backoff(attempts=4, first_s=0.2, longest_s=30.0, sleep=time.sleep, uniform=random.SystemRandom().random)


@contextmanager
def open_silo(
    folder: Path, clock: Callable[[], datetime] = now, trains: bool = False
) -> Iterator[tuple[Silo, SiloConfig]]:
    """The silo whose files are in ``folder``; ``trains`` for a node that runs, not for a short command beside it."""
    config = load(folder)
    identity = Identity.load(config.silo, folder, lambda: read_passphrase(config.passphrase_file))
    tasks = Tasks(folder)
    known = tasks.follower() or begin(fetch_charter(config.hub_url, config.request_timeout_s), config.charter)
    if known.charter is not None:
        identity.use(known.charter)
    hub = HubSession(config.hub_url, identity, routes.audience(known.view.origin), config.request_timeout_s, patient())
    journal = Journal.existing(folder / FILE)
    voice = Voice(identity, journal, tasks, hub, clock)
    ledger = SqliteLedger(folder / "ledger" / "ledger.sqlite", clock)
    rules = OwnerRules(folder / POLICY, folder / LIMITS)
    runner = Runner(
        folder / "datasets",
        config.training_limit_s,
        warm=trains,
        level=partial(accepted_level, config.sandbox == "none-accepted"),
        memory_mib=config.sandbox_memory_mib,
        disk_mib=config.sandbox_disk_mib,
    )
    try:
        catalogue = Catalogue(folder / "datasets")
        yield Silo(identity, hub, tasks, StudyFiles(folder), voice, catalogue, ledger, rules, runner, clock), config
    finally:
        runner.close()
        ledger.close()
        journal.close()
        tasks.close()
        hub.close()


@contextmanager
def open_journal(folder: Path) -> Iterator[tuple[SiloConfig, Journal, Tasks]]:
    """A silo's journal, and its memory of what it signed and read: for looking at them, without a word to the hub."""
    config = load(folder)
    journal, tasks = Journal.existing(folder / FILE), Tasks(folder)
    try:
        yield config, journal, tasks
    finally:
        journal.close()
        tasks.close()


def agent_of(silo: Silo, config: SiloConfig) -> Agent:
    return Agent(
        silo, config.charter, lambda: fetch_charter(config.hub_url, config.request_timeout_s), config.poll_wait_s
    )


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Holds ``folder`` for one running node; a second one would charge, seal and answer beside the first."""
    with (private_folder(folder) / "node.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigRefused(f"{folder}: a silo node is running on this folder already") from None
        yield


def set_up_log() -> None:
    """One line of JSON an event on standard error; texts of refusals only, never data."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
