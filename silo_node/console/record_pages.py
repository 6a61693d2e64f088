"""The pages that only show: datasets, ledger, journal, node."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pages.local_requests import Turned
from protocol.errors import Malformed
from silo_node.console.dataset_view import dataset_view
from silo_node.console.journal_view import Asked, Entry, journal_view
from silo_node.console.ledger_view import ledger_view
from silo_node.console.node_view import node_view
from silo_node.console.paging import Cut
from silo_node.console.request_pages import Page
from silo_node.console.visit import Visiting
from silo_node.errors import DatasetRefused

router = APIRouter()
Typed = Annotated[str, Query(max_length=64)]
NOTHING = Cut(1, 1, 0, 0)


@router.get("/{place}/datasets")
async def datasets(visit: Visiting) -> HTMLResponse:
    known, silo = visit.desk.studies().datasets, visit.desk.silo
    published = {name for issuer, name in known if issuer == silo.identity.party}
    return visit.page("console/datasets.html", datasets=silo.catalogue.list(), published=published)


@router.get("/{place}/datasets/{name}")
async def dataset(visit: Visiting, name: str) -> HTMLResponse:
    try:
        view = dataset_view(visit.desk, name)
    except DatasetRefused as refusal:
        raise Turned(404, str(refusal)) from None
    return visit.page("console/dataset.html", view=view)


@router.get("/{place}/ledger")
async def ledger(visit: Visiting) -> HTMLResponse:
    silo, reading, records = visit.desk.silo, visit.desk.ledger, visit.desk.studies().records
    return visit.page(
        "console/ledger.html",
        domains=ledger_view(silo, reading, records.values()),
        titles={study: record.contract.title for study, record in records.items()},
        compared=reading.compared(silo),
    )


@router.get("/{place}/journal")
async def journal(
    visit: Visiting, since: Typed = "", until: Typed = "", study: Typed = "", page: Page = 1
) -> HTMLResponse:
    asked = Asked(since.strip(), until.strip(), study.strip())
    entries: tuple[Entry, ...] = ()
    where, trouble = NOTHING, ""
    try:
        entries, where = journal_view(visit.desk, asked, page)
    except Malformed as refusal:
        trouble = str(refusal)
    return visit.page(
        "console/journal.html",
        422 if trouble else 200,
        entries=entries,
        where=where,
        trouble=trouble,
        asked=asked,
        check=visit.desk.journal_check.found,
    )


@router.post("/{place}/journal")
async def check_journal(visit: Visiting) -> Response:
    """Reads the journal from its first entry on, and holds it against all that this silo signed."""
    await visit.form()
    visit.desk.journal_check.run()
    return RedirectResponse(visit.path("journal"), 303)


@router.get("/{place}/node")
async def node(visit: Visiting) -> HTMLResponse:
    return visit.page("console/node.html", view=node_view(visit.desk))
