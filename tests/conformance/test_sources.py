"""Every kind of source gives the same table for the same rows, and refuses the same things with the same words."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi
from PIL import Image

from silo_node.dataset import scratch
from silo_node.dataset.fingerprint import Seal
from silo_node.dataset.schema import Schema, parse_schema
from silo_node.dataset.sources import opening
from silo_node.dataset.sources import parquet_file as parquet_source
from silo_node.dataset.sources import sqlite as sqlite_source
from silo_node.dataset.sources.csv_file import CsvFile
from silo_node.dataset.sources.opening import open_source
from silo_node.dataset.split import row_tags
from silo_node.dataset.table import read_table
from silo_node.errors import DatasetRefused
from tests.whole_tables import KEY, read

SCHEMA = """\
format: consortia-schema/1
title: A clinic
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}
  - {name: visits, kind: integer, minimum: 0, maximum: 50, missing: 0}
  - {name: stage, kind: category, categories: [I, II, not known], missing: not known}
  - {name: ill, kind: binary}
"""
COLUMNS = ("patient", "age", "visits", "stage", "ill")
ROWS = [
    ("p-1", 63.5, 2, "II", 1),
    ("p-2", 17.0, None, "I", 0),
    ("p-3", 70.25, 3, None, 1),
    ("p-4", 41.0, 60, "not known", 0),
]
Make = Callable[[Sequence[tuple[Any, ...]]], Path]


@pytest.fixture
def schema() -> Schema:
    return parse_schema(SCHEMA, "clinic.yaml")


@pytest.fixture(params=["csv", "parquet", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a source of a kind that holds the rows it is given."""
    kind: str = request.param
    if kind == "postgresql":
        return postgresql(request.getfixturevalue("postgres"), tmp_path)
    return lambda rows: {"csv": csv, "parquet": parquet, "sqlite": sqlite}[kind](tmp_path, rows)


def frame(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(COLUMNS), orient="row", infer_schema_length=None, strict=False)


def csv(folder: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    frame(rows).write_csv(folder / "clinic.csv")
    return folder / "clinic.csv"


def parquet(folder: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    frame(rows).write_parquet(folder / "clinic.parquet")
    return folder / "clinic.parquet"


def sqlite(folder: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    path = folder / "ward.sqlite"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE visit (patient, age, visits, stage, ill, secret)")
        connection.executemany("INSERT INTO visit VALUES (?, ?, ?, ?, ?, 'hunter2')", rows)
    connection.close()
    return described(folder, f"kind: sqlite\ndatabase: {path.name}\nquery: clinic.sql\n")


def described(folder: Path, text: str, query: str = "SELECT * FROM visit") -> Path:
    (folder / "clinic.sql").write_text(f"{query}  -- the clinic's\n")
    (folder / "clinic.yaml").write_text("format: consortia-source/1\n" + text)
    return folder / "clinic.yaml"


def place(uri: str) -> str:
    """Where the test's server listens, as a description has it."""
    socket = uri.partition("host=")[2]
    return f"kind: postgresql\nhost: {socket}\ndatabase: postgres\nuser: postgres\nquery: clinic.sql\n"


def run(uri: str, *statements: str) -> None:
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def literal(cell: object) -> str:
    return "NULL" if cell is None else "'" + str(cell).replace("'", "''") + "'"


def postgresql(uri: str, folder: Path) -> Make:
    def made(rows: Sequence[tuple[Any, ...]]) -> Path:
        texts = any(isinstance(row[1], str) for row in rows)
        values = ", ".join(f"({', '.join(map(literal, row))}, 'hunter2')" for row in rows)
        run(
            uri,
            "DROP TABLE IF EXISTS visit",
            f"CREATE TABLE visit (patient text, age {'text' if texts else 'numeric'}, visits text, stage text, "
            "ill text, secret text)",
            *([f"INSERT INTO visit VALUES {values}"] if rows else []),  # noqa: S608
        )
        return described(folder, place(uri))

    return made


def refusal(path: Path, schema: Schema) -> str:
    with pytest.raises(DatasetRefused) as refused:
        read(path, schema)
    assert "hunter2" not in str(refused.value)
    return str(refused.value)


def commitment(path: Path, schema: Schema) -> str:
    seal = Seal(KEY, schema)
    read_table(open_source(path), schema, seal, KEY)
    return seal.commitment()


def test_the_same_rows_are_the_same_table_from_every_source(make: Make, schema: Schema) -> None:
    table = read(make(ROWS), schema)
    assert table.names == ("age", "visits", "stage_i", "stage_ii", "stage_not_known", "ill")
    assert table.values.tolist() == [
        [63.5, 2, 0, 1, 0, 1],
        [18.0, 0, 1, 0, 0, 0],
        [70.25, 3, 0, 0, 1, 1],
        [41.0, 50, 0, 0, 1, 0],
    ]
    assert table.clamped == {"age": 1, "visits": 1, "stage": 0, "ill": 0}
    assert table.missing == {"age": 0, "visits": 1, "stage": 1, "ill": 0}
    assert table.tags[:, 0].tolist() == TAGS


TAGS = [int.from_bytes(tag, "big") for tag in (row_tags(KEY, [b"subject\0" + row[0].encode()])[:8] for row in ROWS)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("p-1", 63.5, 2, "II", 1), ("p-2", None, 2, "II", 1)], "column age has a missing value in row 2"),
        ([("p-1", "hunter2", 2, "II", 1)], "column age has a text where a number belongs in row 1"),
        (
            [("p-1", "NaN", 2, "II", 1), ("p-2", "inf", 2, "II", 1)],
            "age has a value that is not finite in row 1 (2",
        ),
        ([("p-1", 63.5, 2.5, "II", 1)], "column visits has a value that is no whole number in row 1"),
        ([("p-1", 63.5, 2, "hunter2", 1)], "column stage has a value that is no declared category in row 1"),
        ([("p-1", 63.5, 2, "II", 2)], "column ill has a value that is neither 0 nor 1 in row 1"),
        ([(None, 63.5, 2, "II", 1)], "column patient has a missing value in row 1"),
        ([], "the source holds no rows"),
    ],
)
def test_the_same_fault_is_refused_in_the_same_words_by_every_source(
    rows: list[tuple[Any, ...]], said: str, make: Make, schema: Schema
) -> None:
    assert said in refusal(make(rows), schema)


