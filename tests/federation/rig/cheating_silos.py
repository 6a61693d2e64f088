"""Four real silo nodes before a hub that may cheat, its people, and how a test takes them through studies.

The nodes are stepped one after the other by the test's own thread, until what the test waits for is there.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from protocol.canonical import digest
from protocol.ids import timestamp
from protocol.round_statements import RoundOpened
from protocol.rounds import last_round
from protocol.signing import Signed
from protocol.statements import Body
from protocol.study import StudyContract, study_id
from protocol.study_statements import StudyClosed
from silo_node.agent.joining import join
from silo_node.agent.registering import register_dataset, try_to_publish
from silo_node.dataset.registration import register
from silo_node.dataset.schema import Schema
from tests.federation.rig.cheating import HONEST, CheatingHub
from tests.federation.rig.cheating_nodes import Node
from tests.sample_study import SILOS, contract, contract_values
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.silo_node.agent.conftest import BASELINE, LIMITS, SCHEMA

TRAINING = 1
"""The first round of training; normalisation is 0."""
PATIENCE_S = 60.0
QUIET_S = 0.4
PAUSE_S = 0.005

Said = TypeVar("Said", bound=Body)


class Group:
    """A founded consortium of four nodes, and its people."""

    def __init__(self, hub: CheatingHub, folder: Path) -> None:
        self.hub = hub
        self.people = Consortium(hub.url, hub.card, silos=())
        self.nodes = {name: Node(name, folder / name) for name in SILOS}
        self.seen: list[Signed] = []
        self._read = 0
        self._contracts: dict[str, StudyContract] = {}
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
        """A proposed and approved study: normalisation, one round of training unless more are asked for, evaluation."""
        agreed = small_contract(title=f"Study {len(self._contracts) + 1}", **changes)
        self.people.lead.say("study-proposed", contract=agreed.model_dump(mode="json"))
        study = study_id(agreed)
        self._contracts[study] = agreed
        self.people.admin.say("study-approved", study=study, assertion=None)
        return study

    def run_to(self, until: Callable[[], bool], *names: str) -> None:
        """Steps the nodes (all, unless some are named) one after the other until ``until``, which must come."""
        nodes, deadline = [self.nodes[name] for name in names or SILOS], time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for node in nodes:
                if until():
                    return
                node.step(self.hub.sight(node.name))
            time.sleep(PAUSE_S)
        raise AssertionError({name: (node.ended, node.notes()) for name, node in self.nodes.items()})

    def rest(self) -> None:
        """Steps all nodes until nothing has happened for a while: for what must not happen."""
        size, quiet_since = -1, time.monotonic()
        while time.monotonic() - quiet_since < QUIET_S:
            acted = [node.step(self.hub.sight(node.name)) for node in self.nodes.values()]
            if any(acted) or self.hub.size() != size:
                size, quiet_since = self.hub.size(), time.monotonic()
            time.sleep(PAUSE_S)

    def all_halted(self, study: str, why: str) -> bool:
        """Whether every node does nothing more in the study, with such a reason in its journal."""
        return all(node.silo.tasks.halted(study) and why in node.notes(study) for node in self.nodes.values())

    def open_round(self, study: str) -> int:
        """The newest round of training that was opened, once there is one."""
        self.run_to(lambda: bool(self.words(RoundOpened, study, TRAINING)))
        return max(said.round for said in self.words(RoundOpened, study))

    def go_past(self, study: str, index: int) -> None:
        """Steps to where every node has the same state after a round, and the next is open."""
        self.run_to(lambda: bool(self.words(RoundOpened, study, index + 1)))
        self.run_to(lambda: all(node.state(study, index) is not None for node in self.nodes.values()))
        assert len({node.state(study, index) for node in self.nodes.values()}) == 1

    def words(self, kind: type[Said], study: str, index: int | None = None) -> list[Said]:
        """The logged statements of a kind about a study, and a round of it."""
        if self.hub.size() != self._read:
            found, self._read = self.hub.logged(self._read)
            self.seen += found
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
        last = last_round(self._contracts[study])
        self.run_to(lambda: all(node.state(study, last) is not None for node in self.nodes.values()))
        assert len({node.state(study, last) for node in self.nodes.values()}) == 1


def small_contract(rounds: int = 1, **changes: Any) -> StudyContract:
    """A tiny model, and so much noise that a test's budget pays for hundreds of studies."""
    parts = contract_values()
    noisy = {name: {**parts[name], "noise_multiplier": 200.0} for name in ("normalisation", "training", "evaluation")}
    noisy["training"]["rounds"] = rounds
    return contract(**{"expires_at": timestamp(datetime.now(UTC) + timedelta(days=30)), **noisy, **changes})


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
