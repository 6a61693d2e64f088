"""Four real silo nodes before a hub that may cheat: real folders, keys, ledgers, journals, policies and HTTP.

Only training is left out: a runner in the node's own process answers vectors. The nodes are stepped one after the
other by the test's thread, so that a test can look, or have the hub lie, between any two steps.
"""

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocol.canonical import digest
from protocol.ids import timestamp
from protocol.rounds import charge_id, last_round
from protocol.statements import Body, Signed, StudyClosed
from protocol.study import StudyContract, study_id
from silo_node.agent.joining import join
from silo_node.agent.loop import Agent
from silo_node.agent.registering import register_dataset, try_to_publish
from silo_node.agent.silo import Silo
from silo_node.app import agent_of, open_silo
from silo_node.dataset.catalogue import Checked, register
from silo_node.dataset.schema import Schema
from silo_node.errors import HubRefused, HubUnreachable, SiloError
from silo_node.journal.chain import Journal
from silo_node.runner.tasks import Outcome, TrainTask, events_run, round_of, values_of
from tests.federation.rig.cheating import HONEST, CheatingHub
from tests.sample_study import SILOS, contract, contract_values
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.silo_node.agent.conftest import BASELINE, LIMITS, SCHEMA

TRAINING = 1
"""The first round of training; normalisation is 0."""
PATIENCE_S = 60.0
QUIET_S = 0.4

Said = TypeVar("Said", bound=Body)
Floats = NDArray[np.float64]


class Vectors:
    """Stands in for the process that trains. ``given``: the update of each study and round, made once."""

    def __init__(self, seed: int) -> None:
        self.given: dict[tuple[str, int], Floats] = {}
        self.make: Callable[[int, int], Floats] | None = None
        self._random = np.random.default_rng(seed)

    def start(self) -> None:
        """No process is needed."""

    def check(self, registration: Any) -> Checked:
        return Checked("a" * 64, 100, {})

    def run(self, task: Any) -> Outcome:
        index, values = round_of(task), values_of(task)
        made = self._random.uniform(-0.5, 0.5, values) if self.make is None else self.make(index, values)
        self.given[study_id(task.contract), index] = made
        return Outcome(made, 1, events_run(task, task.contract.training.local_steps if _trains(task) else 1))


def _trains(task: Any) -> bool:
    return isinstance(task, TrainTask)


class Node:
    """One silo's folder and, while it runs, its agent. ``ended``: why the process would have ended by itself."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.runner = Vectors(SILOS.index(name))
        self.ended: SiloError | None = None
        self.silo: Silo
        self._agent: Agent
        self._open = ExitStack()

    def open(self) -> None:
        silo, config = self._open.enter_context(open_silo(self.folder))
        self.silo = replace(silo, runner=self.runner)  # type: ignore[arg-type]
        self._agent, self.ended = agent_of(self.silo, config), None

    def close(self) -> None:
        self._open.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def step(self) -> bool:
        """One poll and one step, as the node's own loop does it; whether anything was done."""
        if self.ended is not None:
            return False
        try:
            self._agent.poll(0)
            return self._agent.work()
        except (HubUnreachable, HubRefused):
            return False
        except SiloError as problem:
            self.ended = problem
            return False

    @property
    def public(self) -> str:
        return self.silo.identity.signing_public

    @property
    def receiving(self) -> str:
        return self.silo.identity.receiving_public

    # -- what it keeps

    def state(self, study: str, index: int) -> bytes | None:
        return self.silo.tasks.state(study, index)

    def notes(self, study: str | None = None) -> str:
        """The decisions and halts that stand in its journal, as one text."""
        events = [event for event in self._events() if event.to == "nobody" and study in (None, event.study)]
        return "\n".join(f"{event.kind}: {event.what}" for event in events)

    def sent(self, study: str, index: int) -> set[tuple[str, str]]:
        """What left of a round's update, by its journal: each chunk's place with the digest of its bytes."""
        chunks = [event for event in self._events() if event.kind == "chunk" and event.study == study]
        return {(event.what, event.digest or "") for event in chunks if event.what.startswith(f"round {index} ")}

    def charges(self, study: str) -> Counter[tuple[str, int]]:
        """How often each round was reserved and settled."""
        rounds = {charge_id(study, index): index for index in range(8)}
        history = self.silo.ledger.history("patients")
        return Counter((entry.kind, rounds[entry.charge_id]) for entry in history if entry.charge_id in rounds)

    def _events(self) -> list[Any]:
        journal = Journal(self.folder / "journal.sqlite")
        try:
            return [entry.event for entry in journal.entries()]
        finally:
            journal.close()

    def backup(self, place: Path) -> None:
        """Copies the folder as it is now, with the node stopped for it."""
        self.close()
        shutil.copytree(self.folder, place)
        self.open()

    def restore(self, place: Path) -> None:
        self.close()
        shutil.rmtree(self.folder)
        shutil.copytree(place, self.folder)


