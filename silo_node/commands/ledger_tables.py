"""Balances, caps, forecasts and differences as ``consortia-silo ledger`` shows them, and as values for scripts."""

from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from protocol.spend import PICOS
from silo_node.agent.answers import budget_values
from silo_node.agent.forecasting import DatasetForecast
from silo_node.agent.reconciling import Line
from silo_node.commands.options import out
from silo_node.ledger.budget import Balance, PrivacyDomain
from silo_node.ledger.caps import EACH, CapBalance


def print_balances(found: list[Balance]) -> None:
    table = Table("domain", "unit", "cap", "delta", "epsilon spent", Column("of the budget", no_wrap=True))
    for balance in found:
        share = balance.spent_picos / balance.domain.cap_picos
        bar = "█" * round(10 * share) + "░" * (10 - round(10 * share))
        cells = (balance.domain.name, balance.domain.unit, f"{balance.domain.epsilon:g}", f"{balance.domain.delta:g}")
        table.add_row(*cells, f"{balance.epsilon_spent:.3f}", f"{bar} {share:.0%}")
    out.print(table)


def print_caps(found: list[tuple[Balance, tuple[CapBalance, ...]]]) -> None:
    if not any(caps for _, caps in found):
        return
    table = Table("cap on", "domain", "epsilon", "of the budget", "spent", "left")
    for balance, caps in found:
        whole = balance.domain.cap_picos
        for one in caps:
            spent, left = f"{one.spent_picos / whole:.1%}", f"{one.remaining_picos / whole:.1%}"
            if one.cap.name == EACH and one.name != EACH:
                spent += f" ({one.name[:12]})"
            shown = (f"{one.epsilon(balance.domain):.3f}", f"{one.cap_picos / whole:.1%}", spent, left)
            table.add_row(str(one.cap)[:40], balance.domain.name, *shown)
    out.print(table)


def forecast_line(one: DatasetForecast) -> str:
    told = escape(f"{str(one)[0].upper()}{str(one)[1:]}")
    return f"[bold]{told}[/bold] (like {escape(one.title)}, {one.forecast.share:.1%} of the budget each)."


def words(standing: list[CapBalance], domain: PrivacyDomain) -> str:
    if not standing:
        return "lifted"
    (one,) = standing
    share = f"{one.cap_picos / domain.cap_picos:.1%} of its budget"
    return f"epsilon {one.epsilon(domain):.3f} at delta {domain.delta:g}, {share}; {one.spent_picos / PICOS:.4f} spent"


def print_lines(differences: list[Line]) -> None:
    if not differences:
        return
    table = Table("what", "study", "verdict", "detail")
    for line in differences:
        table.add_row(line.what, line.study[:12], f"[red]{line.verdict}[/red]", line.detail)
    out.print(table)


def line_values(line: Line) -> dict[str, str]:
    return {"what": line.what, "study": line.study, "verdict": line.verdict, "detail": line.detail}


def values(balance: Balance, caps: tuple[CapBalance, ...], told: tuple[DatasetForecast, ...]) -> dict[str, Any]:
    domain = balance.domain
    return {
        **budget_values(balance),
        "caps": [
            {
                "scope": one.cap.scope,
                "name": one.cap.name,
                "epsilon": one.epsilon(domain),
                "cap_picos": one.cap_picos,
                "spent_picos": one.spent_picos,
                "spent_by": one.name,
            }
            for one in caps
        ],
        "forecasts": [
            {
                "dataset": one.dataset,
                "like": one.study,
                "cost_picos": one.forecast.cost_picos,
                "more": one.forecast.more,
            }
            for one in told
            if one.domain == domain.name
        ],
    }