def test_a_column_that_a_source_lacks_is_named(make: Make, schema: Schema) -> None:
    wider = parse_schema(SCHEMA + "  - {name: weight, kind: number, minimum: 0, maximum: 300}\n", "s")
    assert "lacks the declared columns: weight" in refusal(make(ROWS), wider)


def test_huge_integers_are_clamped_and_never_wrap_around(make: Make, schema: Schema) -> None:
    table = read(make([("p-1", 63.5, 2**62, "I", 1), ("p-2", 63.5, -(2**62), "I", 1)]), schema)
    assert table.values[:, 1].tolist() == [50.0, 0.0]


def test_a_changed_cell_changes_the_commitment_and_reading_again_does_not(make: Make, schema: Schema) -> None:
    first = commitment(make(ROWS), schema)
    assert commitment(make(ROWS), schema) == first
    assert commitment(make([*ROWS[:3], ("p-4", 41.0, 60, "not known", 1)]), schema) != first
    assert commitment(make(ROWS[:3]), schema) != first


def test_people_who_opted_out_are_in_no_table(make: Make, schema: Schema) -> None:
    table = read(make(ROWS), schema, opted_out={"p-2", "p-4"}.__contains__)
    assert (table.values[:, 0].tolist(), table.left_out, len(table.tags)) == ([63.5, 70.25], 2, 2)


