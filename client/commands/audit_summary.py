"""What the officer's commands show: progress while they read, then the record in brief."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client.audit.declared_views import cap_rows, differences, domain_rows
from client.audit.proof import Proved
from client.audit.replay import Audited
from client.audit.verify import Seen
from client.audit.witnessing import stated_size
from client.commands.options import err, out, print_json, print_table, say
from client.errors import AuditFailed, UsageRefused
from protocol.errors import ProtocolError
from protocol.export import RecordedLeaf, read_header
from protocol.ids import timestamp

STEP: Final = 500
Log = Annotated[Path, typer.Argument(help="An export, from: consortia audit export")]
Founding = Annotated[
    str,
    typer.Option("--charter", envvar="CONSORTIA_CHARTER", help="Digest of the founding charter, from the admin"),
]


@contextmanager
def reading(log: Path) -> Iterator[Seen]:
    """A bar on stderr, if that is a terminal, while leaves are read: how many, how fast, how long it will take."""
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("leaves"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("leaves", total=_stated(log), rate="")

        def seen(leaf: RecordedLeaf) -> None:
            if leaf.index % STEP == 0:
                speed = progress.tasks[task].speed
                progress.update(task, completed=leaf.index, rate=f"{speed:,.0f}/s" if speed else "")

        yield seen


def _stated(log: Path) -> int | None:
    """The size that the file states, for the bar alone: nothing is verified."""
    try:
        with log.open(encoding="utf-8", newline="\n") as lines:
            return stated_size(read_header(lines).checkpoint)
    except (OSError, UnicodeDecodeError, ProtocolError):
        return None


def write_file(to: Path, data: bytes) -> None:
    try:
        to.write_bytes(data)
    except OSError as error:
        raise UsageRefused(f"{to} can't be written: {error.strerror}") from None


def proof_summary(proved: Proved) -> dict[str, object]:
    """A proof in brief, for scripts."""
    return {
        "verified": True,
        "leaf": proved.index,
        "entry": proved.entry.model_dump(mode="json"),
        "charter_version": proved.charter.version,
        "checkpoint_size": proved.witnessing.checkpoint.size,
        "cosigned": proved.witnessing.cosigned,
        "witnesses": proved.witnessing.witnesses,
        "quorum": proved.witnessing.quorum,
    }


def summary(audited: Audited) -> dict[str, object]:
    spending = audited.spending
    return {
        "verified": True,
        "leaves": audited.size,
        "witnesses": witnesses_of_log(audited),
        "timestamp": {"at": timestamp(audited.dated.at), "trusted": audited.dated.trusted} if audited.dated else None,
        "root": audited.checkpoint.root_hash.hex(),
        "charter_version": audited.chain.in_force.version,
        "kinds": dict(audited.kinds),
        "studies": {
            one.study: {
                "state": one.closed.outcome if one.closed else "open",
                "rounds_closed": sum(past.closed is not None for past in one.rounds.values()),
                "rounds_void": [index for index, past in sorted(one.rounds.items()) if past.voided is not None],
                "approved_by": sorted(one.approvals),
                "released_to": sorted(one.released_to),
            }
            for one in audited.studies.values()
        },
        "budgets": [
            {
                "silo": domain.silo,
                "domain": domain.name,
                "epsilon_spent": spending.epsilon_spent(domain),
                "epsilon_cap": domain.epsilon,
                "delta": domain.delta,
            }
            for domain in spending.domains.values()
        ],
        "caps": [asdict(row) for row in cap_rows(audited)],
        "domains_beside": [asdict(row) for row in domain_rows(audited)],
        "differences": list(differences(audited)),
    }


def witnesses_of_log(audited: Audited) -> dict[str, object] | None:
    """Who cosigned the log, None if the export doesn't say."""
    found = audited.witnessing
    if found is None:
        return None
    return {
        "size": found.checkpoint.size,
        "cosigned": found.cosigned,
        "witnesses": found.witnesses,
        "quorum": found.quorum,
    }


def print_summary(audited: Audited) -> None:
    charter, signed = audited.chain.in_force, audited.checkpoint.signed_at
    say(f"{charter.consortium}: log {charter.log_origin}, charter version {charter.version}")
    say(f"checkpoint of {audited.size} leaves, signed {signed or 'at an unknown time'}")
    say(str(audited.witnessing or "the export holds no checkpoint that witnesses cosigned"))
    if audited.dated is not None:
        by = "the given authority" if audited.dated.trusted else "an authority not checked here (--timestamp-ca)"
        say(f"that checkpoint was there at {timestamp(audited.dated.at)}, by the clock of {by}")
    rows = [(kind, str(count)) for kind, count in sorted(audited.kinds.items())]
    print_table("Leaves", ("kind", "count"), rows)
    studies = [
        (
            one.study[:12],
            one.contract.title,
            one.closed.outcome if one.closed else "open",
            f"{sum(past.closed is not None for past in one.rounds.values())}",
            ", ".join(one.approvals) or "nobody",
        )
        for one in audited.studies.values()
    ]
    print_table("Studies", ("study", "title", "outcome", "rounds closed", "approved by"), studies)
    budgets = [
        (one.silo, one.name, f"{audited.spending.epsilon_spent(one):.3f}", f"{one.epsilon:g}", f"{one.delta:g}")
        for one in audited.spending.domains.values()
    ]
    print_table("Budgets, recomputed", ("silo", "domain", "epsilon spent", "cap", "delta"), budgets)
    beside = [(row.silo, row.domain, row.beside, row.reason or "no word of its owner") for row in domain_rows(audited)]
    if beside:
        print_table("Domains beside a first one", ("silo", "domain", "other persons than", "reason"), beside)
    caps = [(row.silo, row.domain, row.on, f"{row.share:.1%}", f"{row.charged:.1%}") for row in cap_rows(audited)]
    if caps:
        print_table("Caps beside the domains' own", ("silo", "domain", "cap on", "at most", "charged"), caps)
    for difference in differences(audited):
        say(f"DIFFERENCE: {difference}")


def say_failed(failed: AuditFailed, as_json: bool) -> None:
    if as_json:
        print_json({"verified": False, "leaf": failed.leaf, "reason": str(failed)})
        return
    out.print("[bold red]NOT VERIFIED[/bold red]")
    say(str(failed))
