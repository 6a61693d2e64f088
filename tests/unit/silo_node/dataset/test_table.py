"""Files are read as declared, or refused naming the column and the row and no value."""

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo_node.dataset.schema import Schema, parse_schema
from silo_node.dataset.table import Table
from silo_node.errors import DatasetRefused
from tests.whole_tables import load

HEADER = "patient,age,pressure,smoker,ill\n"
GOOD = "p-1,63,145.5,0,1\np-2,17,230,1,0\n"


def csv(text: str, schema: Schema) -> Table:
    return load(text.encode(), ".csv", schema)


def refusal_of(text: str | bytes, schema: Schema) -> str:
    with pytest.raises(DatasetRefused) as refusal:
        load(text.encode() if isinstance(text, str) else text, ".csv", schema)
    return str(refusal.value)


def test_values_outside_their_range_are_counted_and_clamped(schema: Schema) -> None:
    table = csv(HEADER + GOOD, schema)
    assert table.values[:, table.places(("age", "pressure"))].tolist() == [[63.0, 145.5], [18.0, 220.0]]
    assert table.clamped == {"age": 1, "pressure": 1, "smoker": 0, "ill": 0}


def test_columns_may_stand_in_any_order_and_others_are_ignored(schema: Schema) -> None:
    shuffled = "ill,note,pressure,age,smoker,patient\n1,my secret,145.5,63,0,p-1\n0,,230,17,1,p-2\n"
    one, other = csv(shuffled, schema), csv(HEADER + GOOD, schema)
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.tags, other.tags)


def test_a_missing_column_is_named(schema: Schema) -> None:
    assert "lacks the declared columns: pressure" in refusal_of("patient,age,smoker,ill\np-1,63,0,1\n", schema)


def test_a_missing_subject_column_is_named(schema: Schema) -> None:
    assert "lacks the declared columns: patient" in refusal_of("age,pressure,smoker,ill\n63,1,0,1\n", schema)


def test_a_text_in_a_number_is_named_by_column_and_row_and_not_quoted(schema: Schema) -> None:
    said = refusal_of(HEADER + GOOD + "p-3,hunter2,120,0,1\np-4,hunter3,120,0,1\n", schema)
    assert "column age has a text where a number belongs in row 3 (2 rows in all)" in said
    assert "hunter" not in said


def test_all_problems_come_in_one_report(schema: Schema) -> None:
    said = refusal_of(HEADER + "p-1,,145,0,1\np-2,17,inf,2,1\n,18,NaN,yes,0\n", schema)
    for problem in (
        "column age has a missing value in row 1",
        "column pressure has a value that is not finite in row 2 (2 rows in all)",
        "column smoker has a value that is neither 0 nor 1 in row 2",
        "column smoker has a text where a number belongs in row 3",
        "column patient has a missing value in row 3",
    ):
        assert problem in said


@pytest.mark.parametrize("text", ["", "\n\n", "   "])
def test_an_empty_file_is_refused(text: str, schema: Schema) -> None:
    assert "the source is empty" in refusal_of(text, schema)


def test_a_file_without_rows_is_refused(schema: Schema) -> None:
    assert refusal_of(HEADER, schema) == "the source holds no rows"


def test_a_column_named_twice_is_refused(schema: Schema) -> None:
    assert "more than once: age" in refusal_of("patient,age,age,pressure,smoker,ill\np-1,1,2,3,0,1\n", schema)


def test_a_row_with_too_many_fields_is_named(schema: Schema) -> None:
    said = refusal_of(HEADER + GOOD + "p-3,63,145.5,0,1,hunter2\n", schema)
    assert said == "row 3 of the source has 6 fields, the header 5"


def test_a_row_with_too_few_fields_misses_values(schema: Schema) -> None:
    assert "column ill has a missing value in row 3" in refusal_of(HEADER + GOOD + "p-3,63,145.5,0\n", schema)


