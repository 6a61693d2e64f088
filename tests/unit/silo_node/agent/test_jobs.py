"""Reviewed code at a silo, before a hub in memory: what an owner has to do for anything to run or to leave."""

from datetime import UTC, datetime

import pytest

from protocol.job_bundle import bundle_of
from protocol.job_outputs import bundle_context, output_commitment, outputs_context, outputs_of, read_outputs
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobWithdrawn
from protocol.membership_statements import CharterPublished
from protocol.sealing.envelope import open_envelope
from silo_node.agent import job_answering
from silo_node.agent.job_reading import difference, reading, unusual
from silo_node.agent.job_running import run_job
from silo_node.agent.jobs import find, jobs_of
from silo_node.errors import HubDistrusted, HubUnreachable, RunnerFailed
from silo_node.errors import JobRefused as JobStopped
from silo_node.runner.analysis_box import Ended
from tests.unit.silo_node.agent.conftest import BASELINE, LIMITS
from tests.unit.silo_node.agent.job_rig import CODE, OUTPUTS, FakeBox, extract_two, submissions


@pytest.fixture
def asked(node):
    return submissions(node)


def record(node, job):
    return find(jobs_of(node.silo), job)


def approve(node, job):
    node.silo.tasks.jobs.answer(job, "approve", record(node, job).asked.bundle)
    node.go()


def run(node, job, box=None):
    return run_job(node.silo, record(node, job), lambda: box or FakeBox())


def released(node, job, held):
    node.silo.tasks.jobs.answer(job, "release", held.digest)
    node.go()


def test_code_is_read_approved_run_looked_at_and_released_and_only_who_asked_can_open_it(node, asked):
    job = asked()
    assert not node.hub.logged(JobAccepted) and not node.hub.logged(JobRefused)
    approve(node, job)
    (accepted,) = node.hub.logged(JobAccepted)
    assert (accepted.job, accepted.bundle) == (job, bundle_of({"analysis.py": CODE}).digest)
    box = FakeBox()
    held = run(node, job, box)
    node.go()
    assert box.runs == [CODE] and not node.hub.logged(JobReleased)
    released(node, job, held)
    (said,) = node.hub.logged(JobReleased)
    rosa, context = node.hub.group.researcher.receiving, outputs_context(job, "alpha", "rosa")
    opened = open_envelope(node.hub.blobs[said.blob], rosa.private, context)
    assert read_outputs(opened[32:]) == OUTPUTS
    assert said.commitment == output_commitment(opened[:32], opened[32:])
    assert said.privacy == "none"
    assert b"54.4" not in b"".join(node.hub.blobs.values())
    told = " ".join(event.what for event in node.notes)
    for what in (f"run job {job[:12]} on heart (age, ill) in a box of the tests", "its outputs are held"):
        assert what in told


def plain(node, job):
    return [path.name for path in (node.folder / "jobs" / job).iterdir() if path.name in ("held", "sealed", "run")]


def test_outputs_are_removed_from_the_silo_once_the_log_holds_their_release_and_not_before(node, asked):
    job = asked()
    approve(node, job)
    held = run(node, job)
    put, node.hub.put_job_blob = node.hub.put_job_blob, lambda data: (_ for _ in ()).throw(HubUnreachable("away"))
    with pytest.raises(HubUnreachable):
        released(node, job, held)
    assert sorted(plain(node, job)) == ["held", "sealed"]
    node.hub.put_job_blob = put
    node.go()
    assert len(node.hub.logged(JobReleased)) == 1
    assert plain(node, job) == []
    assert [event.what for event in node.notes][-1] == f"job {job[:12]}: its outputs are removed from this silo"
    with pytest.raises(JobStopped, match="were released; this silo keeps them no more"):
        job_answering.outputs_of(node.silo, record(node, job))
    said = len(node.notes)
    node.restart()
    node.go()
    assert len(node.notes) == said


def test_how_many_rows_of_people_who_opted_out_a_run_leaves_out_stands_in_the_journal_alone(node, asked):
    job = asked()
    approve(node, job)
    node.runner.extract = lambda task, rows: extract_two(rows, left_out=3)
    released(node, job, run(node, job))
    said = f"job {job[:12]}: 3 rows of people who opted out were left out"
    assert [event.what for event in node.notes].count(said) == 1
    assert len(node.hub.logged(JobReleased)) == 1
    assert "opted out" not in node.sent


def test_nothing_runs_before_the_log_says_that_the_owner_approved_this_very_code(node, asked):
    job = asked()
    box = FakeBox()
    with pytest.raises(JobStopped, match="is submitted"):
        run(node, job, box)
    node.silo.tasks.jobs.answer(job, "approve", "0" * 64)
    node.go()
    assert not node.hub.logged(JobAccepted)
    node.hub.say(JobAccepted, "silo:bravo", job=job, bundle=record(node, job).asked.bundle, policy="0" * 64)
    node.go()
    with pytest.raises(JobStopped):
        run(node, job, box)
    assert box.runs == []


