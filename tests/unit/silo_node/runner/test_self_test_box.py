"""The self-test's process: in the box, bounded in time and words, and nothing it says is taken on trust."""

import sys
from pathlib import Path

import pytest

from silo_node.errors import RunnerFailed
from silo_node.runner import self_test_box
from silo_node.runner.self_test_box import run_self_test


def said(monkeypatch, program, limit_s=30.0):
    """What comes of a process that runs ``program`` in place of the self-test."""
    monkeypatch.setattr(self_test_box, "command", lambda box, level, arguments: [sys.executable, "-c", program])
    return list(run_self_test("quick", "none", 4096, limit_s))


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("print('{}')", "what no self-test says"),
        ("print('x' * 20_000)", "what no self-test says"),
        ("import sys; sys.exit(9)", "ended with 9"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
        ("""[print('{"type":"begun","versions":{}}') for _ in range(1001)]""", "more than it may"),
        ("import time; time.sleep(60)", "longer than it may"),
    ],
)
def test_what_ends_late_or_otherwise_than_it_must_is_no_self_test(monkeypatch, program, problem):
    with pytest.raises(RunnerFailed, match=problem):
        said(monkeypatch, program, 1.0 if "sleep" in program else 30.0)


def test_a_box_that_can_not_be_started_is_told(monkeypatch):
    monkeypatch.setattr(self_test_box, "command", lambda box, level, arguments: [str(Path("/nowhere/python"))])
    with pytest.raises(RunnerFailed, match="can't be started"):
        list(run_self_test("quick", "none", 4096))
