"""The pages of requests, and the one way in which an answer gets from a form to the node."""

from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from pages.local_requests import Turned, same
from protocol.ids import MAX_SENTENCE
from protocol.record import StudyRecord
from silo_node.agent.answering import KEPT_AS, Choice, give_answer, let_resume
from silo_node.console.reasons import NEEDED, reason_in, typed
from silo_node.console.request_list import request_list
from silo_node.console.request_view import RequestView, request_view
from silo_node.console.signing_preview import AT_SIGNING
from silo_node.console.visit import Visit, Visiting

router = APIRouter()

Page = Annotated[int, Query(ge=1, le=10**6)]
WITH_REASON: Final = ("refuse", "withdraw", "withhold")


@router.get("/{place}/")
async def requests(visit: Visiting, page: Page = 1) -> HTMLResponse:
    records = visit.desk.studies().records.values()
    groups, where = request_list(visit.desk.silo, records, page)
    return visit.page("console/requests.html", groups=groups, where=where, charter=visit.desk.config.charter)


@router.get("/{place}/requests/{study}")
async def request(visit: Visiting, study: str) -> HTMLResponse:
    return _show(visit, _view(visit, _record(visit, study)))


@router.post("/{place}/requests/{study}")
async def answer(visit: Visiting, study: str) -> Response:
    """Takes an answer that was made on what stands now; the very same one again changes nothing."""
    fields, record = await visit.form(), _record(visit, study)
    choice = _choice(fields)
    view = _view(visit, record)
    if not same(fields.get("digest", ""), view.digest):
        raise Turned(409, "This form is about another contract. Nothing was decided.")
    if _given(visit, record, choice, fields):
        return _back(visit, record)
    if not same(fields.get("shown", ""), view.shown) or choice not in view.choices:
        text = "Something changed since this page was shown. Nothing was decided: decide on what stands now."
        return _show(visit, view, text, fields, 409)
    try:
        reason = reason_in(fields) if choice in WITH_REASON else ""
    except ValidationError:
        return _show(visit, view, NEEDED, fields, 422)
    if choice == "resume":
        let_resume(visit.desk.silo, record)
    else:
        give_answer(visit.desk.silo, record, KEPT_AS[choice], reason)
    return _back(visit, record)


def _given(visit: Visit, record: StudyRecord, choice: Choice, fields: dict[str, str]) -> bool:
    """Whether this very answer was taken already: a form that was sent twice."""
    silo = visit.desk.silo
    if choice == "resume":
        return silo.tasks.resumed(record.study, record.pauses[silo.name])
    if choice == "compute" and silo.tasks.held(record.study) is not None:
        return False  # The yes that is kept was given before the round was held.
    return silo.tasks.answered(record.study, KEPT_AS[choice]) == typed(fields)


def _back(visit: Visit, record: StudyRecord) -> Response:
    return RedirectResponse(visit.path("requests", record.study) + "#decide", 303)


def _choice(fields: dict[str, str]) -> Choice:
    for choice in get_args(Choice):
        if choice == fields.get("choice"):
            return choice  # type: ignore[no-any-return]
    raise Turned(400, "Choose one of the buttons. Nothing was decided.")


def _record(visit: Visit, study: str) -> StudyRecord:
    record = visit.desk.studies().records.get(study)
    if record is None:
        raise Turned(404, "This silo has read of no such study.")
    return record


def _view(visit: Visit, record: StudyRecord) -> RequestView:
    studies = visit.desk.studies()
    broken = studies.broken.get(record.study)
    return request_view(visit.desk.silo, visit.desk.ledger, record, broken, studies.records.values())


def _show(
    visit: Visit, view: RequestView, trouble: str = "", fields: dict[str, str] | None = None, status: int = 200
) -> HTMLResponse:
    return visit.page(
        "console/request.html",
        status,
        view=view,
        trouble=trouble,
        reason=(fields or {}).get("reason", ""),
        longest=MAX_SENTENCE,
        at_signing=AT_SIGNING,
    )
