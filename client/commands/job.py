"""``consortia job``: an analysis of your own, tried on mock rows, read and run by silos, released by their owners."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from client.catalogue import one_dataset
from client.code_folder import read_folder
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    open_connection,
    print_json,
    print_table,
    printable,
    say,
)
from client.errors import TrialFailed, UsageRefused
from client.job_trial import try_job
from client.jobs import (
    USUAL_DAYS,
    USUAL_MEMORY_MIB,
    USUAL_SECONDS,
    JobRequest,
    checked_purpose,
    find_job,
    jobs,
    outputs,
    submit,
    withdraw,
)
from protocol.clauses import Purpose
from protocol.job_outputs import JobOutputs
from protocol.job_record import JobRecord

app = typer.Typer(no_args_is_help=True, help="Jobs: your own analysis, reviewed and run by silos.")
Bundle = Annotated[Path, typer.Argument(help="A folder with analysis.py, which defines main(rows, out)")]
Dataset = Annotated[str, typer.Option("--dataset", help="The name all silos use for it")]
Columns = Annotated[str, typer.Option("--columns", help="The columns that it needs, with commas between")]
Seconds = Annotated[int, typer.Option("--seconds", min=1, max=86_400, help="The longest that a run may take")]
Memory = Annotated[int, typer.Option("--memory-mib", min=64, max=1_048_576, help="The most memory of a run")]
EXACT = "These outputs are exact: no differential privacy covers them. Treat them as the owner's agreement says."


@app.command("try")
def try_(
    folder: Bundle,
    dataset: Dataset,
    hub: Hub,
    key: Key,
    columns: Columns = "",
    silo: Annotated[str, typer.Option("--silo", help="Whose schema; the first silo's if not given")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="A new folder to write the outputs to")] = None,
    seconds: Seconds = USUAL_SECONDS,
    memory_mib: Memory = USUAL_MEMORY_MIB,
    charter: Charter = None,
) -> None:
    """Run your code on mock rows, on this machine: nothing is sent, and nobody is asked."""
    held = one_dataset(open_connection(hub, key, charter), dataset)
    if silo and silo not in held:
        raise UsageRefused(f"--silo {silo}: it has no dataset {dataset}; these have: {', '.join(held)}")
    at = held[silo or next(iter(held))]
    trial = try_job(read_folder(folder), at, _names(columns), seconds, memory_mib)
    say(f"on {trial.rows} mock rows of {trial.silo}, which are about nobody:")
    _show(trial.outputs, out)
    if not trial.finished:
        raise TrialFailed("the analysis failed on mock rows; what it printed stands above")


@app.command("submit")
def submit_(
    folder: Bundle,
    dataset: Dataset,
    columns: Columns,
    silo: Annotated[list[str], typer.Option("--silo", help="Who is asked; repeatable, each decides for itself")],
    purpose: Annotated[str, typer.Option("--purpose", help=f"One of: {', '.join(get_args(Purpose))}")],
    reason: Annotated[str, typer.Option("--reason", help="What it is for, for the owners to read")],
    hub: Hub,
    key: Key,
    name: Annotated[str, typer.Option("--name", help="Your name for it and its later versions")] = "",
    seconds: Seconds = USUAL_SECONDS,
    memory_mib: Memory = USUAL_MEMORY_MIB,
    days: Annotated[int, typer.Option("--days", min=1, max=89, help="How long the request stands")] = USUAL_DAYS,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Seal your code for each silo and ask its owner to read it and run it."""
    bundle = read_folder(folder)
    called = name or folder.absolute().name.lower().replace("_", "-")
    asked = JobRequest(called, dataset, _names(columns), checked_purpose(purpose), reason, seconds, memory_mib, days)
    connection = open_connection(hub, key, charter)
    made = {one: submit(connection, bundle, asked, one) for one in silo}
    if as_json:
        print_json({"bundle": bundle.digest, "jobs": made})
        return
    say(f"code {bundle.digest}")
    for one, job in made.items():
        say(f"submitted to {one}: job {job}")
    say("its owner reads it, and says yes or no; see: consortia job list")


@app.command("list")
def list_(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Your jobs, as the verified log tells them."""
    found = jobs(open_connection(hub, key, charter))
    if as_json:
        print_json([_value(record) for record in found.values()])
        return
    rows = [(record.job[:12], record.asked.name, record.asked.silo, _stands(record)) for record in found.values()]
    print_table("Jobs", ("job", "name", "silo", "stands"), rows)


@app.command("outputs")
def outputs_(
    job: str,
    hub: Hub,
    key: Key,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder to write them to")] = None,
    charter: Charter = None,
) -> None:
    """What a silo released of a job, checked against its signed commitment."""
    connection = open_connection(hub, key, charter)
    record = find_job(connection, job)
    _show(outputs(connection, record), out)
    say(EXACT)


@app.command("withdraw")
def withdraw_(job: str, hub: Hub, key: Key, charter: Charter = None) -> None:
    """Take a job back: nothing more is run or released for it."""
    connection = open_connection(hub, key, charter)
    record = find_job(connection, job)
    withdraw(connection, record)
    say(f"withdrawn: job {record.job[:12]}")


def _names(columns: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",") if name.strip())


def _stands(record: JobRecord) -> str:
    return record.stage + (f": {record.reason}" if record.reason else "")


def _value(record: JobRecord) -> dict[str, str]:
    asked = record.asked
    return {
        "job": record.job,
        "name": asked.name,
        "silo": asked.silo,
        "dataset": asked.dataset,
        "bundle": asked.bundle,
        "stage": record.stage,
        "reason": record.reason,
        "expires_at": asked.expires_at,
    }


def _show(found: JobOutputs, to: Path | None) -> None:
    if to is not None:
        write_outputs(found, to)
    for path, content in found.contents.items():
        say(f"  {path}: {len(content)} bytes" + (f", in {to / path}" if to is not None else ""))
        if to is None and len(content) <= 2000:
            for line in content.decode("utf-8", "replace").split("\n"):
                say(f"    {printable(line)}")


def write_outputs(found: JobOutputs, to: Path) -> None:
    """Each file below a new folder of this user only. Raises ``UsageRefused`` if the folder is there."""
    if to.exists():
        raise UsageRefused(f"--out {to}: it exists already; give a new folder")
    to.mkdir(mode=0o700, parents=True)
    for path, content in found.contents.items():
        (to / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (to / path).touch(mode=0o600)
        (to / path).write_bytes(content)
