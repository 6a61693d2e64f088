"""A self-test is on the record, and after one that failed nothing is computed until another passes."""

import json
from datetime import UTC, datetime

import pytest

from protocol.canonical import digest
from silo_node.agent.self_testing import FOLDER, SelfTest, require_no_failure, run_and_file, standing
from silo_node.errors import JournalDamaged, RunnerFailed, SelfTestFailed
from silo_node.journal.chain import Journal
from silo_node.selftest.measured import Begun, Finished, Measured, SelfTestReport
from silo_node.selftest.versions import PACKAGES, installed_version
from tests.unit.silo_node.agent.story import begin_study, run_round

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VERSIONS = {name: installed_version(name) for name in PACKAGES}
GOOD = Measured(check="noise", what="standard deviation", figure=1.001, low=0.99, high=1.01, alarm=1e-9)
BAD = GOOD.model_copy(update={"figure": 0.9})


def said(*figures, versions=VERSIONS, finished=True):
    yield Begun(versions=versions)
    yield from figures
    if finished:
        yield Finished(figures=len(figures))


def filed(journal, folder, *figures, depth="quick", versions=VERSIONS):
    test = SelfTest(depth, "bubblewrap", NOW)
    return run_and_file(test, said(*figures, versions=versions), journal, folder, lambda one: None)


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def test_a_self_test_is_in_the_journal_with_its_figures_versions_and_the_digest_of_its_report(journal, tmp_path):
    report = filed(journal, tmp_path, GOOD)
    (entry,) = journal.entries()
    assert (entry.event.kind, entry.event.to, entry.event.study) == ("self-test", "nobody", None)
    assert entry.event.what == (
        f"quick privacy self-test passed: 1 of 1 figures within bounds, in bubblewrap, on consortia "
        f"{VERSIONS['consortia']}, cryptography {VERSIONS['cryptography']}, numpy {VERSIONS['numpy']}, opacus "
        f"{VERSIONS['opacus']}, torch {VERSIONS['torch']}: standard deviation: 1.001"
    )
    path = tmp_path / FOLDER / f"{entry.event.digest}.json"
    data = path.read_bytes()
    assert (digest(data), len(data)) == (entry.event.digest, entry.event.size)
    assert SelfTestReport.model_validate_json(data) == report and report.passed
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_silo_whose_self_test_failed_computes_nothing_and_goes_on_when_one_passes(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    charged = node.charges()
    filed(node.journal, node.folder, GOOD, BAD)
    peers.open(1)
    node.go()
    assert 1 not in node.runner.vectors and node.charges() == charged
    assert node.silo.tasks.halted(peers.study) is None
    filed(node.journal, node.folder, GOOD)
    node.go()
    assert 1 in node.runner.vectors


def test_a_restart_does_not_forget_a_failed_self_test(node, peers):
    begin_study(node, peers)
    filed(node.journal, node.folder, BAD)
    peers.open(0)
    node.restart()
    node.go()
    assert node.runner.runs == 0


def test_a_quick_test_does_not_make_up_for_a_thorough_one_that_failed(journal, tmp_path):
    filed(journal, tmp_path, BAD, depth="thorough")
    filed(journal, tmp_path, GOOD)
    with pytest.raises(SelfTestFailed, match=r"entry 1.*--thorough"):
        require_no_failure(journal)
    filed(journal, tmp_path, GOOD, depth="thorough")
    require_no_failure(journal)
    filed(journal, tmp_path, BAD)
    with pytest.raises(SelfTestFailed, match="entry 4"):
        require_no_failure(journal)


@pytest.mark.parametrize(
    "broken",
    [
        said(GOOD, finished=False),
        said(),
        (one for one in (Begun(versions=VERSIONS), GOOD, Finished(figures=2))),
        said(GOOD.model_copy(update={"figure": None})),
    ],
    ids=["broke off", "no figure", "a figure lost", "a figure that is none"],
)
def test_what_is_not_known_to_be_good_failed(journal, tmp_path, broken):
    report = run_and_file(SelfTest("quick", "bubblewrap", NOW), broken, journal, tmp_path, lambda one: None)
    assert not report.passed
    with pytest.raises(SelfTestFailed):
        require_no_failure(journal)


def dies(*figures):
    yield Begun(versions=VERSIONS)
    yield from figures
    raise RunnerFailed("its process ended with -9")


def test_a_process_that_dies_in_the_test_is_a_failure_and_one_that_never_began_is_none(journal, tmp_path):
    report = run_and_file(SelfTest("quick", "none", NOW), dies(GOOD), journal, tmp_path, lambda one: None)
    assert report.failure == "its process ended with -9"
    assert next(journal.entries()).event.what.startswith("quick privacy self-test failed (its process ended with -9)")

    def never():
        raise RunnerFailed("can't be started")
        yield

    with pytest.raises(RunnerFailed):
        run_and_file(SelfTest("quick", "none", NOW), never(), journal, tmp_path, lambda one: None)
    assert len(list(journal.entries())) == 1


@pytest.mark.parametrize(("figure", "entries"), [(BAD, 1), (GOOD, 0)])
def test_who_interrupts_a_test_that_is_failing_can_not_keep_it_off_the_record(journal, tmp_path, figure, entries):
    def interrupt(one):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_file(SelfTest("quick", "none", NOW), said(figure), journal, tmp_path, interrupt)
    assert len(list(journal.entries())) == entries


def test_how_a_silo_stands_is_told_in_words(journal, tmp_path):
    assert standing(journal, tmp_path).words.startswith("never run")
    filed(journal, tmp_path, GOOD)
    assert standing(journal, tmp_path).good
    filed(journal, tmp_path, GOOD, versions={**VERSIONS, "torch": "1.0"})
    found = standing(journal, tmp_path)
    assert not found.good and f"torch went from 1.0 to {VERSIONS['torch']}" in found.words
    filed(journal, tmp_path, BAD)
    assert standing(journal, tmp_path).words.startswith("the privacy self-test of 2026-11-24T12:00:00Z failed")


def test_a_report_that_was_edited_or_taken_away_counts_for_nothing(journal, tmp_path):
    filed(journal, tmp_path, GOOD)
    (path,) = (tmp_path / FOLDER).iterdir()
    value = json.loads(path.read_bytes())
    path.write_text(json.dumps(value))
    assert "taken away" in standing(journal, tmp_path).words
    require_no_failure(journal)


def test_an_entry_that_was_edited_to_have_passed_is_noticed(journal, tmp_path):
    filed(journal, tmp_path, BAD)
    journal._db.execute("UPDATE journal SET event = CAST(replace(CAST(event AS TEXT), 'failed', 'passed') AS BLOB)")
    with pytest.raises(JournalDamaged):
        require_no_failure(journal)


def test_a_long_report_keeps_its_verdict_in_the_entry(journal, tmp_path):
    figures = [BAD.model_copy(update={"what": f"{'x' * 30} {place}"}) for place in range(200)]
    filed(journal, tmp_path, *figures)
    assert next(journal.entries()).event.what.startswith("quick privacy self-test failed (")