class Group:
    """A founded consortium of four nodes, and its people."""

    def __init__(self, hub: CheatingHub, folder: Path) -> None:
        self.hub = hub
        self.people = Consortium(hub.url, hub.card, silos=())
        self.nodes = {name: Node(name, folder / name) for name in SILOS}
        self.seen: list[Signed] = []
        self._studies = 0
        self.people.found()
        for node in self.nodes.values():
            join(node.folder, hub.url, node.name, self._invitation(node.name), datetime.now(UTC))
            (node.folder / "policy.cedar").write_text(BASELINE.read_text())
            (node.folder / "limits.toml").write_text(LIMITS)
            node.open()
        self.people.admit(*self.nodes.values())  # type: ignore[arg-type]
        for node in self.nodes.values():
            columns = node.folder / "heart.csv"
            asked = register("heart", columns, Schema(**SCHEMA), "patients", 6.0, 0.001, 4, 100)  # type: ignore[arg-type]
            assert try_to_publish(node.silo, register_dataset(node.silo, asked))

    def _invitation(self, silo: str) -> str:
        code = "-".join(secrets.token_hex(2).upper() for _ in range(5))
        expires_at = timestamp(datetime.now(UTC) + timedelta(hours=1))
        self.people.admin.say("invitation", silo=silo, code=digest(code.encode()), expires_at=expires_at)
        return f"{code}.{self.people.founding}"

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def honest(self) -> "Group":
        """With the hub honest again, and started anew whichever node had ended."""
        self.hub.cheat = HONEST
        for node in self.nodes.values():
            if node.ended is not None:
                node.restart()
        return self

    # -- studies

    def study(self, **changes: Any) -> str:
        """A proposed and approved study of one normalisation, two training rounds and an evaluation."""
        self._studies += 1
        agreed = small_contract(title=f"Study {self._studies}", **changes)
        self.people.lead.say("study-proposed", contract=agreed.model_dump(mode="json"))
        study = study_id(agreed)
        self.people.admin.say("study-approved", study=study)
        return study

    def go(self, until: Callable[[], bool] = lambda: False, *names: str) -> None:
        """Steps the nodes (all, unless some are named) until ``until``, or until nothing happens any more."""
        nodes = [self.nodes[name] for name in names or SILOS]
        deadline, quiet_since, size = time.monotonic() + PATIENCE_S, time.monotonic(), -1
        while time.monotonic() < deadline:
            for node in nodes:
                if until():
                    return
                if node.step():
                    quiet_since = time.monotonic()
            if self.hub.services.log.size() != size:
                size, quiet_since = self.hub.services.log.size(), time.monotonic()
            if time.monotonic() - quiet_since > QUIET_S:
                return
            time.sleep(0.005)
        raise AssertionError("the nodes never come to rest")

    def run_to(self, until: Callable[[], bool], *names: str) -> None:
        """Like ``go``, and it must come to that."""
        self.go(until, *names)
        assert until(), {name: (node.ended, node.notes()) for name, node in self.nodes.items()}

    def words(self, kind: type[Said], study: str, index: int | None = None) -> list[Said]:
        """The logged statements of a kind about a study, and a round of it, as an officer reads them."""
        self.seen += [signed for _, _, signed in self.people.officer.poll()]
        bodies = [signed.body for signed in self.seen if isinstance(signed.body, kind)]
        return [
            body
            for body in bodies
            if getattr(body, "study", None) == study and index in (None, getattr(body, "round", None))
        ]

    def who(self, kind: type[Said], study: str, index: int) -> set[str]:
        """The silos that said so of a round."""
        return {body.issuer.removeprefix("silo:") for body in self.words(kind, study, index)}

    def completed(self, study: str) -> None:
        """Steps to the study's end, which must be a good one that all silos reached alike."""
        self.run_to(lambda: bool(self.words(StudyClosed, study)))
        (closed,) = self.words(StudyClosed, study)
        assert closed.outcome == "completed", closed.reason
        self.go()
        last = last_round(small_contract())
        assert len({node.state(study, last) for node in self.nodes.values()}) == 1
        assert self.nodes["alpha"].state(study, last) is not None


def small_contract(**changes: Any) -> StudyContract:
    """A tiny model, and so much noise that a test's budget pays for hundreds of studies."""
    noise = {"noise_multiplier": 200.0}
    parts = contract_values()
    silent = {name: {**parts[name], **noise} for name in ("normalisation", "training", "evaluation")}
    return contract(**{"expires_at": timestamp(datetime.now(UTC) + timedelta(days=30)), **silent, **changes})


@contextmanager
def founded_group(folder: Path) -> Iterator[Group]:
    """Four nodes at a hub that is honest so far; about a second."""
    hub = CheatingHub(folder / "hub")
    with hub.running():
        group = Group(hub, folder)
        try:
            yield group
        finally:
            group.close()
