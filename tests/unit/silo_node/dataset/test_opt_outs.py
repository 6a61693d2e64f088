"""Who opted out is in no read, whatever is killed, cut or lost."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.training_study import DataRequirement
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration, register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import DatasetRefused

NOW = "2026-11-22T03:29:00Z"


@pytest.fixture
def registered(catalogue: Catalogue, registration: Registration) -> Catalogue:
    catalogue.add(registration, catalogue.check, NOW)
    return catalogue


def ages(catalogue: Catalogue, requirement: DataRequirement) -> list[float]:
    return catalogue.open("clinic", requirement, 0.34, "subject").features[:, 1].tolist()


def test_a_person_who_withdrew_is_in_no_read_and_the_source_is_still_what_was_registered(
    registered: Catalogue, requirement: DataRequirement, registration: Registration
) -> None:
    assert len(ages(registered, requirement)) == 4
    assert registered.opt_outs.add("patients", ["p-1", "p-9"], NOW) == 2
    rows = registered.open("clinic", requirement, 0.34, "subject")
    assert (rows.features[:, 1].tolist(), rows.left_out) == ([18.0, 70.0, 41.0], 1)
    assert registered.check(registration).left_out == 1
    assert registered.check(registration).profile["rows"] == 3
    assert registered.get("clinic").published_rows == 4


def test_the_others_keep_their_sides_when_someone_withdraws(
    registered: Catalogue, requirement: DataRequirement
) -> None:
    before = registered.open("clinic", requirement, 0.5, "subject").is_training.tolist()
    registered.opt_outs.add("patients", ["p-2"], NOW)
    after = registered.open("clinic", requirement, 0.5, "subject").is_training.tolist()
    assert after == [before[0], *before[2:]]


def test_a_list_is_of_one_domain_and_holds_no_id(registered: Catalogue, requirement: DataRequirement) -> None:
    registered.opt_outs.add("staff", ["p-1"], NOW)
    assert len(ages(registered, requirement)) == 4
    registered.opt_outs.add("patients", ["p-1"], NOW)
    files = [path.read_bytes() for path in registered.opt_outs.folder.glob("*.list")]
    assert len(files) == 2
    assert not any(b"p-1" in data for data in files)
    one, other = (registered.opt_outs.load(domain, expected=True).entries for domain in ("staff", "patients"))
    assert not set(one) & set(other)
    assert {stat.S_IMODE(path.stat().st_mode) for path in registered.opt_outs.folder.iterdir()} == {0o600}


def test_withdrawing_twice_changes_nothing(registered: Catalogue) -> None:
    assert registered.opt_outs.add("patients", ["p-1", "p-1"], NOW) == 1
    assert registered.opt_outs.add("patients", ["p-1"], "2027-01-01T00:00:00Z") == 0
    assert [*registered.opt_outs.load("patients", expected=True).entries.values()] == [NOW]


@pytest.mark.parametrize("person", ["", " p-1", "p-1\n", "p\x00", "x" * 401])
def test_an_id_that_no_row_can_have_is_refused_and_nobody_is_added(person: str, registered: Catalogue) -> None:
    with pytest.raises(DatasetRefused, match="an id must have"):
        registered.opt_outs.add("patients", ["p-1", person], NOW)
    assert len(registered.opt_outs.load("patients", expected=True)) == 0


def test_a_list_that_is_gone_cut_or_edited_stops_every_read(
    registered: Catalogue, requirement: DataRequirement, registration: Registration
) -> None:
    registered.opt_outs.add("patients", ["p-1", "p-2"], NOW)
    path = registered.opt_outs.folder / "patients.list"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for spoiled in (b"", whole[:-1] + b"0", b"".join([lines[0], *lines[2:]]), lines[0] + lines[-1]):
        path.write_bytes(spoiled)
        with pytest.raises(DatasetRefused, match="cut or edited"):
            registered.open("clinic", requirement, 0.34, "subject")
    path.unlink()
    with pytest.raises(DatasetRefused, match="are gone"):
        registered.open("clinic", requirement, 0.34, "subject")
    newer = Registration.model_validate(dict(registration) | {"name": "clinic-two"})
    with pytest.raises(DatasetRefused, match="are gone"):
        registered.add(newer, registered.check, NOW)
    assert not path.exists()


def test_a_dataset_that_names_nobody_is_not_read_once_someone_of_its_domain_withdrew(
    registered: Catalogue, requirement: DataRequirement, source: Path
) -> None:
    text = (
        "format: consortia-schema/1\ntitle: T\nsensitivity: personal\ntarget: ill\ncolumns:\n"
        "  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}\n  - {name: ill, kind: binary}\n"
    )
    nameless = register("nameless", source, parse_schema(text, "s"), "other", 5.0, 1e-3, 4, 4)
    registered.add(nameless, registered.check, NOW)
    registered.opt_outs.add("other", ["p-1"], NOW)
    with pytest.raises(DatasetRefused, match="cannot leave them out"):
        registered.check(nameless)


WITHDRAWER = """
import os, sys
from pathlib import Path
from silo_node.dataset.catalogue import Catalogue
from silo_node.errors import DatasetRefused
lists = Catalogue(Path(sys.argv[1])).opt_outs
stop, seen = int(sys.argv[2]), 0

def trace(frame, event, argument):
    global seen
    if frame.f_code.co_filename.endswith(("opt_outs.py", "private_files.py")):
        if event == "line":
            seen += 1
            if seen == stop:
                os.kill(os.getpid(), 9)
        return trace

sys.settrace(trace)
lists.add("patients", ["p-1"], "2026-11-22T03:29:00Z")
sys.settrace(None)
print(seen)
"""


def test_killed_at_any_line_a_withdrawal_is_whole_or_not_made_and_earlier_ones_stand(registered: Catalogue) -> None:
    """In one process that forks: starting Python forty times would take longer than all else here."""
    registered.opt_outs.add("patients", ["p-2"], NOW)
    path = registered.opt_outs.folder / "patients.list"
    before = path.read_bytes()
    lines = _lines_of_a_withdrawal(registered)
    assert lines > 20
    path.write_bytes(before)
    for stop in range(1, lines + 1):
        pid = os.fork()
        if pid == 0:
            sys.argv = ["-", str(registered.folder), str(stop)]
            exec(WITHDRAWER, {"__name__": "withdrawer"})  # noqa: S102
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        known = registered.opt_outs.load("patients", expected=True)
        assert known("p-2")
        assert len(known) == 1 + known("p-1")
        registered.opt_outs.add("patients", ["p-1"], NOW)
        assert registered.opt_outs.load("patients", expected=True)("p-1")
        path.write_bytes(before)


def _lines_of_a_withdrawal(catalogue: Catalogue) -> int:
    command = [sys.executable, "-c", WITHDRAWER, str(catalogue.folder), "0"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
