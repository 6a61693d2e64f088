"""How much longer a process takes to start in a box than bare: until its first line of Python has run.

    python -m benchmarks.sandbox --json

Bare and boxed starts take turns, so that a busy machine slows all alike; medians are shown, in milliseconds.
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from silo_node.runner.box.box import Box, Level, Limits, command, environment
from silo_node.runner.level import holds

LEVELS: Final[tuple[Level, ...]] = ("none", "bubblewrap", "landlock")
BOX: Final = Box(Limits(memory_mib=2048))


def start_ms(level: Level) -> float:
    """One start to its end, in milliseconds of wall clock."""
    began = time.perf_counter()
    subprocess.run(command(BOX, level, ["-S", "-c", "pass"]), env=environment(BOX), cwd="/", check=True)
    return (time.perf_counter() - began) * 1000


def measure(starts: int) -> dict[str, float]:
    levels = [level for level in LEVELS if level == "none" or holds(level)]
    taken: dict[Level, list[float]] = {level: [] for level in levels}
    for _ in range(starts):
        for level in levels:
            taken[level].append(start_ms(level))
    bare = median(taken["none"])
    found = {"bare_ms": round(bare, 1)}
    found |= {f"{level}_over_bare_ms": round(median(taken[level]) - bare, 1) for level in levels if level != "none"}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.starts)
    if asked.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    table = Table("what", "ms, median")
    for name, value in found.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
