"""``consortia-silo study``: what waits for the owner, and the owner's answers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pages.contract import in_words
from silo_node.agent.answering import give_answer, let_resume
from silo_node.agent.answers import find, standing, studies_of, under_way
from silo_node.agent.tasks import Answer
from silo_node.app import open_silo
from silo_node.commands.options import Folder, out

app = typer.Typer(no_args_is_help=True, help="Requests that wait, and your answers.")


@app.command("list")
def list_(folder: Folder = Path("silo")) -> None:
    """Every study that names this silo, and where it stands here."""
    table = Table("study", "title", "epsilon", "stands")
    with open_silo(folder) as (silo, _):
        for record in studies_of(silo):
            epsilon = f"{record.contract.privacy.epsilon:g}"
            table.add_row(record.study[:12], record.contract.title, epsilon, standing(silo, record))
    out.print(table)


@app.command("show")
def show(study: str, folder: Folder = Path("silo")) -> None:
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


@app.command("accept")
def accept(study: str, folder: Folder = Path("silo")) -> None:
    """Say yes to a study that your policy holds for you. The running node signs it."""
    _answer(folder, study, "accept", "")


@app.command("refuse")
def refuse(study: str, reason: Annotated[str, typer.Option()], folder: Folder = Path("silo")) -> None:
    """Say no to a study, with a reason that everyone will see."""
    _answer(folder, study, "refuse", reason)


@app.command("release")
def release(study: str, folder: Folder = Path("silo")) -> None:
    """Let the finished model of a study go to its recipients."""
    _answer(folder, study, "release", "")


@app.command("resume")
def resume(study: str, folder: Folder = Path("silo")) -> None:
    """Let a study go on that this silo paused after rounds came to nothing. The next round is charged anew."""
    with open_silo(folder) as (silo, _):
        record = find(silo, study)
        let_resume(silo, record)
    out.print(f"Noted: resume {record.study[:12]} ({record.contract.title}). The running node acts on it.")


def _answer(folder: Path, study: str, answer: Answer, reason: str) -> None:
    with open_silo(folder) as (silo, _):
        record = find(silo, study)
        give_answer(silo, record, answer, reason)
    out.print(f"Noted: {answer} {record.study[:12]} ({record.contract.title}). The running node acts on it.")
