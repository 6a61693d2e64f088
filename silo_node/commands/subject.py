"""``consortia-silo subject``: people who refused or withdrew."""

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from protocol.statistics_study import StatisticsContract
from silo_node.agent.opt_out_record import check_opt_outs, take_opt_outs
from silo_node.agent.silo import Silo
from silo_node.agent.withdrawing import Part, only_domain, parts_of, withdraw_people
from silo_node.app import open_silo
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.errors import DatasetRefused, OptOutsRefused

app = typer.Typer(no_args_is_help=True, help="People who refused or withdrew: their rows are left out of every read.")

Domain = Annotated[str | None, typer.Option(help="The privacy domain; needed where there are several.")]


@app.command("withdraw")
def withdraw(
    person: Annotated[str, typer.Argument(metavar="ID", help="As the subject column has it, else the record_id.")],
    domain: Domain = None,
    folder: Folder = Path("silo"),
) -> None:
    """Leave a person out of every read from now on, and say which models they had been part of."""
    with open_silo(folder) as (silo, _):
        named = only_domain(silo, domain)
        added = withdraw_people(silo, named, [person])
        out.print("Withdrawn." if added else "On the list already.", f"From now on no read of {named} has their rows.")
        _warn_unnamed(silo, named)
        _warn_old(silo, named)
        _say_parts(silo, named, person)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file: a header line, and an id in the first column.")],
    domain: Domain = None,
    folder: Folder = Path("silo"),
) -> None:
    """Leave out everyone in a file: all of them, or none if a line is wrong."""
    people = _people(file)
    with open_silo(folder) as (silo, _):
        named = only_domain(silo, domain)
        added = withdraw_people(silo, named, people)
        out.print(f"{added} people withdrawn from {named}; {len(set(people)) - added} were on the list already.")
        _warn_unnamed(silo, named)
        _warn_old(silo, named)


@app.command("accept")
def accept(domain: Domain = None, folder: Folder = Path("silo")) -> None:
    """Take a list as it is, where it isn't the one that the journal counts; that stands in the journal for good."""
    with open_silo(folder) as (silo, _):
        named = only_domain(silo, domain)
        taken = take_opt_outs(silo, named)
    if taken is None:
        out.print(f"The list of {named} is the newest by the journal; nothing was to be taken.")
    else:
        out.print(f"Taken: the list of {named} with {taken} people. Who is missing on it is read again.")


@app.command("count")
def count(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """How many people are on each domain's list."""
    with open_silo(folder) as (silo, _):
        counts = {domain: len(entries) for domain, entries in _lists(silo).items()}
    if as_json:
        print_json(counts)
        return
    table = Table("domain", "people who opted out")
    for domain, number in counts.items():
        table.add_row(domain, str(number))
    out.print(table)


@app.command("list")
def list_(domain: Domain = None, folder: Folder = Path("silo")) -> None:
    """The list of a domain: when each came, and their keyed hash. The ids themselves are not kept."""
    table = Table("since", "keyed hash")
    with open_silo(folder) as (silo, _):
        for hashed, since in _lists(silo)[only_domain(silo, domain)].items():
            table.add_row(since, hashed[:16])
    out.print(table)


def _lists(silo: Silo) -> dict[str, dict[str, str]]:
    datasets = silo.catalogue.list()
    return {dataset.domain: silo.catalogue.opted_out(dataset).entries for dataset in datasets}


def _warn_unnamed(silo: Silo, domain: str) -> None:
    for dataset in silo.catalogue.list():
        if dataset.domain == domain and not dataset.declared.identifying:
            out.print(
                f"[yellow]Dataset {dataset.name} names neither subject nor record[/yellow], so that nobody can be left "
                "out of it: it is read no more."
            )


def _warn_old(silo: Silo, domain: str) -> None:
    try:
        check_opt_outs(silo, domain)
    except OptOutsRefused as problem:
        out.print("[yellow]Nothing is read yet[/yellow]:", escape(str(problem)))


def _say_parts(silo: Silo, domain: str, person: str) -> None:
    parts = parts_of(silo, domain, person)
    if not parts:
        out.print(
            "No study of this silo has used rows under this id, by the datasets as they are now. If you expected "
            "some, compare the id letter by letter with the subject column."
        )
        return
    table = Table("study", "title", "its rows were", "outcome")
    for part in parts:
        table.add_row(part.record.study[:12], escape(part.record.contract.title), _stood(part), _outcome(part))
    out.print(table)
    out.print("By the datasets as they are now. What was computed can't be taken back; no later round has their rows.")


def _outcome(part: Part) -> str:
    record = part.record
    if record.released_to:
        return f"released to {', '.join(sorted(record.released_to))}"
    return record.closed.outcome if record.closed else "under way"


def _stood(part: Part) -> str:
    """A statistics study holds nothing out: all its rows were counted."""
    counted = isinstance(part.record.contract, StatisticsContract) and part.found == "trained"
    return "counted" if counted else part.found


def _people(file: Path) -> list[str]:
    """The first column. A line's number is named where it is wrong, and nothing that stands in it."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.reader(text, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DatasetRefused(f"{file} is not a CSV file in UTF-8 that can be read") from None
    people = [row[0].strip() if row else "" for row in rows[1:]]
    for number, person in enumerate(people, start=2):
        if not person:
            raise DatasetRefused(f"{file}: line {number} has no id in its first column; nobody was withdrawn")
    if not people:
        raise DatasetRefused(f"{file} names nobody below its header line")
    return people
