"""One training round over a long vector, from file to file: the most memory that each process takes, and its speed.

    python -m benchmarks.long_vector --values 100000000 --silos 3 --json

Each role runs in a process of its own, through what the product runs: the first state is written; the state goes to
a runner and its update comes back into a file; the update is sealed, and kept chunk by chunk; the hub takes in every
chunk and adds it; a silo fetches the sum, checks all tags, opens it, applies it to the state's file, and says the
state's MAC. The runner is a stand-in, a thread that reads the state and writes an update block by block: a real one
holds its model. The contract is one of an MLP with three equal layers, the widest that has at most ``--values``
parameters. At the end the applied update is compared with the sum of the silos' vectors.

``mb_per_s`` counts the vector at 8 bytes a value, for the hub the bytes of all uploads. Needs about 90 bytes of disk
a value with 3 silos, in ``--folder``, which are given back.
"""

import argparse
import json
import math
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.heart_contract import heart_contract
from benchmarks.peers.roles import Figures, peak_mb
from hub.aggregation.adding import add
from hub.aggregation.aggregator import Added, SumJob
from hub.aggregation.quorum import survivors_digest
from hub.store.blobs import FILE, BlobPlace, open_blobs, sum_name, upload_name
from protocol.rounds import plan_round, round_layout
from protocol.sealing.decode import Segment
from protocol.sealing.masks import MaskOffer, MaskSecrets, RecoveredSeeds, masks_of_sum, own_masks
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import verify_sum
from protocol.study import StudyContract, contract_value, parameter_count, parse_contract, study_id
from silo_node.agent.progress import apply_total, blocks_of, segments_of, state_in
from silo_node.agent.tasks import Tasks
from silo_node.private_files import write_private
from silo_node.runner.messages import Frame, Payload, Pipe
from silo_node.runner.tasks import outcome_from, task_frame, task_of_round, values_of
from silo_node.sealing import keys
from silo_node.sealing.sealer import OpenedTotal, seal_update
from silo_node.training.state import StateFile

Floats = NDArray[np.float64]
Role = Callable[["Exchange", str], int]
"""Plays the part of a silo, or of the hub for none in particular; gives how many bytes went through."""

ROUND: Final = 1
ATTEMPT: Final = 1
_BLOCK: Final = 1 << 17
_LEAD: Final = 24
"""Bytes before the state in a file of progress."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every role knows, and where its files lie."""

    folder: Path
    contract: StudyContract
    freeze: bytes

    @property
    def study(self) -> str:
        return study_id(self.contract)

    @property
    def silos(self) -> tuple[str, ...]:
        return self.contract.silo_names

    @property
    def values(self) -> int:
        return plan_round(self.contract, ROUND).values

    @property
    def layout(self) -> Layout:
        return round_layout(self.contract, ROUND, len(self.silos))

    @property
    def blobs(self) -> BlobPlace:
        return BlobPlace(FILE + str(self.folder / "hub"))

    @property
    def secret(self) -> StudySecret:
        return StudySecret.from_bytes((self.folder / "secret").read_bytes())

    def masks(self, silo: str) -> MaskSecrets:
        return MaskSecrets.from_bytes((self.folder / f"masks-{silo}").read_bytes())

    def offers(self) -> dict[str, MaskOffer]:
        return {silo: self.masks(silo).offer for silo in self.silos}

    def segments(self) -> tuple[Segment, ...]:
        with self.state(ROUND - 1) as before:
            return segments_of(self.contract, before, ROUND)

    def state(self, index: int) -> BinaryIO:
        """The first silo's: all have the same."""
        file = self.tasks(self.silos[0]).open_state(self.study, index)
        assert file is not None
        return file

    def tasks(self, silo: str) -> Tasks:
        return Tasks(self.folder / silo)


# -- the roles of a silo


def begin_role(exchange: Exchange, silo: str) -> int:
    """A total of the normalisation round to the first state."""
    totals = [np.zeros(plan_round(exchange.contract, 0).values)]

    def write(after: BinaryIO) -> None:
        apply_total(exchange.contract, exchange.study, 0, after, totals, exchange.silos, after)

    exchange.tasks(silo).keep_state(exchange.study, 0, write)
    return 8 * exchange.values


def train_role(exchange: Exchange, silo: str) -> int:
    """The state to the runner, its update to a file."""
    with exchange.state(ROUND - 1) as before, _stand_in(exchange, silo) as pipe:
        task = task_of_round(exchange.contract, silo, ROUND, state_in(before))

        def compute(file: BinaryIO) -> Any:
            pipe.send(task_frame(task))
            return outcome_from(task, pipe.receive(8 * values_of(task)), file).events_run

        exchange.tasks(silo).keep_update(exchange.study, ROUND, compute)
    return 8 * exchange.values


