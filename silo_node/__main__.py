"""The ``consortia-silo`` command: what a data owner and an administrator run at their institution."""

import json
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pages.contract import in_words
from policies import catalogue as shipped
from protocol.accounting import best_order
from protocol.errors import ProtocolError
from silo_node.agent.answers import balances, budget_values, bytes_moved, find, standing, studies_of, under_way
from silo_node.agent.joining import join as ask_to_join
from silo_node.agent.registering import register_dataset, try_to_publish
from silo_node.app import LIMITS, POLICY, agent_of, now, one_node, open_silo, patient, set_up_log
from silo_node.config import load
from silo_node.dataset.catalogue import register
from silo_node.dataset.schema import read_schema
from silo_node.errors import ConfigRefused, SiloError
from silo_node.journal.chain import Journal
from silo_node.policy.rules import OwnerRules
from silo_node.private_files import write_private

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # They may show what variables hold: keys, tokens.
    add_completion=False,
    help="A silo node: your data, your rules, your ledger.",
)
dataset_app = typer.Typer(no_args_is_help=True, help="Register datasets and see them.")
policy_app = typer.Typer(no_args_is_help=True, help="Choose and check the rules that decide.")
study_app = typer.Typer(no_args_is_help=True, help="Requests that wait, and your answers.")
journal_app = typer.Typer(no_args_is_help=True, help="What left this silo.")
app.add_typer(dataset_app, name="dataset")
app.add_typer(policy_app, name="policy")
app.add_typer(study_app, name="study")
app.add_typer(journal_app, name="journal")

out, err = Console(), Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Folder = Annotated[Path, typer.Option("--folder", envvar="CONSORTIA_SILO_FOLDER", help="The silo's own folder.")]


@app.command()
def join(
    hub: Annotated[str, typer.Argument(help="The hub's address, https://...")],
    code: Annotated[str, typer.Option(help="The invitation, as the admin gave it: XXXX-...-XXXX.DIGEST")],
    name: Annotated[str, typer.Option(help="The silo's name that you were invited under.")],
    folder: Folder = Path("silo"),
    as_json: AsJson = False,
) -> None:
    """Make this silo's keys and ask for membership."""
    words = ask_to_join(folder, hub, name, code, now())
    use_policy("baseline", folder, quiet=True)
    if as_json:
        print_json({"silo": name, "words": words})
        return
    out.print(f"[green]Asked to join as [bold]{name}[/bold].[/green] Read these six words to the admin by telephone:\n")
    out.print(f"    [bold]{words}[/bold]\n")
    out.print("The admin admits this silo when the words match. Meanwhile: consortia-silo dataset add, then run.")


@dataset_app.command("add")
def dataset_add(
    name: Annotated[str, typer.Argument(help="The name all silos of a study use for it.")],
    source: Annotated[Path, typer.Option(help="A CSV or Parquet file.")],
    schema: Annotated[Path, typer.Option(help="The declared schema, YAML.")],
    rows: Annotated[int, typer.Option(help="The row count to publish; type it, it is never computed.")],
    epsilon: Annotated[float, typer.Option(help="The privacy domain's cap, for good.")],
    delta: Annotated[float, typer.Option(help="The privacy domain's delta, for good.")],
    domain: Annotated[str, typer.Option(help="The privacy domain: whose data this is.")] = "patients",
    folder: Folder = Path("silo"),
) -> None:
    """Check a dataset in full, fix its privacy budget, and publish its schema."""
    declared = read_schema(schema)
    asked = register(name, source, declared, domain, epsilon, delta, best_order(epsilon, delta), rows)
    with open_silo(folder) as (silo, _):
        dataset = register_dataset(silo, asked)
        published = try_to_publish(silo, dataset)
    out.print(
        f"[green]Registered [bold]{name}[/bold][/green]: {len(dataset.declared.columns)} columns, "
        f"{rows} rows published; privacy domain {domain}: epsilon {epsilon:g}, delta {delta:g} for each "
        f"[bold]{dataset.unit}[/bold], for good."
    )
    if not published:
        out.print("[yellow]Not published yet[/yellow]: the node does so once it runs and this silo is admitted.")


