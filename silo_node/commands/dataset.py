"""``consortia-silo dataset``: register data, fix its budget, see what is registered."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from protocol.accounting import best_order
from protocol.charter import Charter
from silo_node.agent.answers import studies_of
from silo_node.agent.forecasting import forecasts
from silo_node.agent.opt_out_record import check_opt_outs
from silo_node.agent.registering import register_dataset, try_to_publish
from silo_node.agent.renewing import renew_dataset
from silo_node.agent.shelving import keep_shelf, shelf_of
from silo_node.agent.silo import Silo
from silo_node.app import open_silo
from silo_node.commands.ledger_tables import forecast_line
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.commands.profile_table import profile_tables
from silo_node.dataset.registration import Dataset, Registration, register
from silo_node.dataset.schema import read_schema
from silo_node.errors import DatasetRefused

app = typer.Typer(no_args_is_help=True, help="Register datasets and see them.")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name all silos of a study use for it.")],
    source: Annotated[Path, typer.Option(help="A CSV or Parquet file, or a .yaml that describes a query or images.")],
    schema: Annotated[Path, typer.Option(help="The declared schema, YAML.")],
    rows: Annotated[int, typer.Option(help="The row count to publish; type it, it is never computed.")],
    epsilon: Annotated[float, typer.Option(help="The privacy domain's cap, for good.")],
    delta: Annotated[float, typer.Option(help="The privacy domain's delta, for good.")],
    domain: Annotated[str, typer.Option(help="The privacy domain: whose data this is.")] = "patients",
    other_persons: Annotated[
        str | None, typer.Option(help="Beside another domain: why these are other persons. Signed, dated, published.")
    ] = None,
    folder: Folder = Path("silo"),
) -> None:
    """Check a dataset in full, fix its privacy budget, and publish its schema.

    A domain's budget is never refilled. New rows of the same persons go into the domain they have; only for other
    persons is there a new one, by --other-persons.
    """
    declared = read_schema(schema)
    asked = register(name, source, declared, domain, epsilon, delta, best_order(epsilon, delta), rows)
    with open_silo(folder) as (silo, _):
        dataset = register_dataset(silo, asked, other_persons)
        published = try_to_publish(silo, dataset)
        unshelved = _shelve(silo)
    out.print(
        f"[green]Registered [bold]{name}[/bold][/green]: {len(dataset.declared.names)} columns, "
        f"{rows} rows published; privacy domain {domain}: epsilon {epsilon:g}, delta {delta:g} for each "
        f"[bold]{dataset.unit}[/bold], for good."
    )
    if not published:
        out.print("[yellow]Not published yet[/yellow]: the node does so once it runs and this silo is admitted.")
    if unshelved:
        out.print(f"[yellow]Without a mock side yet[/yellow]: {escape(unshelved)}; the node tries again at its start.")


@app.command("list")
def list_(folder: Folder = Path("silo")) -> None:
    """The registered datasets."""
    table = Table("dataset", "columns", "published rows", "domain", "unit", "epsilon", "delta")
    with open_silo(folder) as (silo, _):
        for one in silo.catalogue.list():
            cap = (one.domain, one.unit, one.epsilon, one.delta)
            table.add_row(*(str(cell) for cell in (one.name, len(one.declared.names), one.published_rows, *cap)))
        told = forecasts(silo, studies_of(silo))
    out.print(table)
    for forecast in told:
        out.print(forecast_line(forecast), highlight=False)


@app.command("shelf")
def shelf(folder: Folder = Path("silo")) -> None:
    """Bring the syft datasets in syft/ up to date, and show who may see which side."""
    table = Table("dataset", "mock side: rows made from the schema", "private side")
    with open_silo(folder) as (silo, _):
        made = keep_shelf(silo, _charter(silo))
        shelved = shelf_of(silo)
        for name in shelved.names():
            table.add_row(name, ", ".join(shelved.readers(name)) or "nobody yet", "nobody: a reference, no rows")
    out.print(table)
    if made:
        out.print(f"made now: {', '.join(made)}")


def _shelve(silo: Silo) -> str:
    """Why the shelf could not be kept; a registration stands all the same."""
    try:
        keep_shelf(silo, _charter(silo))
    except DatasetRefused as problem:
        return str(problem)
    return ""


def _charter(silo: Silo) -> Charter | None:
    """The charter in force as this silo last verified it; None before its node has followed the log."""
    follower = silo.tasks.follower()
    return None if follower is None else follower.charter


@app.command("renew")
def renew(name: str, folder: Folder = Path("silo")) -> None:
    """Commit to what the source holds now, under the same terms. Studies accepted before stop at their next round."""
    with open_silo(folder) as (silo, _):
        dataset = renew_dataset(silo, name)
    out.print(
        f"[green]Renewed [bold]{name}[/bold][/green]: same terms, domain and {dataset.published_rows} published rows. "
        "Studies that were accepted on what it held before stop at their next round."
    )


@app.command("profile")
def profile(name: str, folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """The dataset in numbers, for your eyes only: gaps, clamped values, quantiles, drift since it was registered."""
    with open_silo(folder) as (silo, _):
        dataset = silo.catalogue.get(name)
        before = silo.catalogue.profile_before(name)
        check_opt_outs(silo, dataset.domain)
        checked = silo.runner.check(_registration(dataset))
    if as_json:
        print_json({"unchanged": checked.commitment == dataset.commitment, **checked.profile})
        return
    for table in profile_tables(checked.profile, before, dataset.declared):
        out.print(table)
    if checked.commitment != dataset.commitment:
        out.print(
            "[yellow]It is not what was registered: no study reads it.[/yellow] "
            f"Restore it, or: consortia-silo dataset renew {name}"
        )


def _registration(dataset: Dataset) -> Registration:
    return Registration(**{field: getattr(dataset, field) for field in Registration.model_fields})
