"""The options that commands share, and how what they have to say is shown."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.connection import Connection, Surroundings, connect
from client.errors import UsageRefused
from pages.contract import Section, in_words, silo_lines
from protocol.study import StudyContract

Hub = Annotated[str, typer.Option("--hub", envvar="CONSORTIA_HUB", help="The hub's origin, e.g. https://hub.example")]
Key = Annotated[Path, typer.Option("--key", envvar="CONSORTIA_KEY", help="Your key file")]
Charter = Annotated[
    str | None,
    typer.Option("--charter", envvar="CONSORTIA_CHARTER", help="Digest of the founding charter; pinned at first use"),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, for scripts")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the local page, or only show its link")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def open_connection(hub: str, key: Path, charter: str | None) -> Connection:
    """Connect as the key's person; warnings go to stderr."""
    return connect(hub, key, checked_digest(charter), Surroundings(notice=notice))


def checked_digest(charter: str | None) -> str | None:
    if charter is None:
        return None
    if len(charter) != 64 or set(charter) - set("0123456789abcdef"):
        raise UsageRefused("--charter: give the founding charter's whole digest, 64 hexadecimal characters")
    return charter


def notice(text: str) -> None:
    err.print(f"note: {text}", markup=False, soft_wrap=True)


def show_link(link: str) -> None:
    """On stderr: stdout is the result's. The link works once, on this machine."""
    err.print("if no page opens, open this link in a browser on this machine; it works once:", soft_wrap=True)
    err.print(link, markup=False, soft_wrap=True)


def say(text: str) -> None:
    """A line of text, exactly as it is: nothing in it is taken for markup."""
    out.print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; cells are plain text."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out.print(table)


def printable(text: str) -> str:
    """Text from others without what could move the cursor. Markup in it is never read: it is shown as ``Text``."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def print_sections(sections: Iterable[Section]) -> None:
    """Headings, each with its labelled lines; texts of others can style nothing."""
    for section in sections:
        out.print(Text(f"\n{section.title}", style="bold"))
        for label, text in section.lines:
            say(f"  {label}: {printable(text)}")


def print_contract(contract: StudyContract, study: str) -> None:
    """The contract in plain words, from the verified statement itself."""
    print_sections(in_words(contract, study))
    rows = [
        (one.silo, str(one.rows), _number(one.weight, ".3f"), _number(one.sampling_rate, "g"), f"{one.epsilon:.3f}")
        for one in silo_lines(contract)
    ]
    print_table("Silos", ("silo", "published rows", "weight", "sampling rate", "epsilon"), rows)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