def test_a_submission_that_is_logged_again_is_one_job_and_another_silos_is_none(node, asked):
    job = asked()
    again = next(signed for _, signed in node.hub.leaves if signed.digest == job)
    approve(node, job)
    node.hub.record(again)
    node.go()
    assert record(node, job).stage == "accepted"
    other = asked(silo="bravo")
    assert list(jobs_of(node.silo).records) == [job] and other != job


def test_a_hub_that_swaps_the_code_is_found_out_and_its_code_never_shown(node, asked):
    def swap(named, limit):
        return node.hub.blobs[named][:-1] + b"x"

    node.hub.get_job_blob = swap
    with pytest.raises(HubDistrusted, match="not the one that person:rosa signed for"):
        asked()
    assert node.silo.files.jobs.bundle(next(iter(jobs_of(node.silo).records)), "0" * 64) is None


@pytest.mark.parametrize(
    "made",
    [
        {"blob": b"no envelope" * 200},
        {"context": bundle_context("0" * 64, "rosa", "alpha")},
        {"context": bundle_context(bundle_of({"analysis.py": CODE}).digest, "grace", "alpha")},
        {"bundle": "0" * 64},
    ],
    ids=["no envelope", "for another bundle", "copied from another person", "another digest than the signed one"],
)
def test_a_sealed_bundle_that_is_not_what_was_signed_is_refused_by_itself(node, asked, made):
    job = asked(**made)
    (refused,) = node.hub.logged(JobRefused)
    assert (refused.job, refused.rule, refused.decided_by) == (job, "bundle", "policy")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"purpose": "fraud-detection"}, "purpose-allowed"),
        ({"columns": ("age", "salary")}, "columns-registered"),
        ({"dataset": "wages"}, "dataset-registered"),
    ],
)
def test_what_the_owners_limits_do_not_grant_is_refused_without_asking_anybody(node, asked, changes, rule):
    asked(**changes)
    assert [one.rule for one in node.hub.logged(JobRefused)] == [rule]


def test_limits_that_change_after_the_approval_stop_the_run(node, asked):
    job = asked()
    approve(node, job)
    node.write(limits=LIMITS.replace('heart = "registered"', 'heart = ["age"]'))
    box = FakeBox()
    with pytest.raises(JobStopped, match="by columns-granted: Asked for, and not granted: ill"):
        run(node, job, box)
    assert box.runs == []


def test_a_policy_that_holds_nothing_still_runs_no_code_that_nobody_approved(node, asked):
    before, _, after = BASELINE.read_text().partition('@hold\n@id("code-read")')
    node.write(policy=before + after[after.index("// End of the rules.") :])
    job = asked()
    node.go()
    assert not node.hub.logged(JobAccepted) and not node.hub.logged(JobRefused)
    approve(node, job)
    assert len(node.hub.logged(JobAccepted)) == 1


def test_an_owners_no_is_said_with_its_reason(node, asked):
    job = asked()
    node.silo.tasks.jobs.answer(job, "refuse", "It is not our question.")
    node.go()
    (refused,) = node.hub.logged(JobRefused)
    assert (refused.reason, refused.decided_by) == ("It is not our question.", "owner")


def test_a_withdrawn_or_ended_job_neither_runs_nor_leaves_and_its_outputs_go(node, asked):
    for end in ("withdrawn", "over"):
        job = asked(reason=end)
        approve(node, job)
        held = run(node, job)
        if end == "withdrawn":
            node.hub.say(JobWithdrawn, "person:rosa", job=job)
        else:
            node.now = datetime(2026, 12, 1, tzinfo=UTC)
        node.silo.tasks.jobs.answer(job, "release", held.digest)
        node.go()
        assert node.silo.files.jobs.held(job) is None
        with pytest.raises(JobStopped):
            run(node, job)
    assert not node.hub.logged(JobReleased)


def test_a_run_after_the_look_is_another_release(node, asked):
    job = asked()
    approve(node, job)
    looked_at = run(node, job)
    later = run(node, job, FakeBox(Ended("finished", outputs_of({"rows": b"everybody"}).encode())))
    assert later.digest != looked_at.digest
    released(node, job, looked_at)
    assert not node.hub.logged(JobReleased)
    with pytest.raises(JobStopped, match="on their way"):
        run(node, job)


def test_a_node_that_was_killed_between_approval_and_run_says_everything_once_and_releases_nothing(node, asked):
    job = asked()
    node.silo.tasks.jobs.answer(job, "approve", record(node, job).asked.bundle)
    node.hub.refusing = HubUnreachable("the answer was lost")
    with pytest.raises(HubUnreachable):
        node.agent.work()
    node.restart()
    node.hub.refusing = None
    node.go()
    node.restart()
    node.go()
    assert len(node.hub.logged(JobAccepted)) == 1

    class Killed(BaseException):
        pass

    box = FakeBox()
    box.run = lambda analysis: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        run(node, job, box)
    node.restart()
    node.go()
    assert node.silo.files.jobs.held(job) is None and not node.hub.logged(JobReleased)
    assert run(node, job).outcome == "finished"
    node.go()
    assert not node.hub.logged(JobReleased)


