"""What a report shows of a verified log, made into words, rows and charts."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from client.audit.replay import Audited
from client.audit.selection import Kept, Row, Selection
from client.errors import AuditFailed
from pages.charts import Bar, Span, budget_bars, timeline
from pages.contract import Section, SiloLine, in_words, silo_lines
from protocol import accounting
from protocol.charter import Charter, Member, charter_digest, key_words
from protocol.export import RecordedLeaf
from protocol.ids import moment
from protocol.membership_statements import CharterPublished
from protocol.record import StudyRecord
from protocol.round_record import RoundRecord
from protocol.rounds import plan_round, round_layout
from protocol.signing import parse
from protocol.spending import Domain, Spending
from protocol.tree import HashedTree


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A domain; ``spent`` is epsilon over the whole log, ``shown`` what the report's selection took of it alone."""

    domain: Domain
    spent: float
    shown: float


@dataclass(frozen=True, slots=True)
class CharterView:
    """One version: where it stands, when the log took it in, who signed it, what it changed."""

    version: int
    leaf: int
    at: str
    digest: str
    signers: str
    changes: str


@dataclass(frozen=True, slots=True)
class RowView:
    """An entry with its way up to the root (hexadecimal)."""

    row: Row
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StudyView:
    """What the page shows of one study."""

    record: StudyRecord
    outcome: str
    words: tuple[Section, ...]
    silos: tuple[tuple[SiloLine, str, str], ...]
    approval: str
    decisions: tuple[Row, ...]
    timeline: Markup | None
    voids: tuple[str, ...]
    traffic: str
    release: str
    exchanges: tuple[RowView, ...]


def budget_rows(audited: Audited, kept: Kept) -> tuple[BudgetRow, ...]:
    """The domains that the selection concerns, by silo and name."""
    spending, selection = audited.spending, kept.selection
    rows = []
    for _, domain in sorted(spending.domains.items()):
        if selection.silo in (None, domain.silo):
            cost = sum(
                charge.cost
                for (silo, study), charges in spending.charges.items()
                for index, charge in charges.items()
                if charge.domain == domain and selection.names(study)
                if selection.within(kept.reserved_at[silo, study, index])
            )
            shown = accounting.epsilon_at(cost, domain.delta, domain.order)
            rows.append(BudgetRow(domain, spending.epsilon_spent(domain), shown))
    return tuple(rows)


def budget_chart(rows: tuple[BudgetRow, ...]) -> Markup:
    return Markup(budget_bars("Epsilon spent of its cap", [_bar(row) for row in rows]))  # noqa: S704  # escaped there


def charter_views(audited: Audited, kept: Kept) -> tuple[CharterView, ...]:
    """Every version, oldest first; a report always shows them all."""
    views, before = [], None
    for leaf, charter in zip(kept.charters, audited.chain.charters, strict=True):
        signers = ", ".join(sorted({one.signer for one in _published(leaf).signatures}))
        changes = "founding charter" if before is None else _changes(before, charter)
        at = leaf.entry.recorded_at
        views.append(CharterView(charter.version, leaf.index, at, charter_digest(charter), signers, changes))
        before = charter
    return tuple(views)


def _published(leaf: RecordedLeaf) -> CharterPublished:
    body = parse(leaf.recorded or b"").body
    if not isinstance(body, CharterPublished):
        raise AuditFailed("a charter's leaf holds something else", leaf.index)
    return body


def _changes(before: Charter, after: Charter) -> str:
    """The names that came, went or got other keys, and the fields that are different."""
    said = []
    for word, old, new in (
        ("silo", {m.silo: m for m in before.members}, {m.silo: m for m in after.members}),
        ("person", {p.person: p for p in before.people}, {p.person: p for p in after.people}),
    ):
        said += [f"{word} {name} added" for name in new.keys() - old.keys()]
        said += [f"{word} {name} removed" for name in old.keys() - new.keys()]
        said += [f"{word} {name} has another key or role" for name in old.keys() & new.keys() if old[name] != new[name]]
    listed = {"members", "people", "version", "previous"}
    fields = [name for name in type(after).model_fields if name not in listed]
    said += [f"{name} changed" for name in fields if getattr(before, name) != getattr(after, name)]
    return ", ".join(sorted(said)) or "nothing but its version"


def study_views(audited: Audited, kept: Kept) -> tuple[StudyView, ...]:
    """The studies that the selection concerns: of the silo, the id, and with an entry in the period."""
    silo, tree = kept.selection.silo, HashedTree(kept.hashes)
    chosen = (
        record
        for study, record in audited.studies.items()
        if study in kept.exchanges and silo in (None, *record.contract.silo_names)
    )
    return tuple(_view(record, audited.spending, kept, tree) for record in chosen)