def seal_role(exchange: Exchange, silo: str) -> int:
    """The update's file to the files of its chunks."""
    tasks = exchange.tasks(silo)
    path = tasks.update(exchange.study, ROUND)
    assert path is not None
    masks = own_masks(exchange.masks(silo), exchange.freeze, silo, exchange.offers())

    def term() -> Iterator[bytes]:
        given = (exchange.secret, exchange.freeze, silo, exchange.layout, masks)
        return seal_update(update, exchange.segments(), *given)

    with path.open("rb") as update:
        tasks.seal_once(exchange.study, ROUND, exchange.freeze, term)
    return 8 * exchange.values


def open_role(exchange: Exchange, silo: str) -> int:
    """The hub's sum to files, its tags checked, opened, applied to the state; then the state's MAC."""
    tasks, layout = exchange.tasks(silo), exchange.layout
    files = _fetched(exchange, tasks)
    seeds = RecoveredSeeds({name: exchange.masks(name).self_seed for name in exchange.silos}, {})
    masks = masks_of_sum(exchange.freeze, exchange.silos, exchange.offers(), seeds)

    def chunks() -> Iterator[bytes]:
        return (file.read_bytes() for file in files)

    def write(after: BinaryIO) -> None:
        with exchange.state(ROUND - 1) as before:
            given = (exchange.secret, exchange.freeze, exchange.silos, layout, masks)
            opened = OpenedTotal(chunks, segments_of(exchange.contract, before, ROUND), *given)
            apply_total(exchange.contract, exchange.study, ROUND, before, opened, exchange.silos, after)

    verify_sum(exchange.secret, exchange.freeze, exchange.silos, chunks(), layout)
    tasks.keep_state(exchange.study, ROUND, write)
    with exchange.state(ROUND) as after:
        keys.state_mac(exchange.secret, exchange.study, ROUND, blocks_of(after))
    return 8 * exchange.values


def _fetched(exchange: Exchange, tasks: Tasks) -> list[Path]:
    blobs, files = open_blobs(exchange.blobs), []
    for position in range(exchange.layout.chunks):
        file = tasks.sum_folder(exchange.study, ROUND) / f"{position}"
        write_private(file, blobs.read(sum_name(*_place(exchange), survivors_digest(exchange.silos), position)))
        files.append(file)
    return files


@contextmanager
def _stand_in(exchange: Exchange, silo: str) -> Iterator[Pipe]:
    """The agent's end of a pipe to a thread that does the runner's reading and writing, and computes nothing."""
    to_runner, from_agent = os.pipe()
    to_agent, from_runner = os.pipe()
    runner = Pipe(to_runner, from_runner)

    def serve() -> None:
        for _ in runner.receive().payload.blocks:
            pass
        blocks = (block.astype("<f8").data.cast("B") for block in update_of(exchange, silo))
        header = {"reply": "outcome", "steps_run": exchange.contract.training.local_steps}
        runner.send(Frame(header, Payload(8 * exchange.values, blocks)))

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    try:
        yield Pipe(to_agent, from_agent)
        serving.join()
    finally:
        for descriptor in (to_runner, from_agent, to_agent, from_runner):
            os.close(descriptor)


def update_of(exchange: Exchange, silo: str) -> Iterator[Floats]:
    """A silo's update in blocks: uniform in [-1, 1], the same each time."""
    number = exchange.silos.index(silo)
    for at in range(0, exchange.values, _BLOCK):
        yield np.random.default_rng([number, at]).uniform(-1, 1, min(_BLOCK, exchange.values - at))


# -- the roles of the hub


def take_in_role(exchange: Exchange, _: str) -> int:
    """Every chunk of every silo to the hub's store, one at a time."""
    blobs, taken = open_blobs(exchange.blobs), 0
    for silo in exchange.silos:
        # Sealed under this freeze before: what it gives are the files.
        for position, file in enumerate(exchange.tasks(silo).seal_once(exchange.study, ROUND, exchange.freeze, list)):
            chunk = file.read_bytes()
            blobs.create(upload_name(exchange.study, ROUND, ATTEMPT, silo, position), chunk)
            taken += len(chunk)
    return taken


def add_role(exchange: Exchange, _: str) -> int:
    """A worker of the hub: one job a chunk."""
    name = survivors_digest(exchange.silos)
    for position in range(exchange.layout.chunks):
        place = (exchange.blobs, *_place(exchange), name, position)
        outcome = add(SumJob(*place, silos=exchange.silos, arrived=exchange.silos, layout=exchange.layout))
        assert isinstance(outcome, Added), outcome
    return exchange.layout.upload_bytes * len(exchange.silos)


def _place(exchange: Exchange) -> tuple[str, int, int]:
    return exchange.study, ROUND, ATTEMPT


# -- the whole