def test_a_release_that_was_cut_short_goes_on_with_the_same_words_and_bytes(node, asked):
    job = asked()
    approve(node, job)
    held = run(node, job)
    node.silo.tasks.jobs.answer(job, "release", held.digest)
    node.hub.refusing = HubUnreachable("the answer was lost")
    with pytest.raises(HubUnreachable):
        node.agent.work()
    sealed = node.silo.files.jobs.sealed(job)
    node.restart()
    node.hub.refusing = None
    node.go()
    (said,) = node.hub.logged(JobReleased)
    assert node.hub.blobs[said.blob] == sealed[32:]


def test_rows_and_outputs_are_private_and_the_rows_are_gone_after_the_run(node, asked):
    job = asked()
    approve(node, job)
    seen = {}

    class Looking(FakeBox):
        def run(self, analysis):
            paths = [analysis.rows, analysis.rows.parent, analysis.bundle / "analysis.py"]
            seen.update({path.name: path.stat().st_mode & 0o777 for path in paths})
            return super().run(analysis)

    run(node, job, Looking())
    folder = node.folder / "jobs" / job
    assert seen == {"rows": 0o600, "run": 0o700, "analysis.py": 0o600}
    assert not (folder / "run").exists()
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name in ("held", "bundle")} == {
        "held": 0o600,
        "bundle": 0o600,
    }
    with pytest.raises(RunnerFailed):
        run(node, job, FakeBox(RunnerFailed("the sandbox can't be started")))
    assert not (folder / "run").exists()


@pytest.mark.parametrize("ended", [Ended("failed", b"not a document"), Ended("timed-out", b"")])
def test_a_run_that_gave_no_outputs_says_so_to_the_owner_alone(node, asked, ended):
    job = asked()
    approve(node, job)
    held = run(node, job, FakeBox(ended))
    node.go()
    assert (held.outcome, list(held.outputs.contents)) == (ended.outcome, ["printed.txt"])
    assert ended.outcome not in node.sent


def test_what_is_discarded_is_gone_and_everybody_concerned_reads_why(node, asked):
    job = asked()
    approve(node, job)
    run(node, job)
    node.silo.tasks.jobs.answer(job, "discard", "One row could be told apart.")
    node.go()
    assert [one.reason for one in node.hub.logged(JobDiscarded)] == ["One row could be told apart."]
    assert node.silo.files.jobs.held(job) is None and not node.hub.logged(JobReleased)


def test_code_that_was_changed_on_the_disk_does_not_run(node, asked):
    job = asked()
    approve(node, job)
    path = node.folder / "jobs" / job / "bundle"
    path.write_bytes(bundle_of({"analysis.py": b"evil = 1\n"}).encode())
    with pytest.raises(JobStopped, match="changed on this disk"):
        run(node, job)


def test_who_is_no_researcher_any_more_gets_nothing(node, asked, group):
    job = asked()
    approve(node, job)
    held = run(node, job)
    charter = node.agent._follower.in_force
    after = group.charter(4, charter).model_copy(update={"people": charter.people[:1]})
    node.hub.say(CharterPublished, "person:ada", **group.published(after))
    released(node, job, held)
    assert not node.hub.logged(JobReleased)
    with pytest.raises(JobStopped, match="no researcher"):
        run(node, job)


HIDDEN = {
    "analysis.py": "x = 1 # \u202e }\u2066if\nпassword = 2\r\nimport os # \rimport sys\n".encode(),
    "notes.md": "caf\u00e9 \x1b[2J\n".encode(),
}


def test_code_is_shown_as_python_reads_it_with_nothing_hidden_reordered_or_imitated():
    bundle = bundle_of(HIDDEN)
    text = "\n".join(reading(bundle))
    for spelled in ("\\u{202e}", "\\u{2066}", "\\u{043f}assword", "\\u{000d}import sys", "\\u{001b}[2J", "café"):
        assert spelled in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert unusual(bundle) == ("analysis.py:1", "analysis.py:2", "analysis.py:3", "notes.md:1")


def test_a_diff_shows_what_came_went_and_changed_and_nothing_where_nothing_did():
    before = bundle_of({"analysis.py": b"a = 1\nb = 2\n", "old.py": b"x\n"})
    after = bundle_of({"analysis.py": "a = 1\nb = 3 # \u202e\n".encode(), "new.py": b"y\n"})
    lines = list(difference(before, after))
    for line in ("-b = 2", "+b = 3 # \\u{202e}", "--- approved/old.py", "+++ submitted/new.py", "-x", "+y"):
        assert line in lines
    assert list(difference(before, before)) == []


def test_the_last_approved_version_is_the_same_researchers_under_the_same_name(node, asked):
    first = asked()
    approve(node, first)
    refused = asked({"analysis.py": CODE + b"# more\n"})
    node.silo.tasks.jobs.answer(refused, "refuse", "no")
    other = asked({"analysis.py": CODE + b"# other\n"}, name="other")
    latest = asked({"analysis.py": CODE + b"# newest\n"})
    jobs = jobs_of(node.silo)
    assert jobs.last_approved(jobs.records[latest]).job == first
    assert jobs.last_approved(jobs.records[other]) is None
