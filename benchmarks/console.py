"""How long a page of the owner's console takes: a silo's folder, its console as a process, real HTTP on loopback.

    python -m benchmarks.console --json

The log holds 1,000 studies that name the silo, the journal 10,000 entries, the ledger a charge for every study. They
are written as the node writes them, without a hub. Milliseconds, from the request to the last byte, after one visit to
each page, which fills what the console keeps in memory. "start" is from the command to its link.
"""

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.console_silo import write_silo

TRIES: Final = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "silo", asked.studies, asked.entries)
    if asked.json:
        print(json.dumps(result, indent=1))
        return
    table = Table("page", "median ms", "slowest ms")
    for name, (median, slowest) in result.items():
        table.add_row(name, f"{median:.1f}", f"{slowest:.1f}")
    Console().print(table)


def measure(folder: Path, studies: int, entries: int) -> dict[str, tuple[float, float]]:
    """Median and slowest of ``TRIES`` visits to each page, in milliseconds."""
    names = write_silo(folder, studies, entries)
    began = time.perf_counter()
    with _console(folder) as link, httpx.Client() as http:
        start = 1000 * (time.perf_counter() - began)
        home = _enter(http, link)
        pages = {
            "requests": "",
            "requests, the last page": f"?page={studies // 20}",
            "a request": f"requests/{names[-1]}",
            "datasets": "datasets",
            "ledger": "ledger",
            "journal": "journal",
            "journal, the last page": f"journal?page={entries // 50}",
            "journal, one study": f"journal?study={names[0][:12]}",
            "node": "node",
        }
        return {"start": (start, start), **{name: _visits(http, home + path) for name, path in pages.items()}}


@contextmanager
def _console(folder: Path) -> Iterator[str]:
    """The console's process, by the link that it says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "silo_node", "console", "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield next(line.strip() for line in process.stdout or () if line.startswith("http://"))
        finally:
            process.terminate()


def _enter(http: httpx.Client, link: str) -> str:
    """The address of the first page, signed in."""
    page = http.get(link).raise_for_status()
    found = re.search(r'href="(/[\w-]+/)"', page.text)
    if found is None:
        raise SystemExit("the link led to no page")
    return str(page.url.join(found[1]))


def _visits(http: httpx.Client, address: str) -> tuple[float, float]:
    http.get(address).raise_for_status()
    taken = []
    for _ in range(TRIES):
        began = time.perf_counter()
        http.get(address).raise_for_status()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), max(taken)


if __name__ == "__main__":
    main()
