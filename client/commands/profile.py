"""``consortia study profile``: the draft of a study that looks at a dataset before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer

from client.commands.options import Charter, Hub, Key, open_connection, say
from client.errors import UsageRefused
from client.profile_draft import ProfileAsked, profile_draft
from client.registrations import by_members
from protocol.clauses import Purpose
from protocol.draft import parse_draft


def profile_(
    dataset: Annotated[str, typer.Argument(help="The dataset's name at all silos")],
    hub: Hub,
    key: Key,
    epsilon: Annotated[float, typer.Option(help="What the whole study may cost a person at each silo")],
    legal_basis: Annotated[str, typer.Option("--legal-basis", help="On what basis the data may be looked at")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The draft to write")],
    silos: Annotated[str | None, typer.Option(help="Of these silos only, with commas between them")] = None,
    columns: Annotated[str | None, typer.Option(help="Of these columns only, with commas between them")] = None,
    purpose: Annotated[Purpose, typer.Option(help="What for")] = "method-research",
    charter: Charter = None,
) -> None:
    """Write the draft of a profile study: rows, missing values, class balance, and where each number lies."""
    connection = open_connection(hub, key, charter)
    published = by_members(connection, dataset)
    for silo in _names(silos):
        if silo not in published:
            raise UsageRefused(f"--silos: {silo} has no dataset {dataset}; {', '.join(published) or 'nobody'} has")
    wanted = {silo: one for silo, one in published.items() if not silos or silo in _names(silos)}
    asked = ProfileAsked(dataset, connection.identity.person, epsilon, purpose, legal_basis, _names(columns))
    text = profile_draft(asked, wanted, connection.now())
    parse_draft(text.encode())
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageRefused(f"--out {out}: can't be written: {error.strerror}; name a new file") from None
    say(f"{out}: look it through, then: consortia study try {out}; consortia study propose {out}")


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())
