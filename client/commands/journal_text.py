"""How a checked journal is told: in a terminal, and as values for scripts."""

from client.commands.options import out, print_table, printable, say
from client.journal import CheckedJournal, Doubtful


def print_journal(checked: CheckedJournal) -> None:
    """What is proved, then what is not."""
    header, count = checked.header, sum(checked.kinds.values())
    say(f"journal of {header.silo}, {header.period}: entries {header.first} to {checked.last}, {count} in the period")
    rows = [(kind, f"{number:,}", f"{checked.sizes[kind]:,}") for kind, number in sorted(checked.kinds.items())]
    print_table("In the period", ("kind", "entries", "bytes"), rows)
    for one in checked.doubtful:
        say(printable(f"entry {one.index}, {one.event.at}: {one.event.what} is not in the log; {_why(one)}"))
    for line in _open_ends(checked):
        say(line)
    say(f"head after entry {checked.last}: {checked.head}")
    out.print(
        f"[bold green]VERIFIED[/bold green] {checked.confirmed} statements at their places; "
        f"the log fixes every entry up to {checked.fixed_through}",
        soft_wrap=True,
    )


def journal_values(checked: CheckedJournal) -> dict[str, object]:
    header = checked.header
    return {
        "verified": True,
        "silo": header.silo,
        "since": header.since,
        "until": header.until,
        "first": header.first,
        "last": checked.last,
        "head": checked.head,
        "begins": checked.begins,
        "ends": checked.ends,
        "statements_confirmed": checked.confirmed,
        "fixed_through": checked.fixed_through,
        "kinds": {
            kind: {"entries": number, "bytes": checked.sizes[kind]} for kind, number in sorted(checked.kinds.items())
        },
        "not_in_log": [
            {"entry": one.index, "at": one.event.at, "what": one.event.what, "refused_at_leaf": one.refusal}
            for one in checked.doubtful
        ],
    }


def _why(one: Doubtful) -> str:
    if one.refusal is not None:
        return f"the hub refused it, leaf {one.refusal}"
    return "the log says nothing of it: newer than the export, or it never arrived"


def _open_ends(checked: CheckedJournal) -> list[str]:
    said = []
    if not checked.begins:
        said.append(f"not proved: that nothing in the period came before entry {checked.header.first}, the first")
    if checked.last > checked.fixed_through:
        said.append(f"not proved: entries after {checked.fixed_through}, the silo's newest statement in the log")
    if not checked.ends:
        said.append(f"not proved: that nothing but statements came after entry {checked.last}, the last")
    return said