def test_bytes_that_are_not_utf_8_are_named_by_line(schema: Schema) -> None:
    said = refusal_of((HEADER + GOOD).encode() + b"p-3,\xff\xfe,1,0,1\n", schema)
    assert said == "line 4 of the source is not text in UTF-8"


def test_a_byte_order_mark_quotes_and_spaces_are_no_matter(schema: Schema) -> None:
    dressed = "\ufeff" + HEADER.replace("age", '"age"') + 'p-1," 63 ",145.5,FALSE,true\n p-2 ,17,230,1,0\n'
    one, other = csv(dressed, schema), csv(HEADER + GOOD, schema)
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.tags, other.tags)


def test_another_format_is_refused_naming_those_that_are_read(schema: Schema) -> None:
    with pytest.raises(DatasetRefused, match=r"ends in \.pkl; read are: \.csv, \.parquet, \.yaml, \.yml"):
        load(b"x", ".pkl", schema)


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_parquet_holds_the_same_table_as_csv(schema: Schema) -> None:
    frame = pl.DataFrame(
        {
            "patient": ["p-1", "p-2"],
            "age": [63, 17],
            "pressure": [145.5, 230.0],
            "smoker": [False, True],
            "ill": [1, 0],
            "note": ["a", "b"],
        }
    )
    one, other = load(parquet(frame), ".parquet", schema), csv(HEADER + GOOD, schema)
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.tags, other.tags)


def test_parquet_is_checked_like_csv(schema: Schema) -> None:
    frame = pl.DataFrame(
        {"patient": [1.5], "age": [None], "pressure": [float("nan")], "smoker": [[1]], "ill": [1]},
        schema_overrides={"age": pl.Int64},
    )
    with pytest.raises(DatasetRefused) as refusal:
        load(parquet(frame), ".parquet", schema)
    for problem in (
        "column age has a missing value in row 1",
        "column pressure has a value that is not finite in row 1",
        "column smoker holds values of type List",
        "column patient identifies the subject: it must hold integers or texts, not Float64",
    ):
        assert problem in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hunter2" * 100])
def test_what_is_no_parquet_is_refused_without_quoting_it(content: bytes, schema: Schema) -> None:
    with pytest.raises(DatasetRefused, match="not a Parquet file") as refusal:
        load(content, ".parquet", schema)
    assert "hunter2" not in str(refusal.value)


def test_a_record_id_that_comes_twice_is_refused() -> None:
    text = "format: consortia-schema/1\ntitle: T\nsensitivity: personal\nrecord_id: nr\ntarget: ill\n"
    schema = parse_schema(text + "columns: [{name: a, kind: binary}, {name: ill, kind: binary}]", "s")
    assert "column nr has the same record id twice, again in row 3" in refusal_of(
        "nr,a,ill\n7,0,1\n8,0,1\n7,1,1\n", schema
    )


def test_a_table_shows_no_row_when_printed(schema: Schema) -> None:
    assert "145" not in repr(csv(HEADER + GOOD, schema))


@given(st.text(max_size=12), st.sampled_from(["age", "smoker", "patient"]))
@settings(deadline=None, max_examples=150)
def test_no_text_in_a_cell_is_ever_quoted_or_crashes(cell: str, column: str) -> None:
    schema = parse_schema(
        "format: consortia-schema/1\ntitle: T\nsensitivity: personal\nsubject: patient\ntarget: ill\n"
        "columns: [{name: age, kind: number, minimum: 0, maximum: 9}, {name: smoker, kind: binary}, "
        "{name: ill, kind: binary}]",
        "s",
    )
    values = {"patient": "p", "age": "3", "smoker": "0", "ill": "1"} | {column: f"<{cell}>"}
    quoted = ",".join('"' + value.replace('"', '""') + '"' for value in values.values())
    try:
        table = load(f"patient,age,smoker,ill\n{quoted}\n".encode("utf-8", "surrogatepass"), ".csv", schema)
    except DatasetRefused as refusal:
        assert f"<{cell}>" not in str(refusal)
    else:
        assert np.isfinite(table.values).all()
