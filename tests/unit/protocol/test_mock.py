"""Mock rows: the same bits everywhere from the published schema alone, within it, and worth training on."""

import csv
import hashlib
import inspect
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import mock
from protocol.errors import Malformed
from protocol.mock import MARK, MAX_VALUES, MockRows, as_text, mock_rows, schema_digest, usual_count
from protocol.published_column import PublishedColumn
from silo_node.dataset.columns import DeclaredColumn

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "mock.json").read_text())
COLUMNS = tuple(PublishedColumn.model_validate(column) for column in VECTOR["columns"])

numbers = st.floats(allow_nan=False, allow_infinity=False)


def _inputs(made: MockRows, target: str) -> np.ndarray:
    """All columns but the target, on their ranges, and a constant."""
    others = [(made.column(c.name) - c.minimum) / (c.maximum - c.minimum) for c in made.columns if c.name != target]
    return np.column_stack([*others, np.ones(len(made.values))])


@st.composite
def schemas(draw: st.DrawFn) -> tuple[PublishedColumn, ...]:
    columns = []
    for place in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            category = draw(st.sampled_from([None, "c1", "c2"]))
            columns.append(
                PublishedColumn(name=f"b{place}", kind="binary", minimum=0.0, maximum=1.0, category=category)
            )
            continue
        low, high = sorted(draw(st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])))
        columns.append(PublishedColumn(name=f"n{place}", kind="number", minimum=low, maximum=high))
    return tuple(columns)


def test_the_rows_of_a_schema_are_these_very_bytes_on_every_machine() -> None:
    made = mock_rows(VECTOR["silo"], VECTOR["dataset"], COLUMNS, VECTOR["count"])
    assert schema_digest(VECTOR["silo"], VECTOR["dataset"], COLUMNS) == VECTOR["schema"]
    assert made.values[:3].tolist() == VECTOR["first"]
    assert hashlib.sha256(np.ascontiguousarray(made.values, "<f8").tobytes()).hexdigest() == VECTOR["sha256"]


@settings(max_examples=150, deadline=None)
@given(schemas(), st.integers(1, 40))
def test_every_value_is_of_its_columns_kind_and_within_its_range(
    columns: tuple[PublishedColumn, ...], count: int
) -> None:
    made = mock_rows("berlin", "heart", columns, count)
    assert made.values.shape == (count, len(columns))
    for column in columns:
        values = made.column(column.name)
        assert np.isfinite(values).all()
        assert (values >= column.minimum).all() and (values <= column.maximum).all()
        if column.kind == "binary":
            assert set(values.tolist()) <= {0.0, 1.0}
    for category in {column.category for column in columns} - {None}:
        values = [made.column(column.name) for column in columns if column.category == category]
        assert (np.sum(values, axis=0) == 1.0).all()


def test_a_row_has_exactly_one_value_of_a_category_and_each_value_has_rows() -> None:
    declared = DeclaredColumn(name="stage", kind="category", categories=("I", "II", "III", "not known"), missing="I")
    answers = [PublishedColumn(name=f"stage_{one}", kind="binary", minimum=0.0, maximum=1.0) for one in "xy"]
    made = mock_rows("berlin", "heart", (*declared.expanded(), *answers), 2000)
    stages, others = made.values[:, :4], made.values[:, 4:]
    assert (stages.sum(axis=1) == 1.0).all()
    assert (stages.mean(axis=0) > 0.02).all()
    assert set(others.sum(axis=1).tolist()) == {0.0, 1.0, 2.0}  # two answers with such names are no category


def test_of_two_equally_likely_values_a_row_has_the_first() -> None:
    above = np.array([[0.5, 0.5], [-1.0, -1.0], [-0.0, 0.0], [0.1, 0.2]])
    assert mock._one_of_each(above).tolist() == [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]


def test_a_number_is_no_value_of_a_category() -> None:
    with pytest.raises(ValueError, match="must be binary"):
        PublishedColumn(name="age", kind="number", minimum=0.0, maximum=9.0, category="stage")


def test_the_most_extreme_row_is_within_a_range_whose_ends_are_not_round() -> None:
    column = PublishedColumn(name="width", kind="number", minimum=0.124, maximum=9.876)
    trait = mock._Trait(loading=0.8, centre=0.5, spread=0.1, skewed=False, threshold=0.0)
    extremes = np.array([-40.0, 40.0])
    assert mock._values(column, trait, mock._mixed(trait, extremes, extremes)).tolist() == [0.124, 9.876]


def test_nothing_but_what_is_published_goes_into_mock_rows() -> None:
    assert list(inspect.signature(mock_rows).parameters) == ["silo", "dataset", "columns", "count"]
    assert not {"open", "Path", "random", "secrets", "os", "time"} & set(vars(mock))


