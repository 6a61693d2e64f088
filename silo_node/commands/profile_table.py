"""A dataset's profile as a table for its owner's terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from protocol import canonical
from silo_node.dataset.profile import CHANGED, SHIFTED, ColumnProfile, Profile, drift


def profile_table(value: Mapping[str, Any], before: bytes | None) -> Table:
    """``value`` is the profile now, ``before`` the one kept at the registration."""
    now = Profile.model_validate_json(canonical.encode(dict(value)))
    known = {} if before is None else {one.name: one for one in Profile.model_validate_json(before).columns}
    title = f"{now.rows} rows; {now.left_out} more are left out, of people who opted out"
    names = ("column", "missing", "clamped", "min", "5 %", "median", "95 %", "max", "mean", "drift")
    # Narrow: ten columns of numbers have to fit into 80 characters.
    table = Table(*names, title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in now.columns:
        table.add_row(column.name, *_shares(column, now), *_values(column), _drift(known.get(column.name), column))
    return table


def _shares(column: ColumnProfile, profile: Profile) -> tuple[str, str]:
    rows = max(1, profile.rows + profile.left_out)
    return f"{column.missing / rows:.1%}", f"{column.clamped / rows:.1%}"


def _values(column: ColumnProfile) -> tuple[str, ...]:
    if column.minimum is None or column.maximum is None or column.mean is None:
        counts = ", ".join(map(str, column.counts))
        return "", "", counts, "", "", ""
    low, middle, high = column.quantiles[0], column.quantiles[2], column.quantiles[4]
    return tuple(f"{one:.4g}" for one in (column.minimum, low, middle, high, column.maximum, column.mean))


def _drift(before: ColumnProfile | None, now: ColumnProfile) -> str:
    if before is None or len(before.counts) != len(now.counts):
        return "not known"
    index = drift(before, now)
    word = "" if index < SHIFTED else " shifted" if index < CHANGED else " changed"
    return f"{index:.2f}{word}"
