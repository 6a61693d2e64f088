"""How a hub ends: told to, it sends everybody home and ends well; killed, it leaves no process behind."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from hub.api.health import METRICS
from protocol import routes
from protocol.routes import Follow
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess

POLLS = 45
WORKERS = 2


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub", workers=str(WORKERS))
    process.start()
    yield process
    process.stop()


def to_the_hub(hub: HubProcess, number: int) -> None:
    os.kill(hub.pid, number)


def to_all_its_processes(hub: HubProcess, number: int) -> None:
    """As a terminal does with Ctrl-C, and a service manager with the whole unit."""
    os.killpg(hub.pid, number)


@pytest.mark.parametrize("send", [to_the_hub, to_all_its_processes])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_told_to_stop_answers_every_open_poll_and_ends_well(
    hub: HubProcess, number: int, send: Callable[[HubProcess, int], None]
) -> None:
    consortium = Consortium(hub.url, hub.card)
    consortium.found()
    consortium.admin.poll()
    answers = open_polls(consortium)
    children = psutil.Process(hub.pid).children(recursive=True)
    send(hub, number)
    assert hub.ended() == 0
    for thread in answers.threads:
        thread.join(timeout=20)
    assert [follow.entries for follow in answers.follows] == [()] * POLLS
    assert [follow.next for follow in answers.follows] == [consortium.admin.next] * POLLS
    assert answers.broken == []
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert "Traceback" not in hub.logged()


class Answers:
    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.follows: list[Follow] = []
        self.broken: list[Exception] = []


def open_polls(consortium: Consortium) -> Answers:
    """Polls that have nothing to wait for, all of them taken in by the hub."""
    answers, admin = Answers(), consortium.admin
    after = admin.next

    def poll() -> None:
        try:
            with httpx.Client(base_url=consortium.url, timeout=60) as http:
                answer = http.get(routes.POLL, params={"after": after, "wait_s": 30}, auth=admin.auth)
            answers.follows.append(Follow.model_validate_json(answer.content))
        except (httpx.HTTPError, ValueError) as error:
            answers.broken.append(error)

    answers.threads = [threading.Thread(target=poll) for _ in range(POLLS)]
    for thread in answers.threads:
        thread.start()
    deadline = time.monotonic() + 30
    while f"consortia_polls_waiting {POLLS}.0" not in httpx.get(consortium.url + METRICS).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answers


def test_an_upload_that_is_too_slow_for_the_stop_is_told_to_come_again(hub: HubProcess) -> None:
    with socket.create_connection(("127.0.0.1", hub.port), timeout=30) as line:
        head = f"POST {routes.CHARTER} HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n"
        line.sendall(head.encode() + b"{")
        time.sleep(0.5)
        os.kill(hub.pid, signal.SIGTERM)
        assert line.recv(65_536).startswith(b"HTTP/1.1 503 ")
    assert hub.ended() == 0
    assert "Traceback" not in hub.logged()


def test_no_child_of_a_killed_hub_survives_it(hub: HubProcess) -> None:
    children = psutil.Process(hub.pid).children(recursive=True)
    assert len(children) >= WORKERS
    os.kill(hub.pid, signal.SIGKILL)
    hub.ended()
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_a_hub_stopped_while_a_study_runs_goes_on_with_it_after_its_restart(hub: HubProcess) -> None:
    consortium = Consortium(hub.url, hub.card)
    consortium.gather()
    study = consortium.start(rounds=2)
    hub.stop()
    assert hub.ended() == 0
    hub.start()
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["rounds_closed"]) == ("completed", 4)
    assert "Traceback" not in hub.logged()
