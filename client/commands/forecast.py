"""``consortia study simulate``: the accuracy to expect against epsilon, before anyone is asked."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    err,
    open_connection,
    out,
    print_json,
    print_table,
    printable,
    say,
)
from client.errors import UsageRefused
from client.forecast import EPSILONS, REPEATS, Asked, Expected, Forecast, forecast, in_words, trained
from client.registrations import by_members
from client.studies import draft_contract
from client.trial import USUAL_ROWS
from pages.accuracy_chart import Mark, accuracy_chart
from protocol.draft import read_draft
from protocol.study import contract_value
from protocol.training_draft import TrainingDraft
from protocol.training_study import TrainingContract

INTERRUPTED: Final = 130
USUAL: Final = ",".join(f"{one:g}" for one in EPSILONS)
NO_SIGNAL: Final = (
    "Mock rows are made from the published schema alone and hold none of the real data's signal: here they tell what "
    "noise and rounding cost, and nothing of the accuracy to expect. For that give --data: public rows with the same "
    "columns, of the same kind of people."
)
PUBLIC: Final = (
    "The accuracy is that of the public rows. Yours will differ as far as your rows do; what each epsilon costs "
    "carries over if the silos hold about as many rows as were simulated."
)


def simulate_(
    draft: Annotated[Path, typer.Argument(help="A draft, e.g. docs/samples/heart.yaml")],
    hub: Hub,
    key: Key,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Public rows: SILO=FILE.csv, repeatable; or FILE.csv alone, dealt out to all silos"),
    ] = None,
    epsilons: Annotated[str, typer.Option(help="The epsilons, with commas")] = USUAL,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Studies at each epsilon")] = REPEATS,
    rows: Annotated[int, typer.Option(min=1, help="Simulate at most so many rows a silo")] = USUAL_ROWS,
    plot: Annotated[Path | None, typer.Option(help="Write the plot to this SVG file")] = None,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a study in full at several epsilons, often: the accuracy to expect. Nothing is sent or spent.

    Ctrl-C stops it and shows what was done by then; exit code 130.
    """
    asked = Asked(_data(data or []), _numbers(epsilons), repeats, rows)
    connection = open_connection(hub, key, charter)
    read, contract = read_draft(draft), draft_contract(connection, draft)
    if not isinstance(read, TrainingDraft) or not isinstance(contract, TrainingContract):
        raise UsageRefused(f"{draft} is of a study that trains nothing; consortia study try shows its answers")
    published = by_members(connection, contract.data.dataset)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def draw(done: int, total: int, what: str) -> None:
            progress.update(task, description=what, completed=done, total=total)

        found = forecast(*trained(read_draft(draft), contract), published, asked, draw)
    if plot is not None:
        plot.write_text(_chart(found), encoding="utf-8")
    print_json(_value(found)) if as_json else _print(found, draft, plot)
    raise typer.Exit(0 if found.whole else INTERRUPTED)


def _data(given: list[str]) -> Path | dict[str, Path]:
    if len(given) == 1 and "=" not in given[0]:
        return Path(given[0])
    files = {}
    for one in given:
        silo, equals, path = one.partition("=")
        if not (silo and equals and path) or silo in files:
            raise UsageRefused(f"--data {one[:80]!r}: give SILO=FILE.csv, each silo once, or one FILE.csv alone")
        files[silo] = Path(path)
    return files


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageRefused(f"--epsilons {text[:80]!r}: give numbers with commas, e.g. 0.5,1,2,5,10") from None


def _print(found: Forecast, draft: Path, plot: Path | None) -> None:
    mock = len(found.rows.silos) - len(found.rows.public)
    kind = "MOCK ROWS" if not found.rows.public else "PUBLIC ROWS" if not mock else "PUBLIC AND MOCK ROWS"
    out.print(f"[bold]FORECAST ON {kind}[/bold]: nothing was sent, nobody was asked, nothing was spent")
    say(printable(f"  {found.contract.title}"))
    if not found.whole:
        out.print("stopped early: the figures are of the runs that were done", style="yellow")
    columns = ("epsilon", "accuracy", "one study strays", "its release errs by", "charged", "runs")
    print_table("", columns, map(_row, found.points))
    say(f"always the commoner answer: {_share(found.commonest)}; delta {found.contract.privacy.delta:g}")
    for point in found.points:
        if point.refusal:
            say(printable(f"{in_words(point.epsilon)} can't be had: {point.refusal}"))
        if point.beyond:
            say(printable(f"* {in_words(point.epsilon)} is more than the whole budget at {', '.join(point.beyond)}"))
    fewer = [silo for silo, count in found.published.items() if found.rows.counts[silo] < count]
    if fewer:
        say(f"simulated with fewer rows than published, where noise weighs more: {', '.join(fewer)}")
    if mock:
        out.print(NO_SIGNAL, style="yellow", markup=False)
    if found.rows.public:
        out.print(PUBLIC, style="yellow", markup=False)
    if plot is not None:
        say(f"plot: {plot}")
    say(f"to try one run round by round: consortia study try {draft}")


def _row(point: Expected) -> tuple[str, ...]:
    name = "no noise" if point.epsilon is None else f"{point.epsilon:g}{'*' if point.beyond else ''}"
    charged = "nothing" if point.epsilon is None else "-" if point.charged is None else f"{point.charged:.3f}"
    noised = point.epsilon is not None and bool(point.runs)
    released = "drowned in noise" if noised and point.told_error is None else _within(point.told_error)
    mean = "-" if point.accuracy is None else f"{point.accuracy:.3f} {_within(point.error)}"
    return name, mean, _within(point.spread), "-" if not point.runs else released, charged, str(len(point.runs))


def _within(value: float | None) -> str:
    return "" if value is None else f"± {value:.3f}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _chart(found: Forecast) -> str:
    title = f"{found.contract.title} ({'mock' if not found.rows.public else 'public'} rows)"
    marks = [
        Mark(point.epsilon, point.accuracy, point.spread or 0.0)
        for point in found.points
        if point.epsilon is not None and point.accuracy is not None
    ]
    noiseless = next((point.accuracy for point in found.points if point.epsilon is None), None)
    return accuracy_chart(title, marks, noiseless, found.commonest)


def _value(found: Forecast) -> dict[str, object]:
    return {
        "whole": found.whole,
        "repeats": found.repeats,
        "mock": not found.rows.public,
        "rows_from_files": list(found.rows.public),
        "rows": found.rows.counts,
        "published": found.published,
        "commonest": found.commonest,
        "points": [
            {
                "epsilon": point.epsilon,
                "accuracy": point.accuracy,
                "standard_error": point.error,
                "standard_deviation_of_one_study": point.spread,
                "released_standard_error": point.told_error,
                "epsilon_charged": point.charged,
                "beyond_the_budget_of": list(point.beyond),
                "refusal": point.refusal or None,
                "runs": [run.model_dump(mode="json") for run in point.runs],
            }
            for point in found.points
        ],
        "contract": contract_value(found.contract),
    }
