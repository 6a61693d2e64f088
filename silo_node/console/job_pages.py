"""The pages of reviewed code, and the one way in which an answer to a job gets from a form to the node."""

from typing import Final, get_args

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from pages.local_requests import Turned, same
from protocol.ids import MAX_SENTENCE
from protocol.job_record import JobRecord
from silo_node.agent import job_answering
from silo_node.agent.job_answering import EXACT
from silo_node.agent.job_memory import JobAnswer
from silo_node.console.job_list import job_list
from silo_node.console.job_view import JobView, job_view
from silo_node.console.reasons import NEEDED, reason_in, typed
from silo_node.console.request_pages import Page
from silo_node.console.signing_preview import AT_SIGNING
from silo_node.console.visit import Visit, Visiting

router = APIRouter()
WITH_REASON: Final = ("refuse", "discard")


@router.get("/{place}/code")
async def jobs(visit: Visiting, page: Page = 1) -> HTMLResponse:
    groups, where = job_list(visit.desk.silo, visit.desk.reading.jobs(), page)
    return visit.page("console/jobs.html", groups=groups, where=where)


@router.get("/{place}/code/{job}")
async def job(visit: Visiting, job: str) -> HTMLResponse:
    return _show(visit, job_view(visit.desk, _record(visit, job)))


@router.post("/{place}/code/{job}")
async def answer(visit: Visiting, job: str) -> Response:
    """Takes an answer that was made on what stands now; the very same one again changes nothing."""
    fields, record = await visit.form(), _record(visit, job)
    choice, view = _choice(fields), job_view(visit.desk, record)
    if not same(fields.get("digest", ""), view.digest(choice)):
        return _show(
            visit, view, "This form is about something else than what is here. Nothing was decided.", fields, 409
        )
    if view.answered == (choice, typed(fields) if choice in WITH_REASON else view.digest(choice)):
        return _back(visit, record)
    if not same(fields.get("shown", ""), view.shown) or choice not in view.choices:
        text = "Something changed since this page was shown. Nothing was decided: decide on what stands now."
        return _show(visit, view, text, fields, 409)
    try:
        _take(visit, view, choice, reason_in(fields) if choice in WITH_REASON else "")
    except ValidationError:
        return _show(visit, view, NEEDED, fields, 422)
    return _back(visit, record)


def _take(visit: Visit, view: JobView, choice: JobAnswer, reason: str) -> None:
    silo, record = visit.desk.silo, view.record
    match choice:
        case "approve":
            job_answering.approve(silo, record, view.digest(choice))
        case "refuse":
            job_answering.refuse(silo, record, reason)
        case "release":
            job_answering.release(silo, record, view.digest(choice))
        case "discard":
            job_answering.discard(silo, record, reason)


def _choice(fields: dict[str, str]) -> JobAnswer:
    for choice in get_args(JobAnswer):
        if choice == fields.get("choice"):
            return choice  # type: ignore[no-any-return]
    raise Turned(400, "Choose one of the buttons. Nothing was decided.")


def _record(visit: Visit, job: str) -> JobRecord:
    record = visit.desk.reading.jobs().records.get(job)
    if record is None:
        raise Turned(404, "This silo has read of no such job.")
    return record


def _back(visit: Visit, record: JobRecord) -> Response:
    return RedirectResponse(visit.path("code", record.job) + "#decide", 303)


def _show(
    visit: Visit, view: JobView, trouble: str = "", fields: dict[str, str] | None = None, status: int = 200
) -> HTMLResponse:
    return visit.page(
        "console/job.html",
        status,
        view=view,
        trouble=trouble,
        reason=(fields or {}).get("reason", ""),
        longest=MAX_SENTENCE,
        at_signing=AT_SIGNING,
        exact=EXACT,
    )
