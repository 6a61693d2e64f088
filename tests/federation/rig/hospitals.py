"""Four hospitals and a hub as processes, founded once for many studies; what tests look at and break."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from client.admin import approval
from client.connection import Connection, Surroundings, connect
from client.errors import HubUnreachable
from client.studies import draft_contract, propose
from compose.demo import DRAFT
from compose.heart import HOSPITALS
from compose.loopback import ADMIN, OFFICER, RESEARCHER, Loopback
from compose.processes import CommandFailed, Words
from protocol.rounds import charge_id
from protocol.statements import Body
from protocol.study_statements import StudyClosed
from protocol.yaml_draft import load_yaml
from silo_node.ledger.sqlite import SqliteLedger
from tests.federation.rig.proxy import Proxy

PROXIED = "switzerland"
"""The hospital whose line to the hub runs through the proxy."""
ROUNDS = 3
LAST = ROUNDS + 1
"""Index of the last round: normalisation is 0, evaluation comes after training."""
PATIENCE_S = 90.0
ORPHAN_S = 3.0

Said = TypeVar("Said", bound=Body)


@dataclass(slots=True)
class Hospitals:
    """The consortium, with a researcher who follows its log."""

    group: Loopback
    proxy: Proxy
    researcher: Connection = field(init=False)
    admin: Connection = field(init=False)
    studies: int = 0

    def found(self) -> None:
        self.group.found()
        self.group.write_data()
        for name in HOSPITALS:
            self.group.join(name)
            self.group.register(name)
        self.set_in(PROXIED, "silo.toml", "hub_url", f'"{self.proxy.url}"')
        self.researcher, self.admin = (self._connected(person) for person in (RESEARCHER, ADMIN))

    def _connected(self, person: str) -> Connection:
        key = self.group.key(person)
        return connect(self.group.url, key, self.group.founding, Surroundings(notice=lambda _: None))

    # -- processes

    def all_up(self) -> None:
        """Starts what is not running, the hub first, and leaves the proxied line alone."""
        self.proxy.leave_alone()
        if not self.is_up("hub"):
            self.start("hub")
        self.start(*(name for name in HOSPITALS if not self.is_up(name)))

    def start(self, *names: str) -> None:
        """Starts services, and waits until each works or has ended."""
        for name in names:
            self.group.start_hub() if name == "hub" else self.group.start_silo(name)
        for name in names:
            eventually(lambda name=name: self._works(name) or not self.is_up(name), f"{name} works")

    def _works(self, name: str) -> bool:
        """A node that holds its folder starts its runner."""
        return _answers(self.group.url) if name == "hub" else bool(children_of(self.process(name).pid))

    def is_up(self, name: str) -> bool:
        process = self.group.processes.running.get(name)
        return process is not None and process.poll() is None

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        return self.group.processes.running[name]

    def kill(self, name: str) -> list[int]:
        """kill -9: nothing is flushed, nothing is said. What it started and has not gone by itself soon after."""
        children = descendants_of(self.process(name).pid)
        self.process(name).send_signal(signal.SIGKILL)
        self.process(name).wait()
        deadline = time.monotonic() + ORPHAN_S
        while any(is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        orphans = [child for child in children if is_alive(child)]
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
        return orphans

    def stop(self, name: str) -> None:
        self.process(name).send_signal(signal.SIGTERM)
        assert self.process(name).wait(30) == 0

    def ends(self, name: str) -> tuple[int, str]:
        """The exit status of a service that ends by itself, and the last it wrote."""
        status = self.process(name).wait(PATIENCE_S)
        return status, self.log(name)[-2000:]

    def log(self, name: str) -> str:
        text = (self.group.processes.logs / f"{name}.log").read_text(errors="replace")
        return re.sub(r"\s+", " ", text)

    def runner_of(self, name: str) -> int:
        """The process that reads rows, once it is there: inside its box, not what holds the box."""

        def reading() -> list[int]:
            return [one for one in descendants_of(self.process(name).pid) if _reads_rows(one)]

        (runner,) = eventually(reading, f"{name} has a runner")
        return runner

    def set_in(self, silo: str, file: str, field: str, value: str) -> None:
        """Sets a field of a silo's configuration, as its owner would in an editor."""
        path = self.group.silo(silo) / file
        text, found = re.subn(rf"(?m)^{field} = .*$", f"{field} = {value}", path.read_text())
        assert found == 1, f"{field} stands {found} times in {file}"
        path.write_text(text)

    def refused(self, command: Words) -> str:
        """What a command says that ends with status 1, on one line."""
        return self.ended(command, 1)

    def ended(self, command: Words, status: int) -> str:
        try:
            printed = self.group.processes.run(command)
        except CommandFailed as failure:
            said = re.sub(r"\s+", " ", str(failure))
            assert f"status {status}:" in said, said
            assert "Traceback" not in said, said
            return said
        raise AssertionError(f"{command[:4]} was not refused: {printed}")

    # -- studies

    def draft(self, **changes: Any) -> Path:
        """A small study's draft; a change is a top-level field, updated where it is a mapping."""
        self.studies += 1
        draft: dict[str, Any] = load_yaml(DRAFT.read_bytes())
        draft["title"] = f"Study {self.studies} of the tests"
        draft["privacy"]["epsilon"] = 0.5
        draft["training"] |= {"rounds": ROUNDS, "local_steps": 2, "averaged_rounds": 1}
        for name, value in changes.items():
            draft[name] = {**draft[name], **value} if isinstance(value, dict) else value
        path = self.group.folder / f"draft-{self.studies}.yaml"
        path.write_text(json.dumps(draft))
        return path

    def study(self, step_timeout_s: int = 60, **changes: Any) -> str:
        """A proposed and approved study."""
        schedule = {"quorum": 3, "step_timeout_s": step_timeout_s}
        contract = draft_contract(self.researcher, self.draft(schedule=schedule, **changes))
        study = propose(self.researcher, contract).study
        self.admin.log.refresh()
        self.admin.publish(approval(self.admin, study))
        return study

    def statements(self, kind: type[Said], study: str) -> list[Said]:
        return [body for _, body in self.researcher.log.statements(kind) if getattr(body, "study", None) == study]

    def await_statement(
        self, kind: type[Said], study: str, such: Callable[[Said], bool] = lambda _: True, limit_s: float = PATIENCE_S
    ) -> Said:
        """The first statement of the study ``such`` as asked for, once it stands in the verified log."""

        def look() -> Said | None:
            try:
                self.researcher.log.refresh(wait_s=1)
            except HubUnreachable:
                return None
            return next((body for body in self.statements(kind, study) if such(body)), None)

        return eventually(look, f"{kind.__name__} is logged", limit_s)

    def finish(self, study: str) -> StudyClosed:
        return self.await_statement(StudyClosed, study)

    def completed(self, study: str) -> None:
        closed = self.finish(study)
        assert closed.outcome == "completed", closed.reason

    def state(self, silo: str, study: str, index: int = LAST) -> str | None:
        """SHA-256 of a silo's state after a round."""
        path = self.group.silo(silo) / "studies" / study / f"state-{index}"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def same_state_everywhere(self, study: str, but: str | None = None) -> bool:
        """Whether all, ``but`` one, come to one last state."""
        names = [name for name in HOSPITALS if name != but]
        eventually(lambda: all(self.state(name, study) for name in names), "every silo has the last state")
        return len({self.state(name, study) for name in names}) == 1

    def charges(self, silo: str, study: str) -> Counter[tuple[str, int]]:
        """How often each round of a study was reserved and settled in a silo's ledger: (kind, round) -> times."""
        ledger = SqliteLedger(self.group.silo(silo) / "ledger" / "ledger.sqlite", lambda: datetime.now(UTC))
        try:
            history = ledger.history("patients")
        finally:
            ledger.close()
        rounds = {charge_id(study, index): index for index in range(LAST + 1)}
        return Counter((entry.kind, rounds[entry.charge_id]) for entry in history if entry.charge_id in rounds)

    def log_verifies(self) -> bool:
        """Exported by the officer, verified offline from the pinned charter."""
        path = self.group.folder / "export.jsonl"
        path.unlink(missing_ok=True)
        self.group.consortia(OFFICER, "audit", "export", "--out", path)
        self.group.processes.run(["consortia", "audit", "verify", path, "--charter", self.group.founding])
        return True


def charged_once(settled: int = LAST + 1) -> Counter[tuple[str, int]]:
    """The charges of a study of which every round was reserved and settled once."""
    return Counter([(kind, index) for kind in ("reserve", "settle") for index in range(settled)])


def eventually(look: Callable[[], Any], what: str, limit_s: float = PATIENCE_S) -> Any:
    """What ``look`` gives once that is true. Fails after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s:g} s: {what}")


def descendants_of(process: int) -> list[int]:
    """All that ``process`` started, and what those started."""
    children = children_of(process)
    return children + [one for child in children for one in descendants_of(child)]


def _reads_rows(process: int) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"python" in words[0] and words[1:5] == [b"-P", b"-s", b"-m", b"silo_node.runner"]


def children_of(process: int) -> list[int]:
    """The processes that any thread of ``process`` started."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass  # It, or one of its threads, has just ended.
    return found


def is_alive(process: int) -> bool:
    """Whether ``process`` is there, and not only waiting to be reaped."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False


def send(process: int, number: signal.Signals) -> None:
    os.kill(process, number)
