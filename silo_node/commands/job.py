"""``consortia-silo job``: researchers' code. You read it, and nothing of it runs or leaves without you."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from protocol.canonical import digest
from protocol.job_record import JobRecord
from silo_node.agent import job_answering
from silo_node.agent.job_answering import EXACT, code_of, outputs_of, standing
from silo_node.agent.job_files import HeldRun
from silo_node.agent.job_reading import described, difference, reading, unusual
from silo_node.agent.job_running import run_job
from silo_node.agent.jobs import find, jobs_of
from silo_node.app import open_silo
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.errors import JobRefused
from silo_node.private_files import private_folder, write_private
from silo_node.runner.analysis_box import AnalysisBox

app = typer.Typer(no_args_is_help=True, help="Reviewed code: read it, run it, look at its outputs, let them go or not.")
HERE = Path("silo")


@app.command("list")
def list_(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Every job submitted to this silo, and where it stands."""
    with open_silo(folder) as (silo, _):
        jobs = jobs_of(silo)
        rows = [(record, standing(silo, record)) for record in jobs.records.values()]
    if as_json:
        print_json([{"job": record.job, "stands": stands, **_asked(record)} for record, stands in rows])
        return
    table = Table("job", "name", "by", "dataset", "purpose", "stands")
    for record, stands in rows:
        asked = record.asked
        table.add_row(record.job[:12], asked.name, record.researcher, asked.dataset, asked.purpose, stands)
    out.print(table)


@app.command("show")
def show(job: str, folder: Folder = HERE) -> None:
    """What a job asks for, and what it would mean."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        stands = standing(silo, record)
    for label, text in _asked(record).items():
        out.print(f"  {label}: {escape(str(text))}", highlight=False, soft_wrap=True)
    out.print(f"\nHere it stands: {escape(stands)}\nIt would read the exact values of these columns, of every row.")
    out.print(f"[bold]{EXACT}[/bold]")


@app.command("read")
def read(job: str, folder: Folder = HERE) -> None:
    """The code, line by line, with whatever could hide in it spelled out."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        bundle = code_of(silo, record)
    for line in reading(bundle):
        _print(line)
    if places := unusual(bundle):
        out.print(f"[bold red]Look twice at: {escape(', '.join(places[:50]))}[/bold red]", soft_wrap=True)
    out.print(f"\nIts digest, which an approval has to name:\n{record.asked.bundle}", highlight=False, soft_wrap=True)


@app.command("diff")
def diff(job: str, folder: Folder = HERE) -> None:
    """What changed since the last version that was approved here, by this researcher under this name."""
    with open_silo(folder) as (silo, _):
        jobs = jobs_of(silo)
        record = find(jobs, job)
        before = jobs.last_approved(record)
        if before is None:
            raise JobRefused(f"job {record.job[:12]}: none of its name was approved here; read it whole")
        lines = list(difference(code_of(silo, before), code_of(silo, record)))
    out.print(f"From job {before.job[:12]} to job {record.job[:12]}:", highlight=False)
    for line in lines or ["no difference"]:
        _print(line)


@app.command("approve")
def approve(
    job: str,
    bundle: Annotated[str, typer.Option("--digest", prompt="The digest of the code that you read")],
    folder: Folder = HERE,
) -> None:
    """Allow the code that you read to run here. Nothing runs yet: that is a command of its own."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        job_answering.approve(silo, record, bundle.strip())
    out.print(f"Noted: approve {record.job[:12]}. The running node says so; then: job run {record.job[:12]}")


@app.command("refuse")
def refuse(job: str, reason: Annotated[str, typer.Option()], folder: Folder = HERE) -> None:
    """Say no to a job, with a reason that its researcher, the admins and the officer will see."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        job_answering.refuse(silo, record, reason)
    out.print(f"Noted: refuse {record.job[:12]}. The running node says so.")


@app.command("run")
def run(job: str, folder: Folder = HERE) -> None:
    """Run an approved job once, in the sandbox, on the granted rows. What it gives is held here.

    Ends with 1 if the code failed or ran out of time.
    """
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        with out.status(f"running, at most {record.asked.seconds} s"):
            held = run_job(silo, record, AnalysisBox)
    out.print(f"{held.outcome}; files held here: {len(held.outputs.files)}. See: job outputs {record.job[:12]}")
    if held.outcome != "finished":
        raise typer.Exit(1)


@app.command("outputs")
def outputs(
    job: str,
    folder: Folder = HERE,
    to: Annotated[Path | None, typer.Option("--to", help="A new private folder to copy them to.")] = None,
) -> None:
    """What the last run gave: texts as they are, with hidden characters spelled out; other files by size and digest."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        held = outputs_of(silo, record)
    out.print(f"The run {held.outcome} at {held.ended_at} in {held.sandbox}. [bold red]{EXACT}[/bold red]")
    for path, content, text in described(held.outputs):
        _print(f"==== {path} ({len(content)} bytes, SHA-256 {digest(content)[:16]})")
        _print("(not text; copy it out with --to and look at it there)" if text is None else text)
    if to is not None:
        _copy(held, to)
    out.print(f"\nTheir digest, which a release has to name:\n{held.digest}", highlight=False, soft_wrap=True)


@app.command("release")
def release(
    job: str,
    outputs: Annotated[str, typer.Option("--digest", prompt="The digest of the outputs that you looked at")],
    folder: Folder = HERE,
) -> None:
    """Let the outputs that you looked at go to the researcher, sealed. This can't be taken back."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        job_answering.release(silo, record, outputs.strip())
    out.print(f"Noted: release {record.job[:12]}. The running node sends them to {record.researcher}.")


@app.command("discard")
def discard(job: str, reason: Annotated[str, typer.Option()], folder: Folder = HERE) -> None:
    """Let nothing of an approved job go, and remove its outputs here. The reason is sent."""
    with open_silo(folder) as (silo, _):
        record = find(jobs_of(silo), job)
        job_answering.discard(silo, record, reason)
    out.print(f"Noted: discard {record.job[:12]}. The running node says so.")


def _asked(record: JobRecord) -> dict[str, str | int]:
    asked = record.asked
    return {
        "name": asked.name,
        "researcher": record.researcher,
        "dataset": asked.dataset,
        "columns": ", ".join(asked.columns),
        "purpose": asked.purpose,
        "reason": asked.reason,
        "code": asked.bundle,
        "seconds": asked.seconds,
        "memory_mib": asked.memory_mib,
        "ends": asked.expires_at,
    }


def _copy(held: HeldRun, to: Path) -> None:
    if to.exists():
        raise JobRefused(f"{to} exists already; name a new folder")
    for path, content in held.outputs.contents.items():
        private_folder((to / path).parent)
        write_private(to / path, content)
    out.print(f"Copied to {to}; remove it when you have looked.", markup=False)


def _print(line: str) -> None:
    """Exactly as it is: nothing in it styles this terminal."""
    out.print(Text(line), soft_wrap=True)