def test_small_batches_are_the_same_table_and_commitment(
    make: Make, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [(f"p-{number}", 20.0 + number % 70, number % 9, "I", number % 2) for number in range(500)]
    path = make(many)
    whole, first = read(path, schema), commitment(path, schema)
    for module in (sqlite_source, parquet_source):
        monkeypatch.setattr(module, "batch_rows", lambda _: 7)
    monkeypatch.setattr(opening, "CsvFile", lambda path: CsvFile(path, piece_bytes=100))
    again = read(path, schema)
    assert np.array_equal(whole.values, again.values)
    assert np.array_equal(whole.tags, again.tags)
    assert commitment(path, schema) == first


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
class TestDatabases:
    """A query only reads, is one statement, ends in time, and shows neither password nor row."""

    @pytest.fixture
    def source(self, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        if kind == "postgresql":
            return postgresql(request.getfixturevalue("postgres"), tmp_path)(ROWS)
        return sqlite(tmp_path, ROWS)

    def asked(self, source: Path, query: str, schema: Schema) -> str:
        source.with_name("clinic.sql").write_text(query)
        return refusal(source, schema)

    def test_the_order_that_a_query_asks_for_does_not_matter(self, source: Path, schema: Schema) -> None:
        first = commitment(source, schema)
        source.with_name("clinic.sql").write_text("SELECT * FROM visit ORDER BY patient DESC;")
        assert commitment(source, schema) == first

    @pytest.mark.parametrize(
        "query",
        [
            "DELETE FROM visit",
            "DELETE FROM visit RETURNING *",
            "SELECT * FROM visit; DELETE FROM visit",
            "SELECT * FROM visit) AS x; DELETE FROM visit; SELECT * FROM (SELECT * FROM visit",
            "WITH gone AS (DELETE FROM visit RETURNING *) SELECT * FROM gone",
        ],
    )
    def test_a_query_that_writes_or_is_two_is_refused_and_nothing_is_changed(
        self, query: str, source: Path, schema: Schema
    ) -> None:
        assert "query" in self.asked(source, query, schema)
        source.with_name("clinic.sql").write_text("SELECT * FROM visit")
        assert read(source, schema).rows == 4

    def test_a_slow_query_is_stopped(self, kind: str, source: Path, schema: Schema) -> None:
        source.write_text(source.read_text() + "timeout_s: 1\n")
        slow = {
            "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT v.* FROM n, visit v",
            "postgresql": "SELECT visit.* FROM visit, pg_sleep(600)",
        }[kind]
        assert "took longer than timeout_s, 1 s, and was stopped" in self.asked(source, slow, schema)

    @pytest.mark.parametrize("query", ["", ";", "SELEKT 1", "SELECT 'hunter2'::int", "SELECT * FROM nowhere"])
    def test_what_is_no_query_is_refused_without_quoting_it(self, query: str, source: Path, schema: Schema) -> None:
        assert "query" in self.asked(source, query, schema)

    def test_a_column_named_twice_is_refused(self, source: Path, schema: Schema) -> None:
        said = self.asked(source, "SELECT visit.*, 1 AS age FROM visit", schema)
        assert "more than once: age" in said


def test_a_function_that_writes_cannot_in_a_read_only_transaction(
    postgres: str, tmp_path: Path, schema: Schema
) -> None:
    source = postgresql(postgres, tmp_path)(ROWS)
    run(
        postgres,
        "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM set_config('transaction_read_only', 'off', false); DELETE FROM visit; RETURN 1; END $$",
    )
    source.with_name("clinic.sql").write_text("SELECT visit.* FROM visit, wipe()")
    assert "could not run the query" in refusal(source, schema)
    source.with_name("clinic.sql").write_text("SELECT * FROM visit")
    assert read(source, schema).rows == 4


def test_a_password_stands_in_no_file_error_or_repr(postgres: str, tmp_path: Path, schema: Schema) -> None:
    source = postgresql(postgres, tmp_path)(ROWS)
    text = source.read_text()
    source.write_text(text + "password: hunter2\n")
    assert "password: Extra inputs are not permitted" in refusal(source, schema)
    source.write_text(text.replace("user: postgres", "user: nobody") + "password_file: secret\n")
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o644)
    assert "chmod 600" in refusal(source, schema)
    (tmp_path / "secret").chmod(0o600)
    refusal(source, schema)
    assert "hunter2" not in repr(open_source(source))
    (tmp_path / "secret").unlink()
    assert "password_file" in refusal(source, schema)


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path, schema: Schema) -> None:
    text = "kind: postgresql\nhost: 127.0.0.1\nport: 1\ndatabase: d\nuser: hunter2\nquery: clinic.sql\ntls: none\n"
    assert "127.0.0.1 port 1 cannot be reached" in refusal(described(tmp_path, text), schema)


@pytest.mark.parametrize("text", ["", "[", "kind: sqlite", "kind: oracle", "kind: [sqlite]"])
def test_what_is_no_description_is_refused(text: str, tmp_path: Path, schema: Schema) -> None:
    assert "clinic.yaml" in refusal(described(tmp_path, text), schema)


