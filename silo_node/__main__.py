"""The ``consortia-silo`` command: what a data owner and an administrator run at their institution."""

import sqlite3
import sys

import typer

from protocol.errors import ProtocolError
from silo_node.commands import (
    console,
    dataset,
    graph,
    health,
    job,
    journal,
    ledger,
    node,
    policy,
    privacy,
    sealing,
    simulate,
    study,
    subject,
)
from silo_node.commands.options import err
from silo_node.errors import SiloError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # They may show what variables hold: keys, tokens.
    add_completion=False,
    help="A silo node: your data, your rules, your ledger.",
)
app.add_typer(node.app)
app.add_typer(health.app)
app.add_typer(console.app)
app.add_typer(sealing.app)
app.add_typer(simulate.app)
app.add_typer(graph.app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(ledger.app, name="ledger")
app.add_typer(subject.app, name="subject")
app.add_typer(policy.app, name="policy")
app.add_typer(privacy.app, name="privacy")
app.add_typer(study.app, name="study")
app.add_typer(job.app, name="job")
app.add_typer(journal.app, name="journal")


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
