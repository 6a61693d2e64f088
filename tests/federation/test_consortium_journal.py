"""A silo's journal: as its owner reads it, as an officer checks it, and as somebody with the disk would mend it."""

import json
import sqlite3
from pathlib import Path

import pytest

from compose.loopback import OFFICER
from protocol.journal import chain_hash
from tests.federation.rig.hospitals import PROXIED, Hospitals

pytestmark = pytest.mark.slow

SILO = "cleveland"


@pytest.fixture(scope="module")
def finished(founded: Hospitals) -> str:
    """A study that is over: its statements stand in every silo's journal and in the log."""
    founded.all_up()
    study = founded.study()
    founded.completed(study)
    assert founded.same_state_everywhere(study)
    return study


def silo(hospitals: Hospitals, *words: str | Path) -> str:
    return hospitals.group.processes.run(["consortia-silo", *words, "--folder", hospitals.group.silo(SILO)])


def log_export(hospitals: Hospitals) -> Path:
    path = hospitals.group.folder / "log.jsonl"
    hospitals.group.consortia(OFFICER, "audit", "export", "--out", path)
    return path


def audit(hospitals: Hospitals, journal: Path, log: Path) -> list[str | Path]:
    return ["consortia", "audit", "journal", journal, "--log", log, "--charter", hospitals.group.founding]


def test_the_owner_reads_what_left_to_whom_in_which_study_and_where_it_is_proved(
    hospitals: Hospitals, finished: str
) -> None:
    shown = json.loads(silo(hospitals, "journal", "show", "--study", finished[:12], "--json"))
    kinds = {(one["study"], one["kind"]): (one["entries"], one["bytes"]) for one in shown["totals"]}
    assert {study for study, _ in kinds} == {finished}
    assert {kind for _, kind in kinds} >= {"statement", "chunk", "shares", "decision"}
    statements = [one for one in shown["entries"] if one["kind"] == "statement"]
    assert {"study-accepted", "spend-reserved", "upload-complete", "sum-verified"} <= {
        one["what"] for one in statements
    }
    for one in statements:
        assert one["log"]["leaf"] < one["log"]["size"]
        assert len(one["log"]["root"]) == 64
        assert one["log"]["signed_at"] >= one["at"]
    told = silo(hospitals, "journal", "show", "--study", finished[:12])
    assert f"in the log at {statements[0]['log']['leaf']};" in told


def test_a_period_shows_its_own_entries_only_and_the_chain_from_the_first(hospitals: Hospitals, finished: str) -> None:
    every = json.loads(silo(hospitals, "journal", "show", "--json"))["entries"]
    middle = every[len(every) // 2]["at"]
    before = json.loads(silo(hospitals, "journal", "show", "--to", middle, "--json"))
    after = json.loads(silo(hospitals, "journal", "show", "--from", middle, "--json"))
    assert all(one["at"] < middle for one in before["entries"])
    assert all(one["at"] >= middle for one in after["entries"])
    assert [one["entry"] for one in before["entries"] + after["entries"]][: len(every)] == [
        one["entry"] for one in every
    ]
    assert before["journal"]["head_at_end_of_period"] == before["entries"][-1]["hash"]
    assert after["journal"]["entries"] >= len(every)


def test_an_officer_holds_a_silos_journal_against_the_log_and_sees_what_is_proved(
    hospitals: Hospitals, finished: str
) -> None:
    path = hospitals.group.folder / "journal.jsonl"
    silo(hospitals, "journal", "export", "--out", path)
    log = log_export(hospitals)
    assert "VERIFIED" in hospitals.group.processes.run(audit(hospitals, path, log))
    checked = json.loads(hospitals.group.processes.run([*audit(hospitals, path, log), "--json"]))
    assert checked["silo"] == SILO
    assert checked["begins"]
    assert checked["statements_confirmed"] > 20
    assert checked["not_in_log"] == []


def test_a_statement_that_was_taken_out_of_an_exported_journal_is_missed_by_the_officer(
    hospitals: Hospitals, finished: str
) -> None:
    path, log = hospitals.group.folder / "journal.jsonl", log_export(hospitals)
    silo(hospitals, "journal", "export", "--out", path)
    header, *lines = path.read_text().splitlines()
    kept = [line for line in lines if '"what":"upload-complete"' not in line]
    assert len(kept) < len(lines)
    mended, head = [header], json.loads(header)["before"]
    for index, line in enumerate(kept, start=1):
        event = line[line.index('"event":') + 8 : line.rindex(',"hash"')]
        head = chain_hash(head, event.encode())
        mended.append(f'{{"entry":{index},"event":{event},"hash":"{head}"}}')
    path.write_text("\n".join(mended) + "\n")
    assert "is not the one that was signed there: upload-complete" in hospitals.refused(audit(hospitals, path, log))


def test_a_journal_whose_newest_statement_was_cut_off_stops_the_silo_and_every_command(
    hospitals: Hospitals, finished: str
) -> None:
    hospitals.stop(SILO)
    path = hospitals.group.silo(SILO) / "journal.sqlite"
    with sqlite3.connect(path) as database:
        (newest,) = database.execute(
            "SELECT max(entry) FROM journal WHERE json_extract(CAST(event AS TEXT), '$.kind') = 'statement'"
        ).fetchone()
        cut = database.execute("SELECT * FROM journal WHERE entry >= ?", (newest,)).fetchall()
        database.execute("DELETE FROM journal WHERE entry >= ?", (newest,))
    database.close()
    why = "the journal does not hold what this silo signed"
    for command in (["journal", "verify"], ["journal", "show"]):
        assert why in hospitals.refused(["consortia-silo", *command, "--folder", hospitals.group.silo(SILO)])
    hospitals.start(SILO)
    status, said = hospitals.ends(SILO)
    assert (status, why in said) == (1, True)
    with sqlite3.connect(path) as database:
        database.executemany("INSERT INTO journal VALUES (?, ?, ?)", cut)
    database.close()
    assert "journal whole" in silo(hospitals, "journal", "verify")
    hospitals.start(SILO)


def test_a_journal_that_is_taken_away_while_the_node_runs_stops_it_before_anything_leaves(
    hospitals: Hospitals, finished: str
) -> None:
    path = hospitals.group.silo(PROXIED) / "journal.sqlite"
    away = path.with_name("journal.away")
    sent: list[str] = []
    path.rename(away)

    def watch(request, answer):
        if request.method != "GET" and "tokens" not in request.path:
            sent.append(request.path)
        return answer

    hospitals.proxy.change = watch
    study = hospitals.study(step_timeout_s=20)
    status, said = hospitals.ends(PROXIED)
    assert status == 1
    assert "was removed or replaced while this node ran" in said
    assert sent == []
    assert not path.exists()
    assert "journal.sqlite is missing" in hospitals.refused(
        ["consortia-silo", "journal", "verify", "--folder", hospitals.group.silo(PROXIED)]
    )
    away.rename(path)
    hospitals.proxy.leave_alone()
    hospitals.start(PROXIED)
    hospitals.completed(study)