@dataset_app.command("list")
def dataset_list(folder: Folder = Path("silo")) -> None:
    """The registered datasets."""
    table = Table("dataset", "columns", "published rows", "domain", "unit", "epsilon", "delta")
    with open_silo(folder) as (silo, _):
        for one in silo.catalogue.list():
            cap = (one.domain, one.unit, one.epsilon, one.delta)
            table.add_row(*(str(cell) for cell in (one.name, len(one.declared.columns), one.published_rows, *cap)))
    out.print(table)


@policy_app.command("use")
def policy_use(
    name: Annotated[str, typer.Argument(help="A policy set that ships with the platform.")],
    limits: Annotated[Path | None, typer.Option(help="Your own limits file, instead of the one that ships.")] = None,
    folder: Folder = Path("silo"),
) -> None:
    """Copy a policy set and its limits into the silo's folder, where you may edit them."""
    use_policy(name, folder, limits)


def use_policy(name: str, folder: Path, limits: Path | None = None, quiet: bool = False) -> None:
    if name not in shipped.names():
        raise ConfigRefused(f"policy {name}: there are {', '.join(shipped.names())}")
    if quiet and (folder / POLICY).exists():
        return
    write_private(folder / POLICY, shipped.policy_text(name).encode())
    write_private(folder / LIMITS, limits.read_bytes() if limits else shipped.limits_text(name).encode())
    rules = OwnerRules(folder / POLICY, folder / LIMITS).gate.document.rules
    if not quiet:
        out.print(f"Policy [bold]{name}[/bold]: {len(rules)} rules in {folder / POLICY}, {folder / LIMITS}")


@study_app.command("list")
def study_list(folder: Folder = Path("silo")) -> None:
    """Every study that names this silo, and where it stands here."""
    table = Table("study", "title", "epsilon", "stands")
    with open_silo(folder) as (silo, _):
        for record in studies_of(silo):
            epsilon = f"{record.contract.privacy.epsilon:g}"
            table.add_row(record.study[:12], record.contract.title, epsilon, standing(silo, record))
    out.print(table)


@study_app.command("show")
def study_show(study: str, folder: Folder = Path("silo")) -> None:
    """The contract in plain words, and what your policy says of it."""
    with open_silo(folder) as (silo, _):
        record = find(silo, study)
        for section in in_words(record.contract, record.study):
            out.print(f"\n[bold]{section.title}[/bold]")
            for label, text in section.lines:
                # The texts are the researcher's own: they must not style this terminal.
                out.print(f"  {label}: {escape(text)}", highlight=False)
        out.print(f"\nHere it stands: {escape(standing(silo, record))}")
        moving = under_way(silo, record)
        if moving is not None:
            out.print(f"Under way: {moving}", highlight=False)


@study_app.command("accept")
def study_accept(study: str, folder: Folder = Path("silo")) -> None:
    """Say yes to a study that your policy holds for you. The running node signs it."""
    _answer(folder, study, "accept", "")


@study_app.command("refuse")
def study_refuse(study: str, reason: Annotated[str, typer.Option()], folder: Folder = Path("silo")) -> None:
    """Say no to a study, with a reason that everyone will see."""
    _answer(folder, study, "refuse", reason)


@study_app.command("release")
def study_release(study: str, folder: Folder = Path("silo")) -> None:
    """Let the finished model of a study go to its recipients."""
    _answer(folder, study, "release", "")


@study_app.command("resume")
def study_resume(study: str, folder: Folder = Path("silo")) -> None:
    """Let a study go on that this silo paused after rounds came to nothing. The next round is charged anew."""
    with open_silo(folder) as (silo, _):
        record = find(silo, study)
        if silo.name not in record.paused:
            raise ConfigRefused(f"study {record.study[:12]}: this silo has not paused it; {standing(silo, record)}")
        silo.voice.note("decision", "owner: resume", record.study)
        silo.tasks.resume(record.study, record.pauses[silo.name])
    out.print(f"Noted: resume {record.study[:12]} ({record.contract.title}). The running node acts on it.")


