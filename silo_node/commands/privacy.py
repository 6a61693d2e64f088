"""``consortia-silo privacy``: what privacy rests on, checked on the machine that computes."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from silo_node.agent.self_testing import SelfTest, run_and_file
from silo_node.app import now, open_journal
from silo_node.commands.options import AsJson, Folder, err, out, print_json
from silo_node.runner.level import accepted_level
from silo_node.runner.self_test_box import run_self_test
from silo_node.selftest.measured import ALARM, Depth, Measured, SelfTestReport, shown

app = typer.Typer(no_args_is_help=True, help="Check what privacy rests on, on this machine.")

HEADINGS: Final = {
    "noise": "Noise, over what is charged",
    "sensitivity": "Sensitivity: the most that one record moves, over what is charged",
    "sampler": "Poisson sampling",
    "accounting": "Accounting",
    "canaries": "Audit of one training run, below the epsilon that is charged",
    "many-runs": "Audit of many runs, below the mu that is charged",
}


@app.callback()
def privacy() -> None:
    """Check what privacy rests on, on this machine."""


@app.command("self-test")
def self_test(
    thorough: Annotated[bool, typer.Option("--thorough", help="Many more draws and runs: minutes.")] = False,
    folder: Folder = Path("silo"),
    as_json: AsJson = False,
) -> None:
    """Test noise, sensitivity, sampling and accounting, attack a training, and file the result in the journal.

    It reads no dataset. Exit code 1 if a figure is out of its bound: then this node computes nothing until a later
    self-test passes that is as thorough.
    """
    depth: Depth = "thorough" if thorough else "quick"
    table = Table(silent=as_json)
    with open_journal(folder) as (config, journal, _):
        level, started = accepted_level(config.sandbox == "none-accepted"), time.monotonic()
        said = run_self_test(depth, level, config.sandbox_memory_mib)
        report = run_and_file(SelfTest(depth, level, now()), said, journal, folder, table.show)
        if as_json:
            print_json({"passed": report.passed, **report.model_dump(mode="json")})
        else:
            _tell(report, table, time.monotonic() - started, folder)
    raise typer.Exit(0 if report.passed else 1)


class Table:
    """Rows of 80 columns as their figures come, each family under its heading."""

    def __init__(self, silent: bool) -> None:
        self._silent, self._family = silent, ""
        self.seconds: dict[str, float] = {}

    def show(self, one: Measured) -> None:
        self.seconds[one.check] = self.seconds.get(one.check, 0.0) + one.seconds
        if self._silent:
            return
        if one.check != self._family:
            self._family = one.check
            typer.secho(HEADINGS.get(one.check, one.check), bold=True)
        cells = (f"  {one.what:<40}", f"{shown(one.figure):>10}", f" {one.bound:<17}")
        typer.echo("".join(cells), nl=False)
        typer.secho(" ok" if one.passed else " FAILED", fg="green" if one.passed else "red")


def _tell(report: SelfTestReport, table: Table, seconds: float, folder: Path) -> None:
    parts = ", ".join(f"{name} {spent:.1f} s" for name, spent in table.seconds.items())
    _say(f"{len(report.figures)} figures in {seconds:.0f} s: {parts}")
    by_chance = sum(one.alarm for one in report.figures)
    _say(f"a sound machine fails by chance once in {1 / max(by_chance, ALARM):,.0f} such tests")
    _say(f"filed in the journal; the report is in {folder / 'self-tests'}")
    if report.passed:
        typer.secho(f"privacy self-test: {report.depth} passed", fg="green")
        return
    why = report.failure or f"{len(report.failed)} figures are out of their bounds"
    err.print(
        f"privacy self-test: {report.depth} FAILED: {why}.\nThis node computes nothing until a later self-test passes "
        "that is as thorough. Mend the installation (see docs/data-owner.md), then run it again.",
        style="red",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
