"""A verified log as one page that needs nothing else: HTML to read and to file, PDF to print and to hand on."""

from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from client.audit.declared_views import cap_rows, differences, domain_rows
from client.audit.job_views import job_rows
from client.audit.replay import Audited
from client.audit.report_views import budget_chart, budget_rows, charter_views, member_words, study_views
from client.audit.selection import Kept, Selection
from client.audit.verify import Seen, every, verify_file
from client.errors import UsageRefused
from protocol.charter import charter_digest
from protocol.ids import timestamp

PDF_REMEDY = (
    "a PDF needs WeasyPrint (pip install 'consortia[pdf]') and the library Pango (on Debian: apt install "
    "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0); or write the report as .html and print it from a browser"
)


def write_report(
    log: Path, founding: str, to: Path, selection: Selection, made_at: datetime, seen: Seen | None = None
) -> Audited:
    """Verify the export ``log`` and write its report to ``to``, as its name ends: .html or .pdf.

    Raises ``AuditFailed`` for a log that doesn't verify, ``UsageRefused`` for an output that can't be written.
    """
    if to.suffix not in (".html", ".pdf"):
        raise UsageRefused(f"--out {to}: the report is written as .html or .pdf")
    if to.suffix == ".pdf":
        _require_pdf()
    kept = Kept(selection)
    audited = verify_file(log, founding, seen=every(kept, seen))
    page = render_report(audited, kept, made_at)
    try:
        to.write_bytes(as_pdf(page) if to.suffix == ".pdf" else page.encode())
    except OSError as error:
        raise UsageRefused(f"{to} can't be written: {error.strerror}") from None
    return audited


def render_report(audited: Audited, kept: Kept, made_at: datetime) -> str:
    """The page. ``audited`` comes from ``verify_export`` with ``kept``: nothing unverified can be shown."""
    charter, checkpoint, selection = audited.chain.in_force, audited.checkpoint, kept.selection
    rows = budget_rows(audited, kept)
    page: str = (
        _environment()
        .get_template("report.html")
        .render(
            consortium=charter.consortium,
            founding=audited.chain.founding,
            made_at=timestamp(made_at),
            style=Markup(files("pages").joinpath("static/style.css").read_text("utf-8")),  # noqa: S704  # our own file
            selection=selection,
            size=checkpoint.size,
            origin=checkpoint.origin,
            root=checkpoint.root_hash.hex(),
            signed_at=timestamp(checkpoint.signed_at) if checkpoint.signed_at else "without a time",
            witnessing=audited.witnessing,
            dated=timestamp(audited.dated.at) if audited.dated else None,
            charter=charter,
            head=charter_digest(charter),
            charters=charter_views(audited, kept),
            refusals=audited.kinds["refusal"],
            members=[(member.silo, member_words(member)) for member in charter.members],
            budgets=rows,
            budget_chart=budget_chart(rows),
            caps=cap_rows(audited, selection.silo),
            new_domains=domain_rows(audited, selection.silo),
            differences=differences(audited, selection.silo),
            studies=study_views(audited, kept),
            all_studies=len(audited.studies),
            jobs=job_rows(audited, selection),
        )
    )
    return page


def as_pdf(page: str) -> bytes:
    """The page by its rules for print, as PDF. It may load nothing: it has all that it needs."""
    _require_pdf()
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    document = HTML(string=page, url_fetcher=URLFetcher(allowed_protocols=())).write_pdf()
    if not isinstance(document, bytes):
        raise UsageRefused(PDF_REMEDY)
    return document


def _require_pdf() -> None:
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError):  # OSError: the package is there, Pango isn't
        raise UsageRefused(PDF_REMEDY) from None


def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("client", "templates"), PackageLoader("pages", "templates")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
