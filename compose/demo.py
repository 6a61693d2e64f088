"""``make demo``: a private study among four hospitals, from invitation to verified log, with the installed commands.

The hub and four silo nodes run as five processes that talk HTTP over loopback, each with its own folder, keys and
database. Everything is done by the commands that the README's tour uses.
"""

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from compose.heart import ATTRIBUTION, HOSPITALS
from compose.loopback import OFFICER, RESEARCHER, Loopback
from compose.processes import CommandFailed, Processes

FOLDER: Final = Path("demo-run")
DRAFT: Final = Path(__file__).resolve().parents[1] / "docs" / "samples" / "heart.yaml"
STATE_WAIT_S: Final = 60.0
MARK: Final = ".consortia-demo"
PLACES: Final = {
    "report": "report.html",
    "model": "model/model.safetensors",
    "ONNX": "model/model.onnx",
    "log": "log.jsonl",
}

console = Console()


@dataclass(slots=True)
class Stopwatch:
    """Seconds by phase of the demo, each shown as it ends."""

    processes: Processes
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[None]:
        started = time.monotonic()
        with console.status(f"[bold]{text}[/bold]"):
            yield
        self.seconds[name] = time.monotonic() - started
        console.print(f"[green]✓[/green] {text} [dim]({self.seconds[name]:.1f} s)[/dim]")
        self.processes.check_alive()


def main() -> int:
    """Runs the demo; 0 only if the log verifies and every silo holds the same model."""
    signal.signal(signal.SIGTERM, _interrupted)
    folder = FOLDER.absolute()
    _clean(folder)
    try:
        with Processes(folder / "logs") as processes:
            return _run(Loopback.at(folder, processes), Stopwatch(processes))
    except KeyboardInterrupt:
        console.print("\nStopped; all processes ended. Run it again any time: it starts clean.")
        return 130
    except CommandFailed as failure:
        console.print(f"[red]The demo failed:[/red] {failure}", highlight=False)
        console.print(f"Logs of the five processes: {folder / 'logs'}")
        return 1


def _run(group: Loopback, watch: Stopwatch) -> int:
    title = "[bold]Consortia[/bold]: a private study of four hospitals. The hub sees no update."
    console.print(Panel.fit(f"{title}\n[dim]{ATTRIBUTION}[/dim]"))
    with watch.phase("hub", "Hub and charter: keys made, the admin signs the founding charter"):
        group.found()
    with watch.phase("join", "Four silos join by one-time invitation; words compared, admitted by the charter"):
        for name in HOSPITALS:
            group.join(name)
    with watch.phase("data", "Each silo registers its dataset, policy and privacy budget; four nodes start"):
        group.write_data()
        for name in HOSPITALS:
            group.register(name)
            group.start_silo(name)
    with watch.phase("contract", "The researcher proposes docs/samples/heart.yaml; the admin approves it"):
        study = group.propose(DRAFT)
        group.approve(study)
    console.print("  The data owners accept by a configured rule (accept = within-limits); their statements say so.")
    started = time.monotonic()
    group.processes.show(["consortia", "study", "watch", study, *group.speaker(RESEARCHER)])
    watch.seconds["study"] = time.monotonic() - started
    same = _one_state(group, study)  # before the release: then silos remove what they hold of the study
    with watch.phase("release", "Release: silos approve and confirm, one seals, the researcher opens and compares"):
        group.consortia(RESEARCHER, "study", "release", study, "--out", group.folder / "model")
    with watch.phase("audit", "The log is exported and verified offline, from the pinned charter"):
        _audit(group)
    return _finish(group, watch, same)


def _audit(group: Loopback) -> None:
    """Raises ``CommandFailed`` unless the exported log verifies."""
    log, report = group.folder / "log.jsonl", group.folder / "report.html"
    group.consortia(OFFICER, "audit", "export", "--out", log)
    group.processes.run(["consortia", "audit", "verify", log, "--charter", group.founding])
    group.processes.run(["consortia", "audit", "report", log, "--charter", group.founding, "--out", report])


def _finish(group: Loopback, watch: Stopwatch, same: bool) -> int:
    console.print(_results(group, json.loads((group.folder / "model" / "metrics.json").read_text())))
    console.print(_seconds(watch))
    mark = "[green]yes[/green]" if same else "[red]NO[/red]"
    console.print(f"Log verified offline: [green]yes[/green].  Every silo holds the same model: {mark}")
    for what, place in PLACES.items():
        console.print(f"  {what:<7} {group.folder / place}", highlight=False, soft_wrap=True)
    return 0 if same else 1


def _results(group: Loopback, metrics: dict[str, Any]) -> Table:
    accuracy, error = metrics["accuracy"], metrics["standard_error"]
    measured = f"{accuracy:.3f} ± {error:.3f}" if accuracy is not None else "drowned in the noise"
    table = Table(
        title=f"Accuracy on held-out patients of all four hospitals: {measured} (one standard error)",
        caption="epsilon as the silo's ledger counts it, at its domain's order; the study alone is within its contract",
    )
    for heading in ("hospital", "epsilon spent", "of its cap", "sent", "sums fetched"):
        table.add_column(heading, justify="left" if heading == "hospital" else "right")
    for name in HOSPITALS:
        (domain,) = group.silo_json(name, "ledger")
        moved = group.silo_json(name, "traffic")
        spent, cap = f"{domain['epsilon_spent']:.3f}", f"{domain['epsilon_cap']:g}"
        table.add_row(name, spent, cap, f"{moved['bytes_up'] / 1e3:,.0f} kB", f"{moved['bytes_down'] / 1e3:,.0f} kB")
    return table


def _seconds(watch: Stopwatch) -> Table:
    table = Table(title="Seconds by phase")
    for name in watch.seconds:
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.1f}" for value in watch.seconds.values()))
    return table


def _one_state(group: Loopback, study: str) -> bool:
    """Whether all silos ended with the same state: normalisation, model, evaluation."""
    deadline = time.monotonic() + STATE_WAIT_S
    while True:
        newest = [_newest_state(group.silo(name) / "studies" / study) for name in HOSPITALS]
        # A quorum has the last one when the study is over; the others come to it a little later.
        if len({path.name for path in newest}) == 1:
            return len({sha256(path.read_bytes()).hexdigest() for path in newest}) == 1
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _newest_state(folder: Path) -> Path:
    return max(folder.glob("state-*"), key=lambda path: int(path.name.partition("-")[2]))


def _clean(folder: Path) -> None:
    """Removes an earlier run. A folder that is not one is never touched."""
    if folder.exists():
        if not (folder / MARK).exists():
            raise SystemExit(f"{folder} is there and is not of this demo; move it away first")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    (folder / MARK).touch()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
