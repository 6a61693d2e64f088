"""``consortia-silo policy``: the rules that decide for the data owner."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from policies import catalogue as shipped
from silo_node.agent.rehearsal import Desk
from silo_node.agent.tasks import Tasks
from silo_node.app import LIMITS, POLICY, now
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.commands.policy_report import (
    difference_value,
    explanation_value,
    rules_value,
    show_difference,
    show_explanation,
    show_rules,
)
from silo_node.config import load
from silo_node.dataset.catalogue import Catalogue
from silo_node.errors import ConfigRefused
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.policy.difference import difference, word
from silo_node.policy.document import PolicyDocument, parse_policy, policy_by_name, policy_from_file
from silo_node.policy.explanation import explanation_of
from silo_node.policy.layout import formatted
from silo_node.policy.limits import load_limits, parse_limits
from silo_node.policy.owner_file import read_owner_file
from silo_node.policy.question import StudyAction
from silo_node.private_files import write_private

app = typer.Typer(no_args_is_help=True, help="Choose, read and try the rules that decide.")

EXITS: Final = {"allow": 0, "hold": 3, "refuse": 4}
"""What ``policy test`` ends with."""

Set = Annotated[str | None, typer.Argument(help="A set's name, or a file. Left out: the rules in force here.")]


@app.command("use")
def use(
    name: Annotated[
        str, typer.Argument(help=f"A policy set that ships with the platform: {', '.join(shipped.names())}.")
    ],
    limits: Annotated[Path | None, typer.Option(help="Your own limits file, instead of the one that ships.")] = None,
    folder: Folder = Path("silo"),
) -> None:
    """Copy a policy set and its limits into the silo's folder, where you may edit them."""
    load(folder)
    use_policy(name, folder, limits)


def use_policy(name: str, folder: Path, limits: Path | None = None, quiet: bool = False) -> None:
    if name not in shipped.names():
        raise ConfigRefused(f"policy {name}: there are {', '.join(shipped.names())}")
    if quiet and (folder / POLICY).exists():
        return
    # Read before anything is replaced: a file that can't be used must not take the place of one that can.
    document = policy_by_name(name)
    numbers = read_owner_file(limits) if limits else shipped.limits_text(name)
    parse_limits(numbers, str(limits) if limits else f"limits of {name}")
    write_private(folder / POLICY, shipped.policy_text(name).encode())
    write_private(folder / LIMITS, numbers.encode())
    rules = document.rules
    if not quiet:
        out.print(f"Policy [bold]{name}[/bold]: {len(rules)} rules in {folder / POLICY}, {folder / LIMITS}")


@app.command("show")
def show(name: Set = None, as_json: AsJson = False, folder: Folder = Path("silo")) -> None:
    """Every rule of a set, and why it is there."""
    document = _document(name, folder)
    if as_json:
        print_json(rules_value(document))
    else:
        show_rules(document)


@app.command("check")
def check(name: Set = None, folder: Folder = Path("silo")) -> None:
    """Whether a policy can be used; if not, the line, the rule and the fault."""
    document = _document(name, folder)
    out.print(f"{escape(document.name)}: {len(document.rules)} rules, can be used", highlight=False)
    out.print(f"SHA-256 {document.digest}", highlight=False)


@app.command("format")
def format_(
    file: Annotated[Path | None, typer.Argument(help="The policy file; left out, the one in force here.")] = None,
    only_check: Annotated[bool, typer.Option("--check", help="Change nothing; end with 1 if it would.")] = False,
    folder: Folder = Path("silo"),
) -> None:
    """Lay a policy file out in Cedar's own way. Rules and comments stay as they are; the digest changes."""
    path = file or folder / POLICY
    text = read_owner_file(path)
    laid_out = formatted(text, str(path))
    if laid_out == text:
        out.print(f"{escape(str(path))}: is laid out so already", highlight=False)
    elif only_check:
        out.print(f"{escape(str(path))}: would be laid out anew", highlight=False)
        raise typer.Exit(1)
    else:
        write_private(path, laid_out.encode())
        out.print(f"{escape(str(path))}: laid out anew, SHA-256 {parse_policy(laid_out, str(path)).digest}")


@app.command("test")
def test(
    study: Annotated[Path, typer.Argument(help="A study's contract, or the draft of one.")],
    step: Annotated[
        StudyAction, typer.Option(help="What is asked: to accept it, a round of it, its release.")
    ] = "accept",
    policy: Annotated[str | None, typer.Option(help="Try another set: its name, or a file.")] = None,
    limits: Annotated[Path | None, typer.Option(help="Try other limits: a file.")] = None,
    as_json: AsJson = False,
    folder: Folder = Path("silo"),
) -> None:
    """What your rules say of a study, one by one, and what would change it. Asks no hub.

    Ends with 0 if the study is allowed, 3 if it waits for a person, 4 if it is refused.
    """
    document, bounds = _document(policy, folder), load_limits(limits or folder / LIMITS)
    with _desk(folder) as desk:
        rehearsal = desk.rehearse(study, step, bounds, now())
    told = explanation_of(document, rehearsal.facts)
    if as_json:
        print_json(explanation_value(rehearsal, document, told))
    else:
        show_explanation(rehearsal, document, told)
    raise typer.Exit(EXITS[word(told.decision)])


@app.command("diff")
def diff(
    other: Annotated[str, typer.Argument(help="A set's name, or a file.")],
    as_json: AsJson = False,
    folder: Folder = Path("silo"),
) -> None:
    """What would change if OTHER took the place of the rules in force: rules, and verdicts on made-up studies."""
    before, after = _document(None, folder), _document(other, folder)
    found = difference(before, after, load_limits(folder / LIMITS))
    if as_json:
        print_json(difference_value(found))
    else:
        show_difference(found, before.name, after.name)


def _document(name: str | None, folder: Path) -> PolicyDocument:
    """A shipped set by its name; else the file, by default the one in force."""
    if name in shipped.names():
        return policy_by_name(str(name))
    return policy_from_file(Path(name) if name else folder / POLICY)


@contextmanager
def _desk(folder: Path) -> Iterator[Desk]:
    config, tasks = load(folder), Tasks(folder)
    ledger = SqliteLedger(folder / "ledger" / "ledger.sqlite", now)
    try:
        yield Desk(config.silo, Catalogue(folder / "datasets"), ledger, tasks)
    finally:
        ledger.close()
        tasks.close()