def measure(values: int, silos: int, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """One round; the keys are those the command prints. Raises SystemExit where the disk is too small."""
    contract = contract_of(values, silos)
    needed = disk_bytes(parameter_count(contract), silos)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise SystemExit(f"{folder}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} are needed; choose --folder")
    with tempfile.TemporaryDirectory(prefix="long-vector-", dir=folder) as name:
        exchange = Exchange(Path(name), contract, secrets.token_bytes(32))
        _deal(exchange)
        played = {}
        for part, role, who in _parts(exchange):
            told(f"{part}: {len(who)} x {exchange.values:,} values")
            played[part] = _worst([_apart(role, exchange, silo) for silo in who])
        told("comparing")
        error = _apart(_largest_error, exchange, exchange.silos[0])
    return {
        "values": exchange.values,
        "silos": silos,
        "chunks": exchange.layout.chunks,
        "upload_bytes_per_value": exchange.layout.upload_bytes / exchange.values,
        "peak_mb": max(figures["peak_mb"] for figures in played.values()),
        "roles": played,
        **error,
    }


def _parts(exchange: Exchange) -> Iterable[tuple[str, Role, tuple[str, ...]]]:
    first, everybody = exchange.silos[:1], exchange.silos
    return (
        ("silo_begin", begin_role, first),
        ("silo_train", train_role, everybody),
        ("silo_seal", seal_role, everybody),
        ("hub_take_in", take_in_role, first),
        ("hub_add", add_role, first),
        ("silo_open", open_role, first),
    )


def _deal(exchange: Exchange) -> None:
    for silo in exchange.silos:
        (exchange.folder / silo).mkdir(mode=0o700)
        write_private(exchange.folder / f"masks-{silo}", MaskSecrets.generate().to_bytes())
    write_private(exchange.folder / "secret", StudySecret.generate().to_bytes())


def _apart(role: Callable[[Exchange, str], Any], exchange: Exchange, silo: str) -> Figures:
    """What a role comes to in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        figures: Figures = pool.submit(_measured, role, exchange, silo).result()
    return figures


def _measured(role: Callable[[Exchange, str], Any], exchange: Exchange, silo: str) -> Figures:
    imported, started = peak_mb(), time.perf_counter()
    moved = role(exchange, silo)
    if isinstance(moved, dict):
        return moved
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mb_per_s": moved / 1e6 / seconds, "peak_mb": peak_mb(), "imports_mb": imported}


def _worst(figures: list[Figures]) -> Figures:
    slowest = max(figures, key=lambda one: one["seconds"])
    return {**slowest, "peak_mb": max(one["peak_mb"] for one in figures)}


def _largest_error(exchange: Exchange, _: str) -> Figures:
    """How far what was applied is from the silos' vectors, and how far rounding alone may take it."""
    updates, largest, at = [update_of(exchange, silo) for silo in exchange.silos], 0.0, 0
    with exchange.state(ROUND - 1) as file, exchange.state(ROUND) as other:
        before, after = StateFile.open(file, _LEAD), StateFile.open(other, _LEAD)
        for blocks in zip(*updates, strict=True):
            size = blocks[0].size
            moved = after.read("parameters", at, size) - before.read("parameters", at, size)
            largest = max(largest, float(np.max(np.abs(moved - sum(blocks)))))
            at += size
    step = 2.0 ** (exchange.contract.sealing.training_exponent + 1) / exchange.layout.parts[0].level_max
    return {"max_error": largest, "max_error_bound": len(exchange.silos) * step}


def contract_of(values: int, silos: int) -> StudyContract:
    """A study of one training round, of an MLP with at most ``values`` parameters in three layers of equal width."""
    width = 1
    while _parameters(width + 1) <= values:
        width += 1
    names = [f"silo-{number:03}" for number in range(silos)]
    document = contract_value(heart_contract(math.inf, dict.fromkeys(names[:3], 100), hidden=(width,) * 3))
    document["silos"] = [{**document["silos"][0], "silo": name, "weight": 1 / silos} for name in names]
    document["schedule"]["quorum"] = max(3, -(-(silos + 2) // 2))
    document["training"] |= {"rounds": 1, "averaged_rounds": 1}
    return parse_contract(document)


def _parameters(width: int) -> int:
    """Of three layers of that width behind the heart data's 13 features."""
    return 14 * width + 2 * (width + 1) * width + width + 1


def disk_bytes(values: int, silos: int) -> int:
    """An update and twice its term (2.6 bytes a value, at the silo and at the hub) a silo, two states, the sum twice,
    what is put by while it is opened, and a tenth more."""
    return int(1.1 * values * (silos * (8 + 2 * 2.6) + 2 * 16 + 2 * 2.7 + 2.7))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_vector", description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=10_000_000, help="the most parameters of the model")
    parser.add_argument("--silos", type=int, default=3, help="silos that contribute, 3 to 256")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files may lie")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    if not 3 <= asked.silos <= 256 or asked.values < _parameters(1):
        parser.error(f"--silos must be 3 to 256, --values at least {_parameters(1)}")
    found = measure(asked.values, asked.silos, asked.folder, lambda line: print(line, file=sys.stderr, flush=True))
    if asked.json:
        print(json.dumps(found))
        return
    for name, figures in found["roles"].items():
        print(name, {key: round(value, 1) for key, value in figures.items()})
    print({key: value for key, value in found.items() if key != "roles"})


if __name__ == "__main__":
    main()
