"""Reviewed code on the owner's pages: a yes is bound to what was shown, and only to what was shown whole."""

import re

import pytest

from protocol.job_statements import JobDiscarded, JobRefused
from silo_node.console.code_view import MAX_LINES
from tests.console.code_rig import TRAP, code_for, run
from tests.console.http_rig import Browser
from tests.console.owner_rig import make_owner
from tests.sample_study import consortium
from tests.unit.silo_node.agent.job_rig import CODE


@pytest.fixture(scope="module")
def group():
    return consortium()


@pytest.fixture
def node(group, tmp_path):
    made = make_owner(tmp_path / "silo", group)
    yield made
    made.close()


@pytest.fixture
def submit(node):
    return code_for(node)


@pytest.fixture
def owner(node):
    made = Browser(node)
    made.enter()
    return made


def answer(owner, job, choice, **changes):
    return owner.post(job, {**owner.form(job, choice, "code"), **changes}, "code")


def approved(node, owner, job):
    assert answer(owner, job, "approve").status_code == 303
    node.go()


def decisions(node):
    return [note.what for note in node.notes if note.what.startswith("owner: ")]


def test_a_form_for_other_code_or_an_older_page_approves_nothing(node, submit, owner):
    job, other = submit(), submit(TRAP, name="other")
    fields = owner.form(job, "approve", "code")
    for changes in (
        {"digest": "0" * 64},
        {"shown": "0" * 64},
        {"digest": owner.form(other, "approve", "code")["digest"]},
    ):
        assert owner.post(job, {**fields, **changes}, "code").status_code == 409
    assert owner.post(other, fields, "code").status_code == 409
    node.write(limits=(node.folder / "limits.toml").read_text().replace("medical-research", "quality"))
    assert owner.post(job, fields, "code").status_code == 409
    assert decisions(node) == []


def test_the_same_yes_sent_twice_counts_once(node, submit, owner):
    job = submit()
    fields = owner.form(job, "approve", "code")
    assert [owner.post(job, fields, "code").status_code for _ in range(2)] == [303, 303]
    assert len(decisions(node)) == 1


def test_a_run_after_the_page_was_shown_is_not_released_by_it(node, submit, owner):
    job = submit()
    approved(node, owner, job)
    run(node, job, {"mean": b"54.4"})
    fields = owner.form(job, "release", "code")
    run(node, job, {"rows": b"everybody"})
    assert owner.post(job, fields, "code").status_code == 409
    assert node.silo.tasks.jobs.answered(job, "release") is None


def test_outputs_that_the_page_can_not_show_are_not_released_by_it(node, submit, owner):
    job = submit()
    approved(node, owner, job)
    run(node, job, {"mean": b"54.4"})
    fields = owner.form(job, "release", "code")
    held = run(node, job, {"model.bin": b"\xff\x00"})
    page = owner.get(f"/code/{job}").text
    assert 'value="release"' not in page and "consortia-silo job outputs" in page
    shown = re.search(r'name="shown" value="(\w+)"', page)[1]
    assert owner.post(job, {**fields, "digest": held.digest, "shown": shown}, "code").status_code == 409
    assert node.silo.tasks.jobs.answered(job, "release") is None


def test_code_too_long_for_a_page_is_not_approved_by_it(node, submit, owner):
    job = submit(CODE + b"\n" * MAX_LINES)
    page = owner.get(f"/code/{job}").text
    assert f"consortia-silo job read {job[:12]}" in page
    assert 'value="approve"' not in page and 'value="refuse"' in page


def test_code_changed_on_the_disk_is_neither_shown_nor_approved(node, submit, owner):
    job = submit()
    fields = owner.form(job, "approve", "code")
    (node.folder / "jobs" / job / "bundle").write_bytes(b"evil")
    page = owner.get(f"/code/{job}").text
    assert "changed on this disk" in page and "evil" not in page and 'value="approve"' not in page
    assert owner.post(job, fields, "code").status_code == 409
    assert decisions(node) == []


def test_a_no_needs_a_reason_and_says_it(node, submit, owner):
    job = submit()
    assert answer(owner, job, "refuse", reason=" \n").status_code == 422
    assert decisions(node) == []
    assert answer(owner, job, "refuse", reason="Not\nour question.").status_code == 303
    node.go()
    assert [one.reason for one in node.hub.logged(JobRefused)] == ["Not our question."]
    kept = submit(TRAP)
    approved(node, owner, kept)
    run(node, kept, {"mean": b"54.4"})
    assert answer(owner, kept, "discard", reason="One row shows.").status_code == 303
    node.go()
    assert [one.reason for one in node.hub.logged(JobDiscarded)] == ["One row shows."]
    assert "Over" in owner.get("/code").text