def _answer(folder: Path, study: str, answer: Literal["accept", "refuse", "release"], reason: str) -> None:
    with open_silo(folder) as (silo, _):
        record = find(silo, study)
        silo.voice.note("decision", f"owner: {answer}", record.study)
        silo.tasks.answer(record.study, answer, reason)
    out.print(f"Noted: {answer} {record.study[:12]} ({record.contract.title}). The running node acts on it.")


@app.command()
def ledger(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """What every privacy domain may spend, and has spent."""
    with open_silo(folder) as (silo, _):
        found = balances(silo)
    if as_json:
        print_json([budget_values(balance) for balance in found])
        return
    table = Table("domain", "unit", "cap", "delta", "epsilon spent", Column("of the budget", no_wrap=True))
    for balance in found:
        share = balance.spent_picos / balance.domain.cap_picos
        bar = "█" * round(10 * share) + "░" * (10 - round(10 * share))
        cells = (balance.domain.name, balance.domain.unit, f"{balance.domain.epsilon:g}", f"{balance.domain.delta:g}")
        table.add_row(*cells, f"{balance.epsilon_spent:.3f}", f"{bar} {share:.0%}")
    out.print(table)


@app.command()
def traffic(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """How many bytes this silo sent, by its journal, and fetched as sums, by the log."""
    with open_silo(folder) as (silo, _):
        moved = bytes_moved(silo, folder)
    if as_json:
        print_json(moved)
    else:
        out.print(f"sent {moved['bytes_up']:,} bytes; fetched sums of {moved['bytes_down']:,} bytes")


_DIGESTS = (Column("study", no_wrap=True), Column("bytes", justify="right"), Column("digest", no_wrap=True))


@journal_app.command("show")
def journal_show(folder: Folder = Path("silo")) -> None:
    """What left this silo: when, what, to whom, in which study. The chain is checked on the way."""
    table = Table(
        Column("entry"),
        Column("at", no_wrap=True),
        Column("what"),
        Column("to"),
        *_DIGESTS,
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    journal = Journal(folder / "journal.sqlite")
    for entry in journal.entries():
        event = entry.event
        what = event.what if event.kind == "statement" else f"{event.kind}: {event.what}"
        cells = (str(entry.index), event.at, escape(what), event.to, (event.study or "")[:8])
        table.add_row(*cells, str(event.size), (event.digest or "")[:8])
    journal.close()
    out.print(table)


@app.command()
def run(folder: Folder = Path("silo")) -> None:
    """Run the node: poll the hub, decide, train, seal, verify. Stops on Ctrl-C or SIGTERM, at once."""
    set_up_log()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    load(folder)  # before anything is made in a folder that is no silo's
    with one_node(folder), open_silo(folder, trains=True) as (silo, config):
        silo.runner.start()
        agent_of(silo, config).run(patient())


def _leave(*_: object) -> None:
    """Ends the node wherever it is. Every step may be cut short and repeated, as after a crash; a poll lasts 20 s
    and training hours, and who stops a service does not wait for them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def main() -> None:
    try:
        app()
    except (SiloError, ProtocolError, ValueError) as problem:
        _fail(f"{type(problem).__name__}: {problem}")
    except (OSError, sqlite3.Error) as problem:
        # No room, no permission, a broken disk: whatever was being written was not, and nothing goes on without it.
        cause = problem.strerror if isinstance(problem, OSError) else str(problem)
        place = f"{problem.filename}: " if isinstance(problem, OSError) and problem.filename else ""
        _fail(
            f"{place}{cause or type(problem).__name__}. Nothing is half-done; make room or mend the disk, start again"
        )


def _fail(message: str) -> None:
    err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