def traffic(record: StudyRecord, selection: Selection) -> tuple[int, int]:
    """Bytes of sealed terms up, and of sums down to the silos that used them, over the served rounds of the period."""
    up = down = 0
    for index, one in _rounds(record, selection):
        if one.frozen is None or one.served is None:
            continue
        layout = round_layout(record.contract, index, len(one.frozen.ready))
        up += layout.upload_bytes * len(one.uploads)
        survivors = len(one.served.survivors)
        down += survivors * sum(layout.sum_chunk_bytes(chunk, survivors) for chunk in range(layout.chunks))
    return up, down


def _rounds(record: StudyRecord, selection: Selection) -> Iterator[tuple[int, RoundRecord]]:
    """The rounds that were opened in the period, in order."""
    yield from ((index, one) for index, one in sorted(record.rounds.items()) if selection.within(one.opened_at))


def member_words(member: Member) -> str:
    try:
        return key_words(member.signing_key, member.receiving_key)
    except ValueError:
        return "its receiving key is not readable"


def _bar(row: BudgetRow) -> Bar:
    note = f"epsilon {row.spent:.3f} of {row.domain.epsilon:g} at delta {row.domain.delta:g}, per {row.domain.unit}"
    return Bar(f"{row.domain.silo} / {row.domain.name}", row.spent, row.domain.epsilon, note)


def _view(record: StudyRecord, spending: Spending, kept: Kept, tree: HashedTree) -> StudyView:
    spans = list(_spans(record, kept.selection))
    chart = Markup(timeline("Rounds over time", spans)) if spans else None  # noqa: S704  # every text in it is escaped
    up, down = traffic(record, kept.selection)
    rows = kept.exchanges[record.study]
    return StudyView(
        record=record,
        outcome=_outcome(record),
        words=in_words(record.contract, record.study),
        silos=tuple((line, *_silo(record, spending, line.silo)) for line in silo_lines(record.contract)),
        approval=_approval(record),
        decisions=tuple(kept.decisions.get(record.study, ())),
        timeline=chart,
        voids=tuple(_voids(record, kept.selection)),
        traffic=f"{up / 1e6:.2f} MB of sealed terms up, {down / 1e6:.2f} MB of sums down, all silos together.",
        release=_release(record),
        exchanges=tuple(RowView(row, tuple(node.hex() for node in tree.path(row.index))) for row in rows),
    )


def _silo(record: StudyRecord, spending: Spending, silo: str) -> tuple[str, str]:
    charged = f"{spending.study_epsilon(silo, record.study, record.contract):.3f}"
    if silo in record.refused:
        return charged, f"refused ({record.refused[silo]})"
    out = (("withdrew", record.withdrawn), ("suspended", record.suspended), ("paused", record.paused))
    states = [name for name, held in out if silo in held]
    accepted = ["accepted"] if silo in record.accepted or silo in record.keyed else ["no answer"]
    return charged, ", ".join(accepted + states)


def _approval(record: StudyRecord) -> str:
    charter, given = record.charter, len(record.approved_by)
    stands = "the study stands" if record.stands else "the study doesn't stand"
    asked = f"charter version {charter.version}, which asks for {charter.threshold}"
    return f"{given} of {len(charter.admins)} admins approve under {asked}: {stands}."


def _outcome(record: StudyRecord) -> str:
    if record.closed is None:
        return f"Proposed {record.proposed_at}; {len(record.rounds)} rounds opened so far."
    return f"Proposed {record.proposed_at}; {record.closed.outcome} {record.closed.issued_at}: {record.closed.reason}"


def _release(record: StudyRecord) -> str:
    if not record.released_to:
        return "Not released."
    silos = ", ".join(record.confirmations)
    return f"Released to {', '.join(record.released_to)} after {silos} each confirmed the bundle."


def _voids(record: StudyRecord, selection: Selection) -> Iterator[str]:
    for index, one in _rounds(record, selection):
        if one.voided is not None:
            out = f" {', '.join(one.voided.suspended)} put out." if one.voided.suspended else ""
            yield f"Round {index} was void, and charged all the same: {one.voided.reason}.{out}"


def _spans(record: StudyRecord, selection: Selection) -> Iterator[Span]:
    rounds = [(index, one) for index, one in _rounds(record, selection) if one.closed_at is not None]
    start = min((moment(one.opened_at) for _, one in rounds), default=None)
    for index, one in rounds:
        if start is None or one.closed_at is None:
            continue
        begin, end = (moment(at) - start for at in (one.opened_at, one.closed_at))
        stage = plan_round(record.contract, index).stage
        label, kind = f"round {index}, {stage}", "void" if one.voided is not None else stage
        yield Span(
            f"{label}, void" if one.voided is not None else label, begin.total_seconds(), end.total_seconds(), kind
        )
