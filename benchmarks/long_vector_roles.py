"""The roles of one training round over a long vector, played through what the product runs, from file to file."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.roles import Figures
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
from protocol.study import study_id
from protocol.training_study import TrainingContract
from silo_node.agent.progress import apply_total, blocks_of, segments_of, state_in
from silo_node.agent.study_files import StudyFiles
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
_LEAD: Final = 32
"""Bytes before the state in a file of progress."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every role knows, and where its files lie."""

    folder: Path
    contract: TrainingContract
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
        file = self.files(self.silos[0]).open_state(self.study, index)
        assert file is not None
        return file

    def files(self, silo: str) -> StudyFiles:
        return StudyFiles(self.folder / silo)


# -- the roles of a silo


def begin_role(exchange: Exchange, silo: str) -> int:
    """A total of the normalisation round to the first state."""
    totals = [np.zeros(plan_round(exchange.contract, 0).values)]

    def write(after: BinaryIO) -> None:
        apply_total(exchange.contract, exchange.study, 0, after, totals, exchange.silos, after)

    exchange.files(silo).keep_state(exchange.study, 0, write)
    return 8 * exchange.values


def train_role(exchange: Exchange, silo: str) -> int:
    """The state to the runner, its update to a file."""
    with exchange.state(ROUND - 1) as before, _stand_in(exchange, silo) as pipe:
        task = task_of_round(exchange.contract, silo, ROUND, state_in(before))

        def compute(file: BinaryIO) -> Any:
            pipe.send(task_frame(task))
            return outcome_from(task, pipe.receive(8 * values_of(task)), file).events_run

        exchange.files(silo).keep_update(exchange.study, ROUND, compute)
    return 8 * exchange.values


def seal_role(exchange: Exchange, silo: str) -> int:
    """The update's file to the files of its chunks."""
    files = exchange.files(silo)
    path = files.update(exchange.study, ROUND)
    assert path is not None
    masks = own_masks(exchange.masks(silo), exchange.freeze, silo, exchange.offers())

    def term() -> Iterator[bytes]:
        given = (exchange.secret, exchange.freeze, silo, exchange.layout, masks)
        return seal_update(update, exchange.segments(), *given)

    with path.open("rb") as update:
        files.seal_once(exchange.study, ROUND, exchange.freeze, term)
    return 8 * exchange.values


def open_role(exchange: Exchange, silo: str) -> int:
    """The hub's sum to files, its tags checked, opened, applied to the state; then the state's MAC."""
    files, layout = exchange.files(silo), exchange.layout
    fetched = _fetched(exchange, files)
    seeds = RecoveredSeeds({name: exchange.masks(name).self_seed for name in exchange.silos}, {})
    masks = masks_of_sum(exchange.freeze, exchange.silos, exchange.offers(), seeds)

    def chunks() -> Iterator[bytes]:
        return (file.read_bytes() for file in fetched)

    def write(after: BinaryIO) -> None:
        with exchange.state(ROUND - 1) as before:
            given = (exchange.secret, exchange.freeze, exchange.silos, layout, masks)
            opened = OpenedTotal(chunks, segments_of(exchange.contract, before, ROUND), *given)
            apply_total(exchange.contract, exchange.study, ROUND, before, opened, exchange.silos, after)

    verify_sum(exchange.secret, exchange.freeze, exchange.silos, chunks(), layout)
    files.keep_state(exchange.study, ROUND, write)
    with exchange.state(ROUND) as after:
        keys.state_mac(exchange.secret, exchange.study, ROUND, blocks_of(after))
    return 8 * exchange.values


def _fetched(exchange: Exchange, files: StudyFiles) -> list[Path]:
    blobs, fetched = open_blobs(exchange.blobs), []
    for position in range(exchange.layout.chunks):
        file = files.sum_folder(exchange.study, ROUND) / f"{position}"
        write_private(file, blobs.read(sum_name(*_place(exchange), survivors_digest(exchange.silos), position)))
        fetched.append(file)
    return fetched


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
        header = {
            "reply": "outcome",
            "steps_run": exchange.contract.training.local_steps,
            "left_out": 0,
            "engine": "none",
        }
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
        for position, file in enumerate(exchange.files(silo).seal_once(exchange.study, ROUND, exchange.freeze, list)):
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


# -- what came out


def largest_error(exchange: Exchange, _: str) -> Figures:
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
