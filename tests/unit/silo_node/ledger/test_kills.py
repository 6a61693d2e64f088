"""A node that is killed before any line of reserve, run and settle, alone and four at once: never over, never lost.

Each life is a process of its own that kills itself (SIGKILL) before a line of the ledger's code or of the work around
it; what it left on the disk is opened by the next one.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from protocol.accounting import cost_of
from protocol.spend import SampledGaussian
from silo_node.ledger.budget import Balance, PrivacyDomain, Refused, Settled
from silo_node.ledger.caps import Cap, Use
from silo_node.ledger.sqlite import SqliteLedger

HEART = PrivacyDomain.at_best_order("heart", "subject", 5.0, 1e-3)
PLANNED = (SampledGaussian(sampling_rate=1.0, noise_multiplier=10.0, steps=5, unit="subject"),)
RAN = (PLANNED[0].model_copy(update={"steps": 3}),)
FULL, LESS = cost_of(PLANNED, HEART.order), cost_of(RAN, HEART.order)
LEDGER = sys.modules[SqliteLedger.__module__].__file__ or ""
"""Its lines make every call of SQLite; a kill within the pure code between two of them is a kill before the second."""
MOST_LINES = 2_000
CAPPED = 9
STATES = [(0, 0, False), (FULL, 0, False), (FULL, 0, True), (0, LESS, True)]
"""Reserved, settled, and whether rows were read: the only states that a killed round may leave."""


def noon() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def use_of(study: str) -> Use:
    return Use("mri", study, ("grace",))


def run(folder: Path, charge: str) -> None:
    """As training would: what was run for a charge is on the disk before anything is settled."""
    with (folder / f"ran {charge}").open("ab") as file:
        file.write(b".")
        file.flush()
        os.fsync(file.fileno())


def round_of(ledger: SqliteLedger, folder: Path, charge: str) -> bool:
    """One round as the node has it: charged, run once under the charge, settled. False where it isn't admitted."""
    if isinstance(ledger.charge(charge), Settled):
        return True
    admitted = ledger.reserve("heart", charge, PLANNED, use_of(charge.partition(":")[0]))
    if isinstance(admitted, Refused):
        return False
    run(folder, charge)
    settled = ledger.settle(charge, RAN)
    assert isinstance(settled, Settled)
    return True


def _killer(number: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills its process before the line ``number`` (from 1) of the ledger or of this file."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith((LEDGER, __file__)):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def killed_before_line(number: int, opened: Callable[[], tuple[SqliteLedger, Path, str]]) -> bool:
    """One round in a process of its own, killed before its line ``number``; False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            given = opened()
            sys.settrace(_killer(number))
            os._exit(0 if round_of(*given) else 1)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL), "the work failed by itself"
    return ended != 0


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a domain and a cap, closed."""
    path = tmp_path_factory.mktemp("template") / "ledger" / "ledger.sqlite"
    ledger = SqliteLedger(path, noon)
    ledger.register(HEART)
    ledger.cap(Cap("heart", "recipient", "grace", CAPPED * FULL))
    ledger.close()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what a killed process wrote is kept there as well, without the wait."""
    if not Path("/dev/shm").is_dir():  # of this test alone, mode 0700
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


def copied(template: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    shutil.copy(template, folder / template.name)
    return folder / template.name


def balance(ledger: SqliteLedger) -> Balance:
    held = ledger.balance("heart")
    assert isinstance(held, Balance)
    return held


def test_killed_before_any_line_of_reserve_run_and_settle_a_round_is_charged_once(template: Path, folder: Path) -> None:
    seen, charge = [], "study:1"
    for number in range(1, MOST_LINES):
        path = copied(template, folder / f"{number}")

        def life(path: Path = path) -> tuple[SqliteLedger, Path, str]:
            return SqliteLedger(path, noon), path.parent, charge

        died = killed_before_line(number, life)
        ledger = SqliteLedger(path, noon)
        left, ran = balance(ledger), (path.parent / f"ran {charge}").exists()
        seen.append((left.reserved_picos, left.settled_picos, ran))
        assert round_of(ledger, path.parent, charge), "the next life finds its charge and comes to the end"
        after = balance(ledger)
        assert (after.reserved_picos, after.settled_picos) == (0, LESS)
        ledger.close()
        shutil.rmtree(path.parent)
        if not died:
            break
    assert seen == sorted(seen, key=STATES.index), "in the order of the lines, and nothing else in between"
    assert set(seen) == set(STATES), "no kill fell between reserve and run, or between run and settle"
    assert len(seen) > 60


def test_four_nodes_at_once_that_are_killed_at_any_line_are_never_over_and_lose_nothing(
    template: Path, folder: Path
) -> None:
    """Each works at studies of its own under one recipient's cap; whoever dies is started again on what it left."""
    path, dice = copied(template, folder / "ledger"), random.Random(7)
    alive = {_started(path, node, dice.randrange(1, 200)): node for node in range(4)}
    deaths = 0
    while alive:
        child, status = os.wait()
        node = alive.pop(child)
        ended = os.waitstatus_to_exitcode(status)
        assert ended in (0, -signal.SIGKILL), "the work failed by itself"
        if ended:
            deaths += 1
            alive[_started(path, node, dice.randrange(1, 200) if deaths < 40 else 0)] = node
    ledger = SqliteLedger(path, noon)
    held = balance(ledger)
    ledger.close()
    assert held.reserved_picos == 0
    assert held.settled_picos % LESS == 0
    rounds = held.settled_picos // LESS
    # Each charge that was admitted was run, each that was run is settled; the cap is used up to less than a reserve.
    assert rounds == len(list(path.parent.glob("ran *")))
    assert CAPPED * FULL - FULL < held.settled_picos <= CAPPED * FULL
    assert deaths >= 30


def _started(path: Path, node: int, line: int) -> int:
    """A process that takes one round after the other until nothing is admitted; killed before ``line``, 0 for never."""
    child = os.fork()
    if child:
        return child
    try:
        ledger, number = SqliteLedger(path, noon), 0
        sys.settrace(_killer(line))
        while round_of(ledger, path.parent, f"study-{node}:{number}"):
            number += 1
        os._exit(0)
    finally:
        os._exit(1)
