"""Lists of opt-outs against the journal: no old one is read by, and no lawful one locks its owner out."""

import os
import shutil
import signal
import sys

import pytest

from protocol.study_statements import StudyWithdrawn
from silo_node.agent.job_running import run_job
from silo_node.agent.jobs import find, jobs_of
from silo_node.agent.opt_out_record import OptOutRecord, check_opt_outs, take_opt_outs
from silo_node.agent.registering import register_dataset
from silo_node.agent.renewing import renew_dataset
from silo_node.agent.withdrawing import withdraw_people
from silo_node.dataset.registration import register
from silo_node.dataset.schema import Schema
from silo_node.errors import OptOutsRefused
from silo_node.private_files import write_private
from tests.unit.silo_node.agent.conftest import SCHEMA
from tests.unit.silo_node.agent.job_rig import FakeBox, submissions
from tests.unit.silo_node.agent.story import begin_study


def list_of(node):
    return node.silo.catalogue.opt_outs.file_of("patients")


def put_back(node):
    """Two withdrawals, and then the list as it was after the first."""
    withdraw_people(node.silo, "patients", ["p-1"])
    older = list_of(node).read_bytes()
    withdraw_people(node.silo, "patients", ["p-2"])
    newest = list_of(node).read_bytes()
    list_of(node).write_bytes(older)
    return newest


def test_a_list_from_an_old_backup_stops_the_node_at_its_start_and_says_what_to_do(node):
    newest = put_back(node)
    told = "2 people there, 1 on the list.*Restore the newest datasets/opt-outs.*subject import.*subject accept"
    with pytest.raises(OptOutsRefused, match=told):
        node.restart()
    list_of(node).write_bytes(newest)
    node.restart()


@pytest.mark.parametrize("spoil", ["older", "first", "gone", "another"])
def test_a_running_study_waits_for_the_right_list_and_charges_and_leaves_nothing(node, peers, spoil):
    begin_study(node, peers)
    empty = list_of(node).read_bytes()
    newest = put_back(node)
    if spoil == "first":
        list_of(node).write_bytes(empty)
    elif spoil == "gone":
        list_of(node).unlink()
    elif spoil == "another":
        node.silo.catalogue.opt_outs.add("patients", ["p-3"], "2026-11-22T12:00:00Z")
    peers.open(0)
    node.go()
    assert (node.runner.runs, node.charges()) == (0, [])
    assert node.silo.tasks.halted(peers.study) is None
    assert not node.hub.logged(StudyWithdrawn)
    write_private(list_of(node), newest)
    node.go()
    assert node.runner.runs == 1


def test_neither_registering_renewing_nor_reviewed_code_reads_by_an_old_list(node):
    job = submissions(node)()
    node.silo.tasks.jobs.answer(job, "approve", find(jobs_of(node.silo), job).asked.bundle)
    node.go()
    newest = put_back(node)
    node.runner.check = node.runner.extract = lambda *_: pytest.fail("rows were read")
    again = register("again", node.folder / "heart.csv", Schema(**SCHEMA), "patients", 6.0, 0.001, 4, 100)
    box = FakeBox()
    for read in (
        lambda: register_dataset(node.silo, again),
        lambda: renew_dataset(node.silo, "heart"),
        lambda: run_job(node.silo, find(jobs_of(node.silo), job), lambda: box),
    ):
        with pytest.raises(OptOutsRefused, match="old backup"):
            read()
    assert [one.name for one in node.silo.catalogue.list()] == ["heart"]
    assert box.runs == []
    list_of(node).write_bytes(newest)


def test_who_is_missing_on_an_old_list_can_be_withdrawn_again_in_any_number_of_steps(node):
    put_back(node)
    list_of(node).unlink()
    assert withdraw_people(node.silo, "patients", ["p-2"]) == 1
    with pytest.raises(OptOutsRefused, match="2 people there, 1 on the list"):
        check_opt_outs(node.silo, "patients")
    assert withdraw_people(node.silo, "patients", ["p-1"]) == 1
    check_opt_outs(node.silo, "patients")


def test_somebody_new_on_an_old_list_does_not_make_it_the_newest(node):
    put_back(node)
    assert withdraw_people(node.silo, "patients", ["p-9"]) == 1
    with pytest.raises(OptOutsRefused, match="2 people there, 2 on the list"):
        check_opt_outs(node.silo, "patients")


def test_an_owner_who_takes_the_list_as_it_is_says_so_for_good(node):
    newest = put_back(node)
    assert take_opt_outs(node.silo, "patients") == 1
    assert take_opt_outs(node.silo, "patients") is None
    check_opt_outs(node.silo, "patients")
    assert "owner: take the opt-outs of domain patients as they are, 1 people of 2" in [one.what for one in node.notes]
    list_of(node).write_bytes(newest)
    with pytest.raises(OptOutsRefused):
        check_opt_outs(node.silo, "patients")


def test_a_list_that_is_gone_cannot_be_taken_as_it_is(node):
    put_back(node)
    list_of(node).unlink()
    with pytest.raises(OptOutsRefused, match="are gone"):
        take_opt_outs(node.silo, "patients")


def test_a_domain_whose_name_begins_as_another_ones_has_a_record_of_its_own(node):
    withdraw_people(node.silo, "patients", ["p-1"])
    assert OptOutRecord(node.silo.voice, "patient").counted().people == 0
    assert OptOutRecord(node.silo.voice, "patients").counted().people == 1


FILES = ("withdrawing.py", "opt_out_record.py", "opt_outs.py", "private_files.py")


def withdraw_until(node, stop):
    """Withdraws p-1 in a process of its own that is killed at the ``stop``-th line; their number for 0."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        seen = set()

        def trace(frame, event, _):
            if not frame.f_code.co_filename.endswith(FILES):
                return None
            if event == "line":
                seen.add((frame.f_code.co_filename, frame.f_lineno))
                if len(seen) == stop:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        silo = node.open()
        sys.settrace(trace)
        withdraw_people(silo, "patients", ["p-1"])
        sys.settrace(None)
        os.write(writing, str(len(seen)).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with os.fdopen(reading) as told:
        return int(told.read() or 0)


def test_killed_at_any_line_a_withdrawal_locks_nobody_out_and_no_older_list_passes_after_it(node, tmp_path):
    withdraw_people(node.silo, "patients", ["p-2"])
    node.close()
    older, before = list_of(node).read_bytes(), tmp_path / "before"
    shutil.copytree(node.folder, before)
    lines = withdraw_until(node, 0)
    assert lines > 40
    for stop in range(1, lines + 1):
        shutil.rmtree(node.folder)
        shutil.copytree(before, node.folder)
        withdraw_until(node, stop)
        node.open()
        check_opt_outs(node.silo, "patients")
        known = node.silo.catalogue.opt_outs.load("patients", expected=True)
        assert known("p-2")
        if not known("p-1"):
            withdraw_people(node.silo, "patients", ["p-1"])
        list_of(node).write_bytes(older)
        with pytest.raises(OptOutsRefused):
            check_opt_outs(node.silo, "patients")
        node.close()
    node.open()
