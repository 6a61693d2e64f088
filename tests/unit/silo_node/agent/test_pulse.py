"""The node's pulse: green only while the hub's log is verified, or while what it brought is worked on."""

from datetime import UTC, datetime, timedelta

import pytest

from silo_node.agent.pulse import FILE, Pulse, check_pulse
from silo_node.config import SiloConfig
from silo_node.errors import HubUnreachable, Unhealthy
from silo_node.hub_client.retry import Backoff

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIG = SiloConfig(
    silo="alpha", hub_url="https://hub.example", charter="0" * 64,
    poll_wait_s=20, request_timeout_s=60, training_limit_s=3600,
)  # fmt: skip


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_s(self, seconds):
        self.now += timedelta(seconds=seconds)


class Enough(Exception):
    pass


@pytest.fixture
def clock():
    return Clock()


def test_a_node_is_green_after_a_verified_poll_and_red_when_the_next_one_is_overdue(tmp_path, clock):
    pulse = Pulse(tmp_path, clock)
    pulse.beat(at_work=True)
    pulse.beat(at_work=False)
    for seconds in (0, 140):
        assert "2026-11-22T12:00:00Z" in check_pulse(tmp_path, CONFIG, START + timedelta(seconds=seconds))
    with pytest.raises(Unhealthy, match="141 s ago; 140 s are the most"):
        check_pulse(tmp_path, CONFIG, START + timedelta(seconds=141))
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_node_that_trains_for_an_hour_stays_green_and_one_that_hangs_does_not(tmp_path, clock):
    Pulse(tmp_path, clock).beat(at_work=True)
    assert "at work since" in check_pulse(tmp_path, CONFIG, START + timedelta(hours=2))
    with pytest.raises(Unhealthy, match="at work since"):
        check_pulse(tmp_path, CONFIG, START + timedelta(hours=2, seconds=61))


def test_the_end_of_work_is_no_poll(tmp_path, clock):
    pulse = Pulse(tmp_path, clock)
    pulse.beat(at_work=True)
    clock.pass_s(200)
    pulse.beat(at_work=False)
    with pytest.raises(Unhealthy, match="200 s ago"):
        check_pulse(tmp_path, CONFIG, clock.now)


def test_a_node_started_anew_is_red_until_its_own_first_poll(tmp_path, clock):
    Pulse(tmp_path, clock).beat(at_work=False)
    Pulse(tmp_path, clock)
    with pytest.raises(Unhealthy, match="no poll was verified since the node started"):
        check_pulse(tmp_path, CONFIG, clock.now)


def test_a_node_that_ended_is_red_at_once(tmp_path, clock):
    pulse = Pulse(tmp_path, clock)
    pulse.beat(at_work=True)
    pulse.close()
    with pytest.raises(Unhealthy, match="does not run"):
        check_pulse(tmp_path, CONFIG, clock.now)


@pytest.mark.parametrize("content", ["", "{}", '{"polled_at":"2026-11-22T12:00:00Z"}', "[" * 3000, "\x00"])
def test_a_damaged_pulse_is_red(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(Unhealthy, match="damaged"):
        check_pulse(tmp_path, CONFIG, START)


def test_a_pulse_of_the_future_is_red(tmp_path, clock):
    Pulse(tmp_path, clock).beat(at_work=True)
    with pytest.raises(Unhealthy):
        check_pulse(tmp_path, CONFIG, START - timedelta(seconds=61))


def test_an_agent_beats_for_polls_that_were_verified_and_for_no_others(node):
    beats = []

    class Recorded(Pulse):
        def beat(self, at_work):
            beats.append(at_work)

    answers = iter([HubUnreachable("no answer"), None, HubUnreachable("no answer"), Enough()])

    def polling():
        answer = next(answers)
        if answer is not None:
            raise answer

    node.hub.polling = polling
    with pytest.raises(Enough):
        node.agent.run(Backoff(9, 1.0, 30.0, lambda _: None, lambda: 1.0), Recorded(node.folder, node.silo.clock))
    assert beats == [True, False]