# -- images

PICTURED = """format: consortia-schema/1
title: Scans
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: scan, kind: image, image: {width: 3, height: 2}}
  - {name: ill, kind: binary}
"""


@pytest.fixture
def pictured() -> Schema:
    return parse_schema(PICTURED, "scans.yaml")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "2026").mkdir(parents=True)
    for number in (1, 2):
        pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 51 // number
        Image.fromarray(pixels).save(folder / "2026" / f"{number}.png")
    return table_of(tmp_path, "2026/1.png", "2026/2.png")


def table_of(folder: Path, *names: str) -> Path:
    lines = [f"p-{place},{name},{place % 2}" for place, name in enumerate(names)]
    (folder / "scans.csv").write_text("\n".join(["patient,scan,ill", *lines]))
    source = folder / "album.yaml"
    source.write_text("format: consortia-source/1\nkind: images\ntable: scans.csv\nfolder: scans\ncolumn: scan\n")
    return source


def test_an_image_becomes_a_number_a_pixel(album: Path, pictured: Schema) -> None:
    table = read(album, pictured)
    assert table.names[:4] == ("scan_y0_x0", "scan_y0_x1", "scan_y0_x2", "scan_y1_x0")
    assert np.allclose(table.values[0], [0, 0.2, 0.4, 0.6, 0.8, 1.0, 0])
    assert [column.maximum for column in pictured.expanded[:2]] == [1.0, 1.0]


def test_a_changed_image_changes_the_commitment(album: Path, pictured: Schema) -> None:
    first = commitment(album, pictured)
    assert commitment(album, pictured) == first
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(album.parent / "scans/2026/2.png")
    assert commitment(album, pictured) != first


@pytest.mark.parametrize(
    "name",
    ["../scans.csv", "/etc/passwd", "", "2026/../../scans.csv", "2026", "link.png", "door/1.png", "pipe"],
)
def test_a_name_that_leaves_the_folder_or_is_a_link_is_refused(name: str, album: Path, pictured: Schema) -> None:
    scans = album.parent / "scans"
    (scans / "link.png").symlink_to(scans / "2026" / "1.png")
    (scans / "door").symlink_to(scans / "2026")
    os.mkfifo(scans / "pipe")
    assert "column scan, row 1" in refusal(table_of(album.parent, name), pictured)


def bomb(path: Path) -> None:
    Image.new("L", (5000, 5000)).save(path)


def coloured(path: Path) -> None:
    Image.new("RGB", (3, 2)).save(path)


def long_text(path: Path) -> None:
    path.write_bytes(b"hunter2" * 100)


def too_long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(17 * 2**20)


def cut(path: Path) -> None:
    whole = path.with_name("whole.jpg")
    Image.effect_noise((3, 2), 50).save(whole)
    path.write_bytes(whole.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (bomb, "not of the declared 3 x 2 pixels"),
        (coloured, "is not in grey"),
        (long_text, "not a PNG or JPEG"),
        (too_long, "more than 16777216 bytes"),
        (cut, "not a PNG or JPEG"),
    ],
)
def test_an_image_that_is_not_as_declared_is_refused_undecoded(
    spoil: Callable[[Path], None], said: str, album: Path, pictured: Schema
) -> None:
    spoil(album.parent / "scans/2026/2.png")
    assert said in refusal(album, pictured)
    assert "row 2" in refusal(album, pictured)


def test_an_image_column_needs_a_source_of_images(album: Path, pictured: Schema) -> None:
    assert "needs a source of kind images" in refusal(album.parent / "scans.csv", pictured)


# -- larger than memory


def test_a_matrix_over_its_bound_is_mapped_from_a_file_without_a_name(
    make: Make, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [(f"p-{number}", 20.0 + number % 70, number % 9, "I", number % 2) for number in range(500)]
    path, folder = make(many), tmp_path / "room"
    folder.mkdir()
    whole = read(path, schema)
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(folder))
    spilled = read_table(open_source(path), schema, Seal(KEY, schema), KEY, in_memory=10_000)
    assert spilled.values.base is not None
    assert np.array_equal(spilled.values, whole.values)
    assert list(folder.iterdir()) == []
