"""``consortia audit``: take the log home, check it without the hub, write the report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.audit.replay import Audited
from client.audit.verify import verify_file
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    checked_digest,
    err,
    open_connection,
    out,
    print_json,
    print_table,
    say,
)
from client.errors import AuditFailed
from protocol import routes

app = typer.Typer(no_args_is_help=True, help="The record: export it, check it offline, report on it.")

MAX_EXPORT_BYTES = 2 * 1024**3
Log = Annotated[Path, typer.Argument(help="An export, from: consortia audit export")]
Founding = Annotated[
    str,
    typer.Option("--charter", envvar="CONSORTIA_CHARTER", help="Digest of the founding charter, from the admin"),
]


@app.command("export")
def export(
    hub: Hub,
    key: Key,
    to: Annotated[Path, typer.Option("--out", help="File to write")],
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole log to a file, as JSON Lines."""
    connection = open_connection(hub, key, charter)
    data = connection.session.get_bytes(routes.LOG_EXPORT, MAX_EXPORT_BYTES)
    to.write_bytes(data)
    founding = connection.log.chain.founding
    if as_json:
        print_json({"file": str(to), "bytes": len(data), "charter": founding})
    else:
        say(f"{to}: {len(data)} bytes; check it with: consortia audit verify {to} --charter {founding}")


@app.command("verify")
def verify(log: Log, charter: Founding, as_json: AsJson = False) -> None:
    """Check an export offline; exit code 1 and the first failing leaf if it does not hold."""
    try:
        audited = _audited(log, charter)
    except AuditFailed as failed:
        if as_json:
            print_json({"verified": False, "leaf": failed.leaf, "reason": str(failed)})
        else:
            out.print("[bold red]NOT VERIFIED[/bold red]")
            say(str(failed))
        raise typer.Exit(1) from None
    if as_json:
        print_json(_summary(audited))
        return
    _print_summary(audited)
    out.print(f"[bold green]VERIFIED[/bold green] {audited.size} leaves, every signature, budget and order of events")


def _audited(log: Path, charter: str) -> Audited:
    return verify_file(log, checked_digest(charter) or "")


def _summary(audited: Audited) -> dict[str, object]:
    spending = audited.spending
    return {
        "verified": True,
        "leaves": audited.size,
        "root": audited.checkpoint.root_hash.hex(),
        "charter_version": audited.chain.in_force.version,
        "kinds": dict(audited.kinds),
        "studies": {
            one.study: {
                "state": one.closed.outcome if one.closed else "open",
                "rounds_closed": sum(past.closed is not None for past in one.rounds.values()),
                "rounds_void": [index for index, past in sorted(one.rounds.items()) if past.voided is not None],
                "approved_by": sorted(one.approvals),
                "released_to": sorted(one.released_to),
            }
            for one in audited.studies.values()
        },
        "budgets": [
            {
                "silo": domain.silo,
                "domain": domain.name,
                "epsilon_spent": spending.epsilon_spent(domain),
                "epsilon_cap": domain.epsilon,
                "delta": domain.delta,
            }
            for domain in spending.domains.values()
        ],
    }


def _print_summary(audited: Audited) -> None:
    charter, signed = audited.chain.in_force, audited.checkpoint.signed_at
    say(f"{charter.consortium}: log {charter.log_origin}, charter version {charter.version}")
    say(f"checkpoint of {audited.size} leaves, signed {signed or 'at an unknown time'}")
    rows = [(kind, str(count)) for kind, count in sorted(audited.kinds.items())]
    print_table("Leaves", ("kind", "count"), rows)
    studies = [
        (
            one.study[:12],
            one.contract.title,
            one.closed.outcome if one.closed else "open",
            f"{sum(past.closed is not None for past in one.rounds.values())}",
            ", ".join(one.approvals) or "nobody",
        )
        for one in audited.studies.values()
    ]
    print_table("Studies", ("study", "title", "outcome", "rounds closed", "approved by"), studies)
    budgets = [
        (one.silo, one.name, f"{audited.spending.epsilon_spent(one):.3f}", f"{one.epsilon:g}", f"{one.delta:g}")
        for one in audited.spending.domains.values()
    ]
    print_table("Budgets, recomputed", ("silo", "domain", "epsilon spent", "cap", "delta"), budgets)


@app.command("report")
def report(
    log: Log,
    charter: Founding,
    to: Annotated[Path, typer.Option("--out", help="HTML file to write")],
) -> None:
    """Check an export and write what it proves as one HTML page."""
    from client.report import render_report  # Jinja2: not needed by the other commands

    page = render_report(_audited(log, charter), datetime.now(UTC))
    to.write_text(page, encoding="utf-8")
    err.print(f"report {to}", markup=False)
