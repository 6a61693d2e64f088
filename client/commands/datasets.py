"""``consortia datasets``: what the silos made known, and mock rows of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from client.catalogue import DatasetAtSilo, about, datasets, one_dataset
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    open_connection,
    out,
    print_json,
    print_table,
    say,
)
from client.errors import UsageRefused
from protocol.clauses import Column
from protocol.mock import NOTICE, MockRows, as_text

app = typer.Typer()

MOST_SHOWN: Final = 6
"""Mock rows that fit beside their columns' names on a screen of 80 columns."""


@app.command("datasets")
def datasets_(
    hub: Hub,
    key: Key,
    name: Annotated[str | None, typer.Argument(help="One dataset: its schema, silo by silo")] = None,
    mock: Annotated[bool, typer.Option("--mock", help="Show mock rows, made from the schema alone")] = False,
    rows: Annotated[int, typer.Option(min=1, help="How many mock rows")] = 5,
    silo: Annotated[str | None, typer.Option(help="Whose mock rows; the first silo's if not given")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the mock rows to this file; it must not exist")] = None,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """List the consortium's datasets; with a NAME, its schema; with --mock or --csv, mock rows of it."""
    connection = open_connection(hub, key, charter)
    if name is None:
        if mock or csv or silo:
            raise UsageRefused("mock rows: say of which dataset, as in: consortia datasets heart --mock")
        found = datasets(connection)
        print_json({one: _values(silos) for one, silos in found.items()}) if as_json else _print_all(found)
        return
    held = one_dataset(connection, name)
    if not (mock or csv):
        print_json(_values(held)) if as_json else _print_schema(name, held)
        return
    chosen = _chosen(held, name, silo)
    made = chosen.mock_of(rows)
    if csv is not None:
        _write(made, csv)
        say(f"{rows} mock rows of {name} at {chosen.owner}: {csv}")
        out.print(NOTICE, style="yellow", markup=False)
    elif as_json:
        print_json({"mock": True, "silo": chosen.owner, "columns": _names(made), "rows": made.values.tolist()})
    else:
        _print_mock(chosen, made)


def _chosen(held: Mapping[str, DatasetAtSilo], name: str, silo: str | None) -> DatasetAtSilo:
    if silo is None:
        return held[sorted(held)[0]]
    if silo not in held:
        raise UsageRefused(f"--silo: {silo} has registered no dataset {name}; it is at {', '.join(sorted(held))}")
    return held[silo]


def _values(held: Mapping[str, DatasetAtSilo]) -> dict[str, object]:
    return {silo: one.published.model_dump(mode="json") for silo, one in sorted(held.items())}


def _names(made: MockRows) -> list[str]:
    return [column.name for column in made.columns]


def _write(made: MockRows, path: Path) -> None:
    try:
        with path.open("x", newline="", encoding="utf-8") as file:
            file.writelines(made.csv())
    except FileExistsError:
        raise UsageRefused(f"--csv: {path} exists already; name a file that doesn't") from None


def _print_all(found: Mapping[str, Mapping[str, DatasetAtSilo]]) -> None:
    if not found:
        say("no silo has registered a dataset yet")
        return
    rows = [
        (name, silo, about(one.rows), str(len(one.columns)), one.unit, f"{one.published.epsilon:g}")
        for name, silos in found.items()
        for silo, one in sorted(silos.items())
    ]
    print_table("Datasets", ("dataset", "silo", "rows", "columns", "protects each", "epsilon cap"), rows)
    say("schema of one: consortia datasets NAME; mock rows: consortia datasets NAME --mock")


def _print_schema(name: str, held: Mapping[str, DatasetAtSilo]) -> None:
    """Each distinct column once, with the silos that have it so."""
    where: dict[Column, list[str]] = {}
    for silo, one in sorted(held.items()):
        for column in one.columns:
            where.setdefault(column, []).append(silo)
    columns = [
        (column.name, column.kind, _range(column), "all" if len(silos) == len(held) else ", ".join(silos))
        for column, silos in where.items()
    ]
    print_table(name, ("column", "kind", "range", "silos"), columns)
    caps = [
        (silo, about(one.rows), one.unit, f"{one.published.epsilon:g} at delta {one.published.delta:g}")
        for silo, one in sorted(held.items())
    ]
    print_table("At", ("silo", "rows", "protects each", "epsilon cap"), caps)
    say("rows: the counts that the owners published, to two digits; what they did not publish is nobody's to know")


def _range(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    return f"{as_text(column.minimum)} to {as_text(column.maximum)}{unit}"


def _print_mock(chosen: DatasetAtSilo, made: MockRows) -> None:
    shown = min(len(made.values), MOST_SHOWN)
    rows = [
        (column.name, *(as_text(value) for value in made.values[:shown, place]))
        for place, column in enumerate(made.columns)
    ]
    title = f"MOCK: {chosen.name} at {chosen.owner}"
    print_table(title, ("column", *(f"mock-{number}" for number in range(1, shown + 1))), rows)
    if shown < len(made.values):
        say(f"{len(made.values) - shown} more rows are not shown; --csv FILE writes all {len(made.values)}")
    out.print(NOTICE, style="yellow", markup=False)
