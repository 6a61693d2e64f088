"""A real silo node before a hub that may cheat: its own folder, keys, ledger, journal, policy, and HTTP to the hub.

Only training is left out: a runner in the node's own process answers vectors. A test steps the node, one poll and one
step at a time, so that it can look, or have the hub lie, between any two.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from protocol.rounds import charge_id
from protocol.study import study_id
from silo_node.agent.loop import Agent
from silo_node.agent.silo import Silo
from silo_node.app import agent_of, now, open_silo
from silo_node.dataset.registration import Checked
from silo_node.errors import HubRefused, HubUnreachable, SiloError
from silo_node.journal.chain import Journal
from silo_node.runner.tasks import Outcome, TrainTask, events_run, round_of, values_of
from tests.sample_study import SILOS

Floats = NDArray[np.float64]
ROUNDS = 8
"""More than any study of these tests has."""


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

    def run(self, task: Any, vector: BinaryIO) -> Outcome:
        index, values = round_of(task), values_of(task)
        made = self._random.uniform(-0.5, 0.5, values) if self.make is None else self.make(index, values)
        self.given[study_id(task.contract), index] = made
        steps = task.contract.training.local_steps if isinstance(task, TrainTask) else 1
        vector.write(made.tobytes())
        return Outcome(steps, events_run(task, steps))


class Node:
    """One silo's folder and, while it runs, its agent. ``ended``: why the process would have ended by itself."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.runner = Vectors(SILOS.index(name))
        self.ended: SiloError | None = None
        self.clock = now
        self.silo: Silo
        self._agent: Agent
        self._idle_at: tuple[int, ...] | None = None
        self._open = ExitStack()

    def open(self) -> None:
        silo, config = self._open.enter_context(open_silo(self.folder, lambda: self.clock()))
        self.silo = replace(silo, runner=self.runner)  # type: ignore[arg-type]
        self._agent, self.ended, self._idle_at = agent_of(self.silo, config), None, None

    def close(self) -> None:
        self._open.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def step(self, sight: tuple[int, ...]) -> bool:
        """One poll and one step, as the node's own loop does it; whether anything was done.

        Nothing is asked again where the hub was the same to the node's ``sight`` when there was nothing to do.
        """
        if self.ended is not None or self._idle_at == sight:
            return False
        try:
            self._agent.poll(0)
            self._idle_at = None if self._agent.work() else sight
            return self._idle_at != sight
        except (HubUnreachable, HubRefused):
            return False
        except SiloError as problem:
            self.ended = problem
            return False

    def wake(self) -> None:
        """Looks again at the next step: something other than the log has changed."""
        self._idle_at = None

    @property
    def public(self) -> str:
        return self.silo.identity.signing_public

    @property
    def receiving(self) -> str:
        return self.silo.identity.receiving_public

    # -- what it keeps

    def state(self, study: str, index: int) -> bytes | None:
        return self.silo.files.state(study, index)

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
        rounds = {charge_id(study, index): index for index in range(ROUNDS)}
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
