"""A whole study over five real processes, from the approved contract to the final model, everything on.

    python -m benchmarks.study --model logistic|mlp --rounds 15 --json

Heart disease at four silos, 5 local steps a round; the MLP has about 206,000 parameters. DP, ledger, sealing and
log are those of the product. Times are seen by a researcher who follows the log.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from client.connection import Connection, Surroundings, connect
from compose.demo import DRAFT
from compose.heart import HOSPITALS
from compose.loopback import ADMIN, RESEARCHER, Loopback
from compose.processes import CommandFailed, Processes
from protocol.round_statements import RoundClosed, RoundOpened
from protocol.study import contract_value, parse_training
from protocol.study_statements import StudyApproved, StudyClosed
from protocol.training_study import parameter_count
from protocol.yaml_draft import load_yaml

MODELS: Final[dict[str, dict[str, Any]]] = {
    "logistic": {"family": "logistic"},
    "mlp": {"family": "mlp", "hidden": [446, 446]},
}
LIMIT_S: Final = 900.0


@dataclass(slots=True)
class Seen:
    """When statements of the study reached the researcher, in seconds of one clock."""

    approved: float = 0.0
    opened: dict[int, float] = field(default_factory=dict)
    closed: dict[int, float] = field(default_factory=dict)
    ended: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="logistic")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder) / "logs") as processes:
        result = measure(Loopback.at(Path(folder), processes), asked.model, asked.rounds)
    if asked.json:
        print(json.dumps(result, indent=1))
    else:
        _show(result)


def measure(group: Loopback, model: str, rounds: int) -> dict[str, Any]:
    """Runs one study and returns the figures by the keys of the issue."""
    group.found()
    group.all_silos()
    draft = load_yaml(DRAFT.read_bytes())
    draft["model"], draft["training"]["rounds"] = MODELS[model], rounds
    draft["training"]["averaged_rounds"] = min(draft["training"]["averaged_rounds"], rounds)
    path = group.folder / "draft.yaml"
    path.write_text(json.dumps(draft))
    study = group.propose(path)
    researcher = connect(group.url, group.key(RESEARCHER), group.founding, Surroundings(notice=_ignore))
    group.consortia(ADMIN, "admin", "approve", study, "--yes")
    seen = follow(researcher, study)
    peaks = {"hub": _peak_mb(group, "hub")} | {name: _peak_mb(group, name) for name in HOSPITALS}
    moved = [group.silo_json(name, "traffic") for name in HOSPITALS]
    lengths = [seen.closed[index] - seen.opened[index] for index in range(1, rounds + 1)]
    return {
        "model": model,
        "parameters": parameter_count(parse_training(contract_value(researcher.log.contract(study)))),
        "rounds": rounds,
        "seconds": round(seen.ended - seen.approved, 3),
        "median_round_seconds": round(statistics.median(lengths), 3),
        "training_seconds": round(seen.closed[rounds] - seen.opened[1], 3),
        "upload_mb_per_silo": round(statistics.mean(one["bytes_up"] for one in moved) / 1e6, 3),
        "download_mb_per_silo": round(statistics.mean(one["bytes_down"] for one in moved) / 1e6, 3),
        "peak_mb": {
            "hub": peaks["hub"]["service"],
            "hub_worker": peaks["hub"]["children"],
            "silo_agent": max(peaks[name]["service"] for name in HOSPITALS),
            "silo_runner": max(peaks[name]["children"] for name in HOSPITALS),
        },
    }


def follow(researcher: Connection, study: str) -> Seen:
    """Follows the log until the study ends. Raises ``CommandFailed`` unless it completed."""
    seen, deadline = Seen(), time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        new = researcher.log.refresh(wait_s=10)
        now = time.monotonic()
        for record in new:
            body = record.signed.body if record.signed else None
            match body:
                case StudyApproved():
                    seen.approved = now
                case RoundOpened():
                    seen.opened.setdefault(body.round, now)
                case RoundClosed():
                    seen.closed[body.round] = now
                case StudyClosed() if body.study == study:
                    if body.outcome != "completed":
                        raise CommandFailed(f"the study {body.outcome}: {body.reason}")
                    seen.ended = now
                    return seen
    raise CommandFailed(f"the study did not end within {LIMIT_S:g} s")


def _peak_mb(group: Loopback, name: str) -> dict[str, float]:
    """Peak resident memory of a service, and the largest of its children, in MB."""
    service = group.processes.running[name].pid
    children = [int(one) for one in Path(f"/proc/{service}/task/{service}/children").read_text().split()]
    for task in Path(f"/proc/{service}/task").iterdir():
        children += [int(one) for one in (task / "children").read_text().split()]
    return {"service": _high_water(service), "children": max((_high_water(one) for one in children), default=0.0)}


def _high_water(process: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return round(int(found[1]) / 1000, 1) if found else 0.0


def _ignore(_: str) -> None:
    """The benchmark pins the charter it just made: there is nothing to notice."""


def _show(result: dict[str, Any]) -> None:
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, json.dumps(value))
    Console().print(table)


if __name__ == "__main__":
    main()
