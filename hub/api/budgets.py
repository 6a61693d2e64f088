"""The mirror of the budgets."""

from typing import Annotated

from fastapi import APIRouter, Depends

from hub.api.admission import caller_of
from hub.services.identity import Caller
from hub.services.wiring import Services
from protocol.routes import BUDGETS, BudgetStatus


def router(services: Services) -> APIRouter:
    api = APIRouter()

    @api.get(BUDGETS)
    def budgets(caller: Annotated[Caller, Depends(caller_of(services))]) -> list[BudgetStatus]:
        """A silo sees its own domains, people see all."""
        return services.budgets.status(caller.name if caller.role == "silo" else None)

    return api
