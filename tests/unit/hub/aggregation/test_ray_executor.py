"""Ray's own ways to fail: a driver or a raylet that dies, ports that others reach, a token that isn't the cluster's."""

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import psutil
import pytest

from hub.aggregation.aggregator import BadTerm, Outcome, SumJob
from hub.aggregation.ray_driver import LOCAL, RayCluster
from hub.aggregation.ray_executor import RayExecutor
from hub.aggregation.supervisor import Supervisor
from hub.store.blobs import BlobPlace
from protocol.sealing.parameters import Layout

pytestmark = pytest.mark.slow
LOCALLY = RayCluster(LOCAL, 1)
SOON_S = 60.0
NOTHING_THERE = BadTerm("bern", "chunk 0 is not in the store")


@pytest.fixture
def job(tmp_path: Path) -> SumJob:
    place = BlobPlace(f"file://{tmp_path / 'blobs'}")
    return SumJob(place, "a" * 64, 0, 1, "5" * 64, 0, ("ada", "bern"), ("bern", "ada"), Layout.single(50, 3, 3))


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    made = RayExecutor(LOCALLY)
    yield made
    made.close()


def driver() -> psutil.Process:
    """The parent of the raylet; other tests' processes may be children of this one too."""
    found = raylet().parent()
    assert found is not None
    return found


def raylet() -> psutil.Process:
    (found,) = [one for one in psutil.Process().children(recursive=True) if _program(one) == "raylet"]
    return found


def _program(process: psutil.Process) -> str:
    """The name of the program that a process runs, empty for one that has ended."""
    with contextlib.suppress(psutil.Error):
        return Path((process.cmdline() or [""])[0]).name
    return ""


def argument(process: psutil.Process, name: str) -> str:
    (found,) = [word.partition("=")[2] for word in process.cmdline() if word.startswith(f"--{name}=")]
    return found


def folder() -> Path:
    return Path(argument(raylet(), "raylet_socket_name")).parents[3]


@pytest.mark.parametrize("victim", [driver, raylet])
def test_a_cluster_that_dies_costs_a_try_and_another_one_adds(
    job: SumJob, victim: Callable[[], psutil.Process]
) -> None:
    outcomes: list[Outcome] = []
    told = threading.Event()

    def done(job: SumJob, outcome: Outcome) -> None:
        outcomes.append(outcome)
        told.set()

    supervisor = Supervisor(lambda: RayExecutor(LOCALLY))
    supervisor.start(done)
    for _ in range(2):
        supervisor.submit(job)
        assert told.wait(SOON_S)
        told.clear()
        if len(outcomes) == 1:
            written = folder()
            victim().kill()
    supervisor.close()
    assert outcomes == [NOTHING_THERE] * 2
    assert not written.exists()


def test_a_closed_cluster_leaves_no_process_and_no_file(job: SumJob) -> None:
    closed = RayExecutor(LOCALLY)
    closed.run(job).result(SOON_S)
    processes = [driver(), *driver().children(recursive=True)]
    written = folder()
    assert written.name.startswith("hub-ray-")
    assert written.stat().st_mode & 0o777 == 0o700
    closed.close()
    assert psutil.wait_procs(processes, timeout=SOON_S)[1] == []
    assert not written.exists()
    with pytest.raises(BrokenExecutor):
        closed.run(job)


def test_a_job_under_way_is_cancelled_when_the_executor_is_closed_before_its_cluster_is_up(job: SumJob) -> None:
    executor = RayExecutor(LOCALLY)
    future = executor.run(job)
    executor.close()
    assert future.cancelled()


def test_every_port_of_a_local_cluster_is_on_loopback_and_nobody_else_is_called(
    executor: RayExecutor, job: SumJob
) -> None:
    assert executor.run(job).result(SOON_S) == NOTHING_THERE
    processes = [driver(), *driver().children(recursive=True)]
    ends = [end for one in processes for held in one.net_connections("inet") for end in (held.laddr, held.raddr) if end]
    assert len(ends) > 10
    assert {end.ip.removeprefix("::ffff:") for end in ends} == {"127.0.0.1"}


def test_a_running_cluster_adds_for_whoever_has_its_token(executor: RayExecutor, job: SumJob, tmp_path: Path) -> None:
    executor.run(job).result(SOON_S)
    token, address = tmp_path / "token", argument(raylet(), "gcs-address")
    token.write_text(raylet().environ()["RAY_AUTH_TOKEN"])
    second = RayExecutor(RayCluster(address, 1, token))
    assert second.run(job).result(SOON_S) == NOTHING_THERE
    second.close()
    assert executor.run(job).result(SOON_S) == NOTHING_THERE  # the cluster isn't the second one's to end


def test_whoever_has_another_token_gets_no_answer(executor: RayExecutor, job: SumJob, tmp_path: Path) -> None:
    executor.run(job).result(SOON_S)
    token, address = tmp_path / "token", argument(raylet(), "gcs-address")
    token.write_text(secrets.token_hex(32))
    stranger = RayExecutor(RayCluster(address, 1, token))
    with pytest.raises(BrokenExecutor):
        stranger.run(job).result(SOON_S)
    stranger.close()
