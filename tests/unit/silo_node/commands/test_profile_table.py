"""A profile in a terminal of 80 columns: whole names, and every category by its name."""

import io
import json

from rich.console import Console

from silo_node.commands.profile_table import profile_tables
from silo_node.dataset.profile import ColumnProfile, Profile
from silo_node.dataset.schema import Schema

DECLARED = {
    "format": "consortia-schema/1",
    "title": "Stays",
    "subject": "pid",
    "target": "ill",
    "sensitivity": "personal",
    "columns": [
        {"name": "creatinine_at_admission", "kind": "number", "minimum": 0, "maximum": 20},
        {"name": "creatinine_at_discharge", "kind": "number", "minimum": 0, "maximum": 20},
        {"name": "ward", "kind": "category", "categories": ["[red]Surgery", "Intensive care"]},
        {"name": "ill", "kind": "binary"},
    ],
}


def column(name: str, *counts: int, number: bool = True) -> ColumnProfile:
    value = 123.456 if number else None
    quantiles = (101.25, 110.5, 123.456, 130.25, 149.75) if number else ()
    return ColumnProfile(
        name=name, missing=3, clamped=0, minimum=value, maximum=value, mean=value, quantiles=quantiles, counts=counts
    )


def test_names_are_folded_and_not_cut_and_categories_are_named_in_80_columns() -> None:
    columns = (
        column("creatinine_at_admission", *[10] * 10),
        column("creatinine_at_discharge", *[10] * 10),
        column("ward", 61, 39, number=False),
        column("ill", *[50, *[0] * 8, 50]),
    )
    console = Console(width=80, record=True, file=io.StringIO())
    for table in profile_tables(
        Profile(rows=100, left_out=2, columns=columns).value(), None, Schema.model_validate_json(json.dumps(DECLARED))
    ):
        console.print(table)
    text = console.export_text()
    assert "…" not in text
    firsts = "".join(line[1:25].split(" ")[0] for line in text.splitlines())
    assert "creatinine_at_admission" in firsts and "creatinine_at_discharge" in firsts
    assert "[red]Surgery: 61, Intensive care: 39" in text
    assert max(map(len, text.splitlines())) <= 80
