"""What a token with a proof costs: requests a second and the hub's CPU time, beside an open route's.

    python -m benchmarks.proven_requests --requests 1500 --repeats 5 --json

A hub as a process of its own on loopback, with SQLite or the database given. Four connections ask for the newest
checkpoint, which is open, and in turn for an inclusion proof of about the same work, each time with a DPoP proof of
its own. Proofs are made before the clock starts: what is measured is the hub.
"""

import argparse
import http.client
import json
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from client.keys import read_identity
from compose.loopback import OFFICER, Loopback
from compose.processes import Processes
from protocol import routes
from protocol.dpop import NONCE_HEADER
from protocol.token_holder import Credentials, TokenHolder

CONNECTIONS: Final = 4
PROVEN: Final = f"{routes.LOG_INCLUSION}?index=0&size=1"
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second, and the hub's CPU time a request in milliseconds."""

    per_second: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--database", default="", help="an SQLAlchemy URL; SQLite by default")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    given = {"CONSORTIA_HUB_DATABASE_URL": asked.database} if asked.database else {}
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder) / "logs", given) as processes:
        result = measure(Loopback.at(Path(folder), processes), asked.requests, asked.repeats)
    if asked.json:
        print(json.dumps(result, indent=1))
    else:
        _show(result)


def measure(group: Loopback, requests: int, repeats: int) -> dict[str, Any]:
    """Medians over ``repeats`` loads of each kind, in turn; the first of each warms up and is left out."""
    group.found()
    holder, pid = _holder(group), group.processes.running["hub"].pid
    loads: dict[str, list[Load]] = {"open": [], "proven": []}
    for _ in range(repeats + 1):
        loads["open"].append(_load(group.url, pid, routes.LOG_CHECKPOINT, [{}] * requests))
        _learn(group.url, holder)
        proven = [holder.headers("GET", routes.LOG_INCLUSION) for _ in range(requests)]
        loads["proven"].append(_load(group.url, pid, PROVEN, proven))
    result: dict[str, Any] = {kind: _medians(one[1:]) for kind, one in loads.items()}
    open_, proven_ = result["open"], result["proven"]
    result["ratio"] = {
        "per_second": proven_["per_second"] / open_["per_second"],
        "cpu_ms": proven_["cpu_ms"] / open_["cpu_ms"],
    }
    return result


def _holder(group: Loopback) -> TokenHolder:
    """An officer's token; the hub asks the first request for its nonce."""
    identity = read_identity(group.key(OFFICER))
    note = httpx.get(group.url + routes.LOG_CHECKPOINT).json()["checkpoint"]
    given = Credentials(identity.party, identity.signing, routes.audience(note.split("\n")[0]), group.url)

    def ask() -> routes.TokenAnswer:
        _learn(group.url, holder)
        form, headers = holder.request()
        answer = httpx.post(group.url + routes.TOKENS, data=form, headers=headers)
        return routes.TokenAnswer.model_validate_json(answer.content)

    holder = TokenHolder(given, ask, lambda: datetime.now(UTC), lambda: secrets.token_hex(16))
    return holder


def _learn(url: str, holder: TokenHolder) -> None:
    """Any request with a proof, even none that holds, is answered with the nonce of the minute."""
    holder.learn(httpx.get(url + routes.LOG_CHECKPOINT, headers={"DPoP": "none"}).headers.get(NONCE_HEADER))


def _load(url: str, pid: int, target: str, requests: Sequence[Headers]) -> Load:
    """Sends ``requests`` over ``CONNECTIONS`` connections. Raises ``RuntimeError`` for an answer that isn't 200."""
    failed: list[int] = []

    def send(part: Sequence[Headers]) -> None:
        line = http.client.HTTPConnection(urlsplit(url).netloc)
        for headers in part:
            line.request("GET", target, headers=headers)
            answer = line.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append(answer.status)
        line.close()

    threads = [threading.Thread(target=send, args=(requests[i::CONNECTIONS],)) for i in range(CONNECTIONS)]
    start, cpu = time.perf_counter(), _cpu_s(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} requests were refused, the first with status {failed[0]}")
    seconds, used = time.perf_counter() - start, _cpu_s(pid) - cpu
    return Load(len(requests) / seconds, 1000 * used / len(requests))


def _cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _medians(loads: Sequence[Load]) -> dict[str, float]:
    return {
        "per_second": statistics.median(one.per_second for one in loads),
        "cpu_ms": statistics.median(one.cpu_ms for one in loads),
    }


def _show(result: dict[str, Any]) -> None:
    table = Table("", "open route", "with token and proof", "ratio")
    for name, text in (("per_second", "requests a second"), ("cpu_ms", "CPU of the hub a request, ms")):
        table.add_row(text, *(f"{result[kind][name]:.2f}" for kind in ("open", "proven", "ratio")))
    Console().print(table)


if __name__ == "__main__":
    main()