def test_more_rows_begin_with_the_same_rows() -> None:
    few, many = (mock_rows("berlin", "heart", COLUMNS, count).values for count in (7, 400))
    assert (many[:7] == few).all()


def test_silos_with_one_schema_have_rows_of_their_own() -> None:
    ours, theirs = (mock_rows(silo, "heart", COLUMNS, 50).values for silo in ("berlin", "madrid"))
    assert not (ours == theirs).all(axis=1).any()


@pytest.mark.parametrize(
    "change",
    [{"maximum": 101.0}, {"unit": "months"}, {"name": "years"}],
    ids=["range", "unit", "name"],
)
def test_any_change_of_the_schema_makes_other_rows(change: dict[str, object]) -> None:
    changed = (COLUMNS[0].model_copy(update=change), *COLUMNS[1:])
    ours, theirs = (mock_rows("berlin", "heart", columns, 20).values for columns in (COLUMNS, changed))
    assert not (ours == theirs).all(axis=1).any()


def test_a_binary_column_is_learned_at_one_silo_and_holds_at_others() -> None:
    """Least squares on one silo's rows predicts better at others than the commoner answer: at each, and by 5 % of the
    rows between them. How much at one hangs on how rare the rarer answer is there."""
    silos = ("berlin", "madrid", "paris", "rome", "oslo")
    fitted, *others = (mock_rows(silo, "heart", COLUMNS, 2000) for silo in silos)
    for target in (column.name for column in COLUMNS if column.kind == "binary"):
        weights, *_ = np.linalg.lstsq(_inputs(fitted, target), fitted.column(target) - 0.5, rcond=None)
        gains = []
        for tested in others:
            answers = tested.column(target)
            accuracy = ((_inputs(tested, target) @ weights > 0) == (answers > 0.5)).mean()
            gains.append(accuracy - max(answers.mean(), 1 - answers.mean()))
        assert min(gains) > 0 and np.mean(gains) > 0.05, target


def test_numbers_are_neither_constant_nor_heaped_at_the_ends_of_their_range() -> None:
    made = mock_rows("berlin", "heart", COLUMNS, 2000)
    for column in COLUMNS:
        values = made.column(column.name)
        if column.kind == "number":
            assert len(np.unique(values)) > 20
            assert ((values == column.minimum) | (values == column.maximum)).mean() < 0.05
        else:
            assert 0.15 < values.mean() < 0.85


def test_whole_ranges_have_whole_values_and_narrow_ones_few_decimals() -> None:
    wide = PublishedColumn(name="age", kind="number", minimum=18.0, maximum=100.0)
    narrow = PublishedColumn(name="oldpeak", kind="number", minimum=-4.0, maximum=8.0)
    made = mock_rows("berlin", "heart", (wide, narrow), 200)
    assert all(value.is_integer() for value in made.column("age"))
    assert all(len(as_text(value).partition(".")[2]) <= 1 for value in made.column("oldpeak"))


def test_every_row_of_a_table_is_marked_as_mock_and_no_column_can_take_the_mark() -> None:
    made = mock_rows("berlin", "heart", COLUMNS, 3)
    lines = list(csv.reader(io.StringIO("".join(made.csv()))))
    assert [line[0] for line in lines] == [MARK, "mock-1", "mock-2", "mock-3"]
    assert lines[0][1:] == [column.name for column in COLUMNS]
    assert [[float(cell) for cell in line[1:]] for line in lines[1:]] == made.values.tolist()
    with pytest.raises(ValueError, match="name"):
        PublishedColumn(name=MARK, kind="binary", minimum=0.0, maximum=1.0)


@pytest.mark.parametrize(
    ("published", "columns", "count"), [(46, 14, 46), (10**6, 14, 1000), (10**6, 10_000, 100), (1, 10_000, 1)]
)
def test_a_wide_dataset_is_shown_by_fewer_rows(published: int, columns: int, count: int) -> None:
    assert usual_count(published, columns) == count


@pytest.mark.parametrize("count", [0, -1, MAX_VALUES])
def test_as_many_rows_as_would_fill_the_memory_are_refused(count: int) -> None:
    with pytest.raises(Malformed, match="at least 1 and at most"):
        mock_rows("berlin", "heart", COLUMNS, count)


def test_mock_rows_cannot_be_changed_and_say_what_they_are() -> None:
    made = mock_rows("berlin", "heart", COLUMNS, 3)
    with pytest.raises(ValueError, match="read-only"):
        made.values[0, 0] = 1.0
    assert "mock" in repr(made)
    with pytest.raises(Malformed, match="column lungs is not in the published schema"):
        made.column("lungs")
