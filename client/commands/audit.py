"""``consortia audit``: take the log home, check it without the hub, write the report."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client.audit.cef import cef_line
from client.audit.dating import read_roots
from client.audit.events import convert
from client.audit.ocsf import ocsf_line
from client.audit.proof import prove as make_proof
from client.audit.proof import read_proof
from client.audit.selection import Selection
from client.audit.verify import verify_file
from client.commands.audit_journal import journal
from client.commands.audit_summary import (
    Founding,
    Log,
    print_summary,
    proof_summary,
    reading,
    say_failed,
    summary,
    write_file,
)
from client.commands.audit_watch import watch
from client.commands.options import (
    AsJson,
    Charter,
    checked_digest,
    err,
    open_connection,
    out,
    print_json,
    say,
)
from client.connection import Connection
from client.errors import AuditFailed, UsageRefused
from protocol import routes

app = typer.Typer(no_args_is_help=True, help="The record: export it, check it offline, report on it.")

MAX_EXPORT_BYTES = 1024**4
DAY = ["%Y-%m-%d"]


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    OCSF = "ocsf"
    CEF = "cef"


WRITERS = {Format.OCSF: ocsf_line, Format.CEF: cef_line}
Processes = Annotated[int, typer.Option("--processes", min=0, max=256, help="That check signatures (0: one a core)")]


@app.command("export")
def export(
    to: Annotated[Path, typer.Option("--out", help="File to write")],
    form: Annotated[Format, typer.Option("--format", help="jsonl from the hub; ocsf or cef from a verified export")] = (
        Format.JSONL
    ),
    log: Annotated[Path | None, typer.Option("--from-log", help="The export to verify and turn into events")] = None,
    hub: Annotated[str | None, typer.Option("--hub", envvar="CONSORTIA_HUB", help="The hub's origin (jsonl)")] = None,
    key: Annotated[Path | None, typer.Option("--key", envvar="CONSORTIA_KEY", help="Your key file (jsonl)")] = None,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole log to a file: JSON Lines from the hub, or, of such a file, events for a SIEM."""
    if form is not Format.JSONL:
        _convert(form, log, charter, to, as_json)
        return
    if log is not None:
        raise UsageRefused("--from-log is for --format ocsf and --format cef; the file is jsonl already")
    if hub is None or key is None:
        raise UsageRefused("--hub and --key: the log comes from the hub; give both, or --from-log with --format")
    connection = open_connection(hub, key, charter)
    size = _fetch(connection, to)
    founding = connection.log.chain.founding
    if as_json:
        print_json({"file": str(to), "bytes": size, "charter": founding})
    else:
        say(f"{to}: {size} bytes; check it with: consortia audit verify {to} --charter {founding}")


def _fetch(connection: Connection, to: Path) -> int:
    """The log into ``to``, which is there only when it is whole; its bytes."""
    beside = to.with_name(to.name + ".partial")
    try:
        with beside.open("wb") as file:
            size = connection.session.download(routes.LOG_EXPORT, file, MAX_EXPORT_BYTES)
        beside.replace(to)
    except OSError as error:
        raise UsageRefused(f"{to} can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return size


def _convert(form: Format, log: Path | None, charter: str | None, to: Path, as_json: bool) -> None:
    founding = checked_digest(charter)
    if log is None or founding is None:
        raise UsageRefused(f"--format {form.value} turns an export into events: give --from-log and --charter")
    with reading(log) as seen:
        audited = convert(log, founding, to, WRITERS[form], seen)
    if as_json:
        print_json({"file": str(to), "events": audited.size, "format": form.value})
    else:
        say(f"{to}: {audited.size} events ({form.value}) of a log that verified")


@app.command("verify")
def verify(
    log: Log,
    charter: Founding,
    processes: Processes = 0,
    authority: Annotated[
        Path | None, typer.Option("--timestamp-ca", help="Root certificates (PEM) that a timestamp has to lead to")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an export offline; exit code 1 and the first failing leaf if it does not hold."""
    founding, roots = checked_digest(charter) or "", read_roots(authority) if authority is not None else ()
    try:
        with reading(log) as seen:
            audited = verify_file(log, founding, processes, seen, roots)
    except AuditFailed as failed:
        say_failed(failed, as_json)
        raise typer.Exit(1) from None
    if as_json:
        print_json(summary(audited))
        return
    print_summary(audited)
    out.print(f"[bold green]VERIFIED[/bold green] {audited.size} leaves, every signature, budget and order of events")


@app.command("report")
def report(
    log: Log,
    charter: Founding,
    to: Annotated[Path, typer.Option("--out", help="File to write: .html or .pdf")],
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo's studies, charges and entries")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Only this study: its id, or how that begins")] = None,
    since: Annotated[datetime | None, typer.Option("--from", formats=DAY, help="First day shown (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=DAY, help="Last day shown (UTC)")] = None,
) -> None:
    """Check an export and write what it proves as one HTML page or PDF: of all, or of a silo, a study, a period."""
    from client.audit.report import write_report  # Jinja2: not needed by the other commands

    selection = Selection(silo, study, since.date() if since else None, until.date() if until else None)
    with reading(log) as seen:
        write_report(log, checked_digest(charter) or "", to, selection, datetime.now(UTC), seen)
    err.print(f"report {to}", markup=False, soft_wrap=True)


@app.command("prove")
def prove(
    entry: Annotated[str, typer.Argument(help="A leaf's number, or the SHA-256 of its statement")],
    log: Log,
    charter: Founding,
    to: Annotated[Path | None, typer.Option("--out", help="File to write; else the proof goes to stdout")] = None,
) -> None:
    """Check an export and prove one entry of it, in a file that needs neither the log nor the hub."""
    with reading(log) as seen:
        proof = make_proof(log, checked_digest(charter) or "", entry, seen)
    if to is None:
        sys.stdout.write(proof.encode().decode())
        return
    write_file(to, proof.encode())
    err.print(
        f"{to}: check it with: consortia audit check-proof {to} --charter {charter}", markup=False, soft_wrap=True
    )


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="A proof, from: consortia audit prove")],
    charter: Founding,
    as_json: AsJson = False,
) -> None:
    """Check a proof offline; exit code 1 if it does not hold."""
    founding = checked_digest(charter) or ""
    try:
        proved = read_proof(file, founding)
    except AuditFailed as failed:
        say_failed(failed, as_json)
        raise typer.Exit(1) from None
    entry = proved.entry
    if as_json:
        print_json(proof_summary(proved))
        return
    say(f"leaf {proved.index}: {entry.kind} by {entry.issuer}, recorded {entry.recorded_at}")
    say(f"statement {entry.digest}" + (f", study {entry.study}" if entry.study else ""))
    if proved.signed is not None:
        say(f"signed as charter version {proved.charter.version} demands")
    say(str(proved.witnessing))
    out.print("[bold green]PROVED[/bold green] this entry stands in the log")


app.command("journal")(journal)
app.command("watch")(watch)
