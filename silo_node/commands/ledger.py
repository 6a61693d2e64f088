"""``consortia-silo ledger``: what may be spent, caps beside the domain's own, and the ledger held against the log."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from protocol.accounting import budget
from protocol.spend import Cost
from silo_node.agent.answers import balances, find, studies_of
from silo_node.agent.declaring import set_cap, try_to_declare
from silo_node.agent.forecasting import forecasts
from silo_node.agent.memory import check_ledger
from silo_node.agent.reconciling import Line, mirror_lines, reconcile
from silo_node.agent.recovering import recover_ledger
from silo_node.agent.silo import Silo
from silo_node.app import one_node, open_silo
from silo_node.commands.ledger_tables import (
    forecast_line,
    line_values,
    print_balances,
    print_caps,
    print_lines,
    values,
    words,
)
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.errors import ConfigRefused, HubRefused, HubUnreachable, LedgerDamaged
from silo_node.ledger.budget import PrivacyDomain
from silo_node.ledger.caps import EACH, Cap

app = typer.Typer(help="What every privacy domain may spend, and has spent; caps, and the ledger held against the log.")
Domain = Annotated[str, typer.Option(help="The privacy domain; needed only where there are several.")]


@app.callback(invoke_without_command=True)
def show(context: typer.Context, folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """What every privacy domain may spend, and has spent, the caps beside it, and how many more studies fit."""
    if context.invoked_subcommand is not None:
        return
    with open_silo(folder) as (silo, _):
        found = [(balance, silo.ledger.caps(balance.domain.name)) for balance in balances(silo)]
        told, damaged = forecasts(silo, studies_of(silo)), _damage(silo)
    if as_json:
        print_json([values(balance, caps, told) for balance, caps in found])
    else:
        print_balances([balance for balance, _ in found])
        print_caps(found)
        for one in told:
            out.print(forecast_line(one), highlight=False)
    if damaged:
        raise LedgerDamaged(damaged)


@app.command()
def cap(
    reason: Annotated[str, typer.Option(help="Why; it stays in the journal.")],
    epsilon: Annotated[float | None, typer.Option(help="At the domain's delta and order.")] = None,
    share: Annotated[float | None, typer.Option(help="Or in percent of the domain's whole budget; 0 for none.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Or no such cap any more.")] = False,
    dataset: Annotated[str, typer.Option(help="A dataset's name, or 'each'.")] = "",
    study: Annotated[str, typer.Option(help="The beginning of a study's id, or 'each'.")] = "",
    recipient: Annotated[str, typer.Option(help="A recipient's name, or 'each'.")] = "",
    domain: Domain = "",
    folder: Folder = Path("silo"),
) -> None:
    """Cap what one dataset, study or recipient, or each one, may cost in all. The domain's own cap is never raised."""
    if sum((epsilon is not None, share is not None, lift)) != 1:
        raise ConfigRefused("say one of --epsilon, --share and --lift")
    if sum(map(bool, (dataset, study, recipient))) != 1:
        raise ConfigRefused("say one of --dataset, --study and --recipient")
    with open_silo(folder) as (silo, _):
        one = _domain(silo, domain)
        picos = None if lift else _picos(one, epsilon, share)
        if study:
            name = EACH if study == "each" else find(silo, study).study
            asked = Cap(one.name, "study", name, picos)
        elif recipient:
            asked = Cap(one.name, "recipient", EACH if recipient == "each" else recipient, picos)
        else:
            asked = Cap(one.name, "dataset", EACH if dataset == "each" else silo.catalogue.get(dataset).name, picos)
        set_cap(silo, asked, reason)
        published = try_to_declare(silo)
        standing = [held for held in silo.ledger.caps(one.name) if held.cap == asked]
    out.print(f"[green]Cap on {asked}[/green] in domain {one.name}: {words(standing, one)}.")
    if not published:
        out.print("[yellow]Not in the log yet[/yellow]: the node says so once it runs and this silo is admitted.")


@app.command("reconcile")
def reconcile_(
    folder: Folder = Path("silo"),
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the hub for its mirror.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the ledger against the log, and against the hub's mirror. Exit code 1 where they differ."""
    with open_silo(folder) as (silo, _):
        compared = reconcile(silo)
        mirrored = () if offline else _mirror(silo)
    lines = [*compared.lines, *mirrored]
    differences = [line for line in lines if line.verdict != "equal"]
    if as_json:
        print_json(
            {
                "leaves": compared.leaves,
                "equal": len(lines) - len(differences),
                "differences": [line_values(line) for line in differences],
            }
        )
    else:
        print_lines(differences)
        out.print(
            f"{len(lines) - len(differences)} of {len(lines)} things are equal in the ledger and in the log, "
            f"as read up to leaf {compared.leaves}."
        )
    if differences:
        raise typer.Exit(1)


@app.command()
def recover(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """Rebuild what a restored or lost ledger lacks from this silo's own signed statements. The node must not run."""
    with one_node(folder), open_silo(folder) as (silo, _):
        recovery = recover_ledger(silo)
        check_ledger(silo)
    found = {name: getattr(recovery, name) for name in ("domains", "caps", "charges", "settlements", "heads")}
    if as_json:
        print_json(found)
        return
    parts = ", ".join(f"{name} {number}" for name, number in found.items() if name != "heads")
    out.print(
        f"[green]Recovered[/green]: {parts} brought back; {recovery.heads} signed heads of the lost chain are on "
        "record. Nothing was refunded."
    )


def _domain(silo: Silo, name: str) -> PrivacyDomain:
    domains = {domain.name: domain for domain in silo.ledger.domains()}
    if not name and len(domains) == 1:
        (name,) = domains
    if name not in domains:
        known = ", ".join(domains) or "none"
        raise ConfigRefused(f"--domain {name or 'is needed'}: this silo's privacy domains are: {known}")
    return domains[name]


def _picos(domain: PrivacyDomain, epsilon: float | None, share: float | None) -> Cost:
    if epsilon is not None:
        return budget(epsilon, domain.delta, domain.order)
    if share is None or not 0 <= share <= 100:
        raise ConfigRefused(f"--share {share}: it must be from 0 to 100 percent")
    return int(domain.cap_picos * share / 100)


def _damage(silo: Silo) -> str:
    try:
        check_ledger(silo)
    except LedgerDamaged as problem:
        return str(problem)
    return ""


def _mirror(silo: Silo) -> tuple[Line, ...]:
    try:
        return mirror_lines(silo, silo.hub.budgets())
    except (HubUnreachable, HubRefused) as problem:
        out.print(f"[yellow]The hub's mirror was not compared[/yellow]: {escape(str(problem))}")
        return ()
