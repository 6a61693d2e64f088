"""``consortia study try``: a study's rounds on mock rows, before anyone is asked."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
from client.registrations import by_members
from client.studies import draft_contract
from client.trial import USUAL_ROWS, Trial, try_study
from protocol.membership_statements import DatasetRegistered
from protocol.rounds import last_round
from protocol.simulation import RoundSimulated
from protocol.statistics_study import StatisticsContract
from protocol.study import contract_value

NOT_REAL: Final = (
    "These figures say nothing about the real data: mock rows are made from the published schema alone. A trial shows "
    "that the study runs, what it costs, and that its steps, clipping and encoding fit together."
)
FROM_FILES: Final = (
    "Rows from a file were protected by no budget and no owner's decision: name public data only. What is said of them "
    "holds for no silo's own data."
)
MUCH: Final = 0.01
"""Values clipped in a share above this are worth another exponent."""


def try_(
    draft: Annotated[Path, typer.Argument(help="A draft, e.g. docs/samples/heart.yaml")],
    hub: Hub,
    key: Key,
    data: Annotated[
        list[str] | None, typer.Option(help="SILO=FILE.csv: public data in place of a silo's mock rows; repeatable")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Simulate at most so many rows a silo")] = USUAL_ROWS,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Try a study in full on mock rows, on this machine: nothing is sent, nobody is asked, no budget is spent."""
    files = _files(data or [])
    connection = open_connection(hub, key, charter)
    contract = draft_contract(connection, draft)
    published = by_members(connection, contract.data.dataset)
    if isinstance(contract, StatisticsContract):
        _try_statistics(contract, published, files, rows, draft, as_json)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task("starting", total=last_round(contract) + 1)

        def draw(done: RoundSimulated) -> None:
            progress.update(task, description=done.stage, completed=done.index + 1)

        trial = try_study(contract, published, files, rows, draw)
    print_json(_value(trial)) if as_json else _print(trial, draft)


def _try_statistics(
    contract: StatisticsContract,
    published: Mapping[str, DatasetRegistered],
    files: Mapping[str, Path],
    rows: int,
    draft: Path,
    as_json: bool,
) -> None:
    from client.commands.answers_text import print_statistics_trial
    from client.statistics.trial import try_statistics
    from client.statistics.values import answer_value

    with err.status("counting"):
        trial = try_statistics(contract, published, files, rows)
    if as_json:
        answers = [answer_value(one) for one in trial.answers]
        exact = {name: list(values) for name, values in trial.exact.items()}
        told = {"answers": answers, "exact_totals": exact, "clipped": trial.clipped, "epsilon": trial.epsilon}
        print_json(
            {"mock": not files, "rows_from_files": list(trial.files), "contract": contract_value(contract), **told}
        )
        return
    print_statistics_trial(trial)
    _print_origin(len(trial.files), len(contract.silos), draft)


def _files(given: list[str]) -> dict[str, Path]:
    files = {}
    for one in given:
        silo, equals, path = one.partition("=")
        if not (silo and equals and path) or silo in files:
            raise UsageRefused(f"--data {one[:80]!r}: give SILO=FILE.csv, each silo once")
        files[silo] = Path(path)
    return files


def _value(trial: Trial) -> dict[str, object]:
    return {
        "mock": not trial.files,
        "rows_from_files": list(trial.files),
        "contract": contract_value(trial.contract),
        "rounds": [one.model_dump(mode="json") for one in trial.rounds],
        "outcome": trial.outcome.model_dump(mode="json"),
    }


def _print(trial: Trial, draft: Path) -> None:
    contract, outcome = trial.contract, trial.outcome
    out.print(f"[bold]{'TRIAL' if trial.files else 'TRIAL ON MOCK ROWS'}[/bold]: nothing was sent, nobody was asked")
    say(printable(f"  {contract.title}"))
    rows = [
        (one.silo, _origin(trial, one.silo), f"{one.training:,}", f"{one.held_out:,}", _share(one.accuracy))
        for one in outcome.silos
    ]
    print_table("", ("silo", "rows from", "trained on", "held out", "accuracy"), rows)
    say(
        f"exact accuracy over all held-out rows: {_exact(trial)}; always the commoner answer: "
        f"{_share(outcome.commonest)}"
    )
    say(f"what a release would tell, with its noise: {_told(trial)}")
    say(f"accuracy by training round: {_course(trial)}")
    privacy = contract.privacy
    say(
        f"privacy cost: epsilon {trial.rounds[-1].epsilon:.3f} of {privacy.epsilon:g} at delta {privacy.delta:g}, for "
        f"each {privacy.unit} at each silo"
    )
    say(f"values beyond the encoding's range: {_clipped(trial.rounds)}")
    smaller = [silo for silo, count in trial.published.items() if contract.terms_of(silo).rows < count]
    if smaller:
        say(f"simulated with fewer rows than published (--rows raises it): {', '.join(smaller)}")
    _print_origin(len(trial.files), len(outcome.silos), draft)


def _print_origin(from_files: int, silos: int, draft: Path) -> None:
    if from_files:
        out.print(FROM_FILES, style="yellow", markup=False)
    if from_files < silos:
        out.print(NOT_REAL, style="yellow", markup=False)
    say(f"to ask for the real study: consortia study propose {draft}")


def _origin(trial: Trial, silo: str) -> str:
    return "file" if silo in trial.files else "mock"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _exact(trial: Trial) -> str:
    """With the standard error that the number of rows leaves."""
    share, rows = trial.outcome.exact, sum(one.held_out for one in trial.outcome.silos)
    if share is None:
        return "none"
    return f"{share:.3f} ± {math.sqrt(share * (1 - share) / rows):.3f}"


def _told(trial: Trial) -> str:
    outcome = trial.outcome
    if outcome.accuracy is None or outcome.standard_error is None:
        return "nothing: the noise drowns the counts; give the evaluation a larger share, or the study a larger epsilon"
    return f"{outcome.accuracy:.3f} with standard error {outcome.standard_error:.3f}"


def _course(trial: Trial) -> str:
    """Up to five rounds, the first and the last among them."""
    rounds = [one for one in trial.rounds if one.stage == "training"]
    places = sorted({round(step * (len(rounds) - 1) / 4) for step in range(5)})
    return ", ".join(f"{rounds[place].index}: {_share(rounds[place].accuracy)}" for place in places)


def _clipped(rounds: tuple[RoundSimulated, ...]) -> str:
    parts = []
    for stage in ("normalisation", "training", "evaluation"):
        chosen = [one for one in rounds if one.stage == stage]
        clipped, values = sum(one.clipped for one in chosen), sum(one.values for one in chosen)
        if clipped:
            remedy = f" (raise sealing.{stage}_exponent)" if clipped > MUCH * values else ""
            parts.append(f"{clipped:,} of {values:,} in {stage}{remedy}")
    return ", ".join(parts) or "none"
