"""A dataset's profile as tables for its owner's terminal: the numbers, and the categories by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from protocol import canonical
from silo_node.dataset.profile import CHANGED, SHIFTED, ColumnProfile, Profile, drift
from silo_node.dataset.schema import Schema


def profile_tables(value: Mapping[str, Any], before: bytes | None, declared: Schema) -> Iterator[Table]:
    """``value`` is the profile now, ``before`` the one kept at the registration."""
    now = Profile.model_validate_json(canonical.encode(dict(value)))
    known = {} if before is None else {one.name: one for one in Profile.model_validate_json(before).columns}
    named = {column.name: column.categories or () for column in declared.columns}
    numbers = _table("column", "missing", "clamped", "min", "5 %", "median", "95 %", "max", "mean", "drift")
    numbers.title = f"{now.rows} rows; {now.left_out} more are left out, of people who opted out"
    categories = _table("column", "missing", "rows with each value", "drift")
    for column in now.columns:
        shares, moved = _shares(column, now), _drift(known.get(column.name), column)
        if named.get(column.name):
            categories.add_row(column.name, shares[0], _counts(named[column.name], column), moved)
        else:
            numbers.add_row(column.name, *shares, *_values(column), moved)
    return (table for table in (numbers, categories) if table.row_count or table is numbers)


def _table(name: str, *others: str) -> Table:
    # Narrow: ten columns of numbers have to fit into 80 characters. A name is folded, never cut: two may begin alike.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(name, overflow="fold")
    for other in others:
        table.add_column(other)
    return table


def _counts(categories: tuple[str, ...], column: ColumnProfile) -> str:
    return ", ".join(f"{escape(name)}: {count}" for name, count in zip(categories, column.counts, strict=False))


def _shares(column: ColumnProfile, profile: Profile) -> tuple[str, str]:
    rows = max(1, profile.rows + profile.left_out)
    return f"{column.missing / rows:.1%}", f"{column.clamped / rows:.1%}"


def _values(column: ColumnProfile) -> tuple[str, ...]:
    if column.minimum is None or column.maximum is None or column.mean is None:
        return ("",) * 6
    low, middle, high = column.quantiles[0], column.quantiles[2], column.quantiles[4]
    return tuple(f"{one:.4g}" for one in (column.minimum, low, middle, high, column.maximum, column.mean))


def _drift(before: ColumnProfile | None, now: ColumnProfile) -> str:
    if before is None or len(before.counts) != len(now.counts):
        return "not known"
    index = drift(before, now)
    word = "" if index < SHIFTED else " shifted" if index < CHANGED else " changed"
    return f"{index:.2f}{word}"
