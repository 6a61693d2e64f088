"""A verified log as one HTML page that needs nothing else: for a compliance officer to read, file and print."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from client.audit.replay import Audited
from pages.charts import Bar, Span, budget_bars, timeline
from pages.contract import Section, SiloLine, in_words, silo_lines
from protocol.charter import Member, charter_digest, key_words
from protocol.ids import moment, timestamp
from protocol.record import StudyRecord
from protocol.rounds import plan_round, round_layout
from protocol.spending import Domain, Spending


@dataclass(frozen=True, slots=True)
class BudgetRow:
    domain: Domain
    spent: float


@dataclass(frozen=True, slots=True)
class StudyView:
    """What the page shows of one study."""

    record: StudyRecord
    outcome: str
    words: tuple[Section, ...]
    silos: tuple[tuple[SiloLine, str, str], ...]
    timeline: Markup | None
    voids: tuple[str, ...]
    traffic: str
    release: str
    leaves: tuple[tuple[str, list[int]], ...]


def render_report(audited: Audited, made_at: datetime) -> str:
    """The page. ``audited`` comes from ``verify_export``: nothing unverified can be shown."""
    charter, checkpoint = audited.chain.in_force, audited.checkpoint
    rows = budget_rows(audited.spending)
    page: str = (
        _environment()
        .get_template("report.html")
        .render(
            consortium=charter.consortium,
            founding=audited.chain.founding,
            made_at=timestamp(made_at),
            style=Markup(files("pages").joinpath("static/style.css").read_text("utf-8")),  # noqa: S704  # our own file
            size=checkpoint.size,
            origin=checkpoint.origin,
            root=checkpoint.root_hash.hex(),
            signed_at=timestamp(checkpoint.signed_at) if checkpoint.signed_at else "without a time",
            charter=charter,
            head=charter_digest(charter),
            refusals=audited.kinds["refusal"],
            members=[(member.silo, _words(member)) for member in charter.members],
            budgets=rows,
            budget_chart=Markup(budget_bars("Epsilon spent of its cap", [_bar(row) for row in rows])),  # noqa: S704
            studies=[_view(record, audited.spending) for record in audited.studies.values()],
        )
    )
    return page


def budget_rows(spending: Spending) -> tuple[BudgetRow, ...]:
    """Every domain with the epsilon that it has spent, by silo and name."""
    ordered = sorted(spending.domains.items())
    return tuple(BudgetRow(domain, spending.epsilon_spent(domain)) for _, domain in ordered)


def traffic(record: StudyRecord) -> tuple[int, int]:
    """Bytes of sealed terms up, and of sums down to the silos that used them, over all closed rounds."""
    up = down = 0
    for index, one in record.rounds.items():
        if one.frozen is None or one.served is None:
            continue
        layout = round_layout(record.contract, index, len(one.frozen.ready))
        up += layout.upload_bytes * len(one.uploads)
        survivors = len(one.served.survivors)
        down += survivors * sum(layout.sum_chunk_bytes(chunk, survivors) for chunk in range(layout.chunks))
    return up, down


def _words(member: Member) -> str:
    try:
        return key_words(member.signing_key, member.receiving_key)
    except ValueError:
        return "its receiving key is not readable"


def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("client", "templates"), PackageLoader("pages", "templates")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _bar(row: BudgetRow) -> Bar:
    note = f"epsilon {row.spent:.3f} of {row.domain.epsilon:g} at delta {row.domain.delta:g}, per {row.domain.unit}"
    return Bar(f"{row.domain.silo} / {row.domain.name}", row.spent, row.domain.epsilon, note)


def _view(record: StudyRecord, spending: Spending) -> StudyView:
    spans = list(_spans(record))
    chart = Markup(timeline("Rounds over time", spans)) if spans else None  # noqa: S704  # every text in it is escaped
    up, down = traffic(record)
    return StudyView(
        record=record,
        outcome=_outcome(record),
        words=in_words(record.contract, record.study),
        silos=tuple((line, *_silo(record, spending, line.silo)) for line in silo_lines(record.contract)),
        timeline=chart,
        voids=tuple(_voids(record)),
        traffic=f"{up / 1e6:.2f} MB of sealed terms up, {down / 1e6:.2f} MB of sums down, all silos together.",
        release=_release(record),
        leaves=tuple(sorted(record.leaves.items(), key=lambda item: item[1][0])),
    )


def _silo(record: StudyRecord, spending: Spending, silo: str) -> tuple[str, str]:
    charged = f"{spending.study_epsilon(silo, record.study, record.contract):.3f}"
    if silo in record.refused:
        return charged, f"refused ({record.refused[silo]})"
    out = (("withdrew", record.withdrawn), ("suspended", record.suspended), ("paused", record.paused))
    states = [name for name, held in out if silo in held]
    accepted = ["accepted"] if silo in record.accepted or silo in record.keyed else ["no answer"]
    return charged, ", ".join(accepted + states)


def _outcome(record: StudyRecord) -> str:
    if record.closed is None:
        return f"Proposed {record.proposed_at}; {len(record.rounds)} rounds opened so far."
    return f"Proposed {record.proposed_at}; {record.closed.outcome} {record.closed.issued_at}: {record.closed.reason}"


def _release(record: StudyRecord) -> str:
    if not record.released_to:
        return "Not released."
    silos = ", ".join(record.confirmations)
    return f"Released to {', '.join(record.released_to)} after {silos} each confirmed the bundle."


def _voids(record: StudyRecord) -> Iterator[str]:
    for index, one in sorted(record.rounds.items()):
        if one.voided is not None:
            out = f" {', '.join(one.voided.suspended)} put out." if one.voided.suspended else ""
            yield f"Round {index} was void, and charged all the same: {one.voided.reason}.{out}"


def _spans(record: StudyRecord) -> Iterator[Span]:
    if not record.rounds:
        return
    start = min(moment(one.opened_at) for one in record.rounds.values())
    for index, one in sorted(record.rounds.items()):
        if one.closed_at is None:
            continue
        begin, end = (moment(at) - start for at in (one.opened_at, one.closed_at))
        stage = plan_round(record.contract, index).stage
        label, kind = f"round {index}, {stage}", "void" if one.voided is not None else stage
        yield Span(
            f"{label}, void" if one.voided is not None else label, begin.total_seconds(), end.total_seconds(), kind
        )
