"""``consortia study``: propose, list, show, watch, release."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from client.commands.forecast import simulate_
from client.commands.graph import graph_
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    err,
    open_connection,
    print_contract,
    print_json,
    print_table,
    printable,
    say,
)
from client.commands.profile import profile_
from client.commands.trial import try_
from client.studies import Remaining, draft_contract, late, propose, status, statuses, uploads, watch
from protocol.routes import StudyStatus
from protocol.study import contract_value

app = typer.Typer(no_args_is_help=True, help="Studies: from a draft to a result.")
app.command("try")(try_)
app.command("graph")(graph_)
app.command("simulate")(simulate_)
app.command("profile")(profile_)


@app.command("propose")
def propose_(
    draft: Annotated[Path, typer.Argument(help="A draft, e.g. docs/samples/heart.yaml")],
    hub: Hub,
    key: Key,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Make a contract of a draft, sign it, and ask for approval."""
    connection = open_connection(hub, key, charter)
    contract = draft_contract(connection, draft)
    made = propose(connection, contract)
    if as_json:
        print_json({"study": made.study, "leaf": made.leaf, "contract": contract_value(contract)})
        return
    print_contract(contract, made.study)
    say(f"proposed: study {made.study}\nfollow it with: consortia study watch {made.study[:12]}")


@app.command("list")
def list_(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List your studies."""
    shown = statuses(open_connection(hub, key, charter))
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    rows = [(one.study[:12], one.title, one.state, f"{one.rounds_closed}/{one.rounds_total}") for one in shown]
    print_table("Studies", ("study", "title", "state", "rounds"), rows)


@app.command("show")
def show(study: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Show a study's contract in plain words, and where it stands."""
    connection = open_connection(hub, key, charter)
    whole = connection.log.find_study(study)
    contract, now = connection.log.contract(whole), status(connection, whole)
    if as_json:
        print_json({"contract": contract_value(contract), "status": now.model_dump(mode="json")})
        return
    print_contract(contract, whole)
    say(printable(now.state + (f": {now.reason}" if now.reason else "")))
    for silo in contract.silo_names:
        say(printable(f"  {silo}: {_answer(now, silo)}"))
    arriving = uploads(now)
    if arriving:
        say(printable(f"sealed chunks: {arriving}"))


def _answer(now: StudyStatus, silo: str) -> str:
    """What a silo said, by the hub's word; a suspended one had another state than the others, or was silent."""
    if silo in now.withdrawn:
        return f"withdrew: {now.withdrawn[silo]}"
    if silo in now.suspended:
        return "suspended"
    if silo in now.refused:
        return f"refused: {now.refused[silo]}"
    if silo in now.paused:
        return "paused, until its owner resumes the study"
    return "accepted" if silo in now.accepted else "waiting"


@app.command("watch")
def watch_(study: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Follow a study to its end; exit code 1 if it ends without a result."""
    connection = open_connection(hub, key, charter)
    whole = connection.log.find_study(study)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=err, disable=as_json) as progress:
        task = progress.add_task("waiting", total=None, left="")

        def draw(shown: StudyStatus, remaining: Remaining) -> None:
            left = "" if remaining.seconds is None else f"about {remaining.seconds:.0f} s left"
            total = remaining.total if shown.state not in ("proposed", "approved") else None
            progress.update(task, description=_doing(shown), completed=remaining.closed, total=total, left=left)

        ended = watch(connection, whole, draw)
    if as_json:
        print_json(ended.model_dump(mode="json"))
    else:
        say(f"completed; get the result with: consortia study release {whole[:12]} --out DIR")


def _doing(shown: StudyStatus) -> str:
    current = shown.current
    if shown.state == "proposed":
        return "waiting for the admin's approval"
    if shown.paused and (current is None or current.state in ("closed", "voided")):
        return printable(f"paused at {', '.join(shown.paused)}, until their owners resume the study")
    if current is None or shown.state != "running":
        waits = f", waiting for {', '.join(shown.waiting)}" if shown.waiting else ""
        return printable(f"{shown.state}: {len(shown.accepted)} silos accepted{waits}")
    awaited = late(shown)
    waits, arriving = ", ".join(awaited), uploads(shown, awaited)
    attempt = f" attempt {current.attempt}" if current.attempt > 1 else ""
    text = f"round {current.round}{attempt} ({current.stage}) {current.state}"
    text += f", waiting for {waits}" if waits else ""
    return printable(text + (f"; sealed chunks: {arriving}" if arriving else ""))


@app.command("release")
def release_(
    study: str,
    hub: Hub,
    key: Key,
    out: Annotated[Path, typer.Option("--out", help="Folder to write the result to")],
    charter: Charter = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Seconds to wait for the silos")] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Ask for the result, wait for the silos, check their confirmations, write it."""
    # NumPy and ONNX: too slow to load for every command
    from client.bundle import Bundle
    from client.commands.answers_text import print_answers
    from client.release import release, write_release
    from client.statistics.answers import answers
    from client.statistics.bundle import StatisticsBundle
    from client.statistics.values import answer_value

    connection = open_connection(hub, key, charter)
    whole = connection.log.find_study(study)
    with err.status("asking for the release") as progress:
        deadline = connection.session.clock() + timeout_s
        released = release(connection, whole, deadline, progress.update)
        paths = write_release(connection, released, out)
    told: dict[str, object] = {
        "study": whole,
        "confirmed_by": list(released.confirmed_by),
        "files": [str(path) for path in paths],
    }
    match released.bundle:
        case Bundle(evaluation=measured):
            told["evaluation"] = measured.model_dump(mode="json", exclude_defaults=True)
        case StatisticsBundle() as bundle:
            answered = answers(bundle)
            told["answers"] = [answer_value(one) for one in answered]
    if as_json:
        print_json(told)
        return
    match released.bundle:
        case Bundle(evaluation=measured):
            say(f"accuracy {measured.in_words()} (from noised counts)")
        case StatisticsBundle():
            print_answers(answered)
    say(f"confirmed by {', '.join(released.confirmed_by)}")
    for path in paths:
        say(f"  {path}")
