"""A database is asked by a process that has the network and no study; the box that computes holds what it gave."""

import io
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration, register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import DatasetRefused, RunnerFailed, SourceUnreachable
from silo_node.runner.box.box import Level
from silo_node.runner.lent_files import FOLDER
from silo_node.runner.level import holds, sandbox_level
from silo_node.runner.process import Runner
from silo_node.runner.tasks import ExtractTask, TraceTask
from silo_node.runner.view import view_of_dataset
from tests.conformance.test_sources import ROWS, SCHEMA, described, place, postgresql, run

AT = "2026-11-22T03:29:00Z"


@pytest.fixture
def asked(postgres: str, tmp_path: Path) -> Registration:
    source = postgresql(postgres, tmp_path)(ROWS)
    return register("clinic", source, parse_schema(SCHEMA, "clinic.yaml"), "patients", 8.0, 1e-3, 4, 4)


@pytest.fixture(params=["bubblewrap", "landlock"])
def level(request: pytest.FixtureRequest) -> Level:
    wanted: Level = request.param
    assert holds(wanted), f"this machine offers no box of level {wanted}"
    return wanted


@pytest.fixture
def silo(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "silo" / "datasets")


@pytest.fixture
def runner(silo: Catalogue) -> Iterator[Runner]:
    with Runner(silo.folder, limit_s=120, warm=False, level=sandbox_level) as runner:
        yield runner


def left(silo: Catalogue) -> list[Path]:
    return [path for path in (silo.folder / FOLDER).rglob("*") if path.is_file()]


def test_what_a_box_without_network_reads_is_what_the_query_gives(
    asked: Registration, silo: Catalogue, level: Level
) -> None:
    with Runner(silo.folder, limit_s=120, warm=False, level=lambda: level) as runner:
        registered = silo.add(asked, runner.check, AT)
        assert registered.commitment == silo.check(asked).commitment
        rows = io.BytesIO()
        runner.extract(ExtractTask("clinic", ("age", "visits")), rows)
        values = np.frombuffer(rows.getvalue(), "<f8").reshape(-1, 2)
        assert sorted(map(tuple, values.tolist())) == [(18.0, 0.0), (41.0, 50.0), (63.5, 2.0), (70.25, 3.0)]
        assert runner.trace(TraceTask("p-1", "clinic", (0.0, 0.5))) != ("unreadable", "unreadable")
        # Where the box has a file system of its own they have no names outside once it holds them.
        modes = {path.name: path.stat().st_mode & 0o777 for path in left(silo)}
        assert modes == ({} if level == "bubblewrap" else {"answer.fetched": 0o400, "rows": 0o600, "copy": 0o600})
        assert (silo.folder / FOLDER).stat().st_mode & 0o777 == 0o700
    assert left(silo) == []


def test_a_database_that_is_away_is_told_from_one_that_gives_something_else(
    asked: Registration, silo: Catalogue, runner: Runner
) -> None:
    silo.add(asked, runner.check, AT)
    runner.close()
    source = Path(asked.source)
    there = source.read_text()
    source.write_text(re.sub(r"(?m)^host: .*$", f"host: {source.parent}", there))
    with pytest.raises(SourceUnreachable, match="cannot be reached"):
        runner.extract(ExtractTask("clinic", ("age",)), io.BytesIO())
    source.write_text(there)
    runner.extract(ExtractTask("clinic", ("age",)), io.BytesIO())


def test_a_database_that_has_changed_since_is_not_computed_on(
    asked: Registration, silo: Catalogue, runner: Runner, postgres: str
) -> None:
    silo.add(asked, runner.check, AT)
    run(postgres, "UPDATE visit SET age = '64' WHERE patient = 'p-1'")
    with Runner(silo.folder, limit_s=120, warm=False, level=sandbox_level) as other:
        with pytest.raises(DatasetRefused, match="its source is not what was registered"):
            other.extract(ExtractTask("clinic", ("age",)), io.BytesIO())
        renewed = silo.renew("clinic", other.check, AT)
        assert renewed.commitment == silo.check(asked).commitment
        other.extract(ExtractTask("clinic", ("age",)), io.BytesIO())


def test_the_box_holds_neither_the_query_nor_the_way_to_the_database(asked: Registration, silo: Catalogue) -> None:
    password = Path(asked.source).with_name("password")
    password.write_text("hunter2")
    password.chmod(0o600)
    described(password.parent, Path(asked.source).read_text().partition("\n")[2] + "password_file: password\n")
    view = view_of_dataset(silo.add(asked, silo.check, AT), silo)
    assert {path.name for path in view.paths} == {
        "clinic.json",
        "fingerprint.key",
        "split-patients.key",
        "patients.list",
    }
    assert {path.name for path, _, _ in view.asked_by} == {"clinic.yaml", "clinic.sql", "password"}


def test_what_is_wrong_with_a_query_is_said_by_the_box_s_agent_with_no_value(
    asked: Registration, silo: Catalogue, runner: Runner, postgres: str
) -> None:
    described(Path(asked.source).parent, place(postgres), "DELETE FROM visit RETURNING *")
    with pytest.raises(DatasetRefused, match=r"SELECT|writes") as refused:
        silo.add(asked, runner.check, AT)
    assert "hunter2" not in str(refused.value)
    assert silo.list() == () and left(silo) == []


def test_a_file_that_a_killed_node_left_is_removed_and_one_that_is_used_is_not(
    asked: Registration, silo: Catalogue, runner: Runner
) -> None:
    silo.add(asked, runner.check, AT)
    gone = silo.folder / FOLDER / "4194304-feed"
    gone.mkdir()
    (gone / "answer.fetched").write_bytes(b"rows")
    (gone / "tmp").symlink_to(silo.folder)  # What lies behind a link is not removed.
    with Runner(silo.folder, limit_s=120, warm=False, level=lambda: "landlock") as other:
        other.extract(ExtractTask("clinic", ("age",)), io.BytesIO())
        held = left(silo)
        assert {path.parent.name.partition("-")[0] for path in held} == {str(os.getpid())}
        runner.extract(ExtractTask("clinic", ("age",)), io.BytesIO())
        assert left(silo) == held and not gone.exists() and silo.get("clinic")


def test_an_answer_that_breaks_off_after_rows_have_come_is_no_answer(
    asked: Registration, silo: Catalogue, runner: Runner, postgres: str
) -> None:
    """What came before was read while it came."""
    many = "SELECT 'p-' || g AS patient, 18 AS age, 0 AS visits, 'I' AS stage, 1 / (5000 - g) * 0 AS ill FROM "
    described(Path(asked.source).parent, place(postgres), many + "generate_series(1, 5000) AS g")
    with pytest.raises(DatasetRefused, match="could not run the query to its end"):
        silo.add(asked, runner.check, AT)
    assert silo.list() == () and runner.process_id is None and left(silo) == []


def test_a_process_that_asks_and_is_killed_gives_no_answer(
    asked: Registration, silo: Catalogue, runner: Runner, postgres: str
) -> None:
    described(Path(asked.source).parent, place(postgres), "SELECT *, pg_sleep(600) FROM visit")
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(silo.add, asked, runner.check, AT)
        while not (asking := [int(at) for at in os.listdir("/proc") if at.isdecimal() and asks(at)]):
            time.sleep(0.05)
        os.kill(asking[0], signal.SIGKILL)
        with pytest.raises(RunnerFailed, match="exit status -9"):
            adding.result(60)
    assert silo.list() == () and left(silo) == []


def asks(process: str) -> bool:
    """Whether it is a child of this one that asks a database."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"silo_node.runner.fetching" in words and str(os.getpid()).encode() in words
