"""The roles of one sealed sum, each timed in a process of its own; what travels between them lies in files."""

import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.peers.roles import Figures, largest_error, peak_mb, silo_blocks
from protocol.sealing import term
from protocol.sealing.addition import add_chunks, check_upload_chunk
from protocol.sealing.decode import Segment, dequantise
from protocol.sealing.envelope import from_private, generate_keys
from protocol.sealing.masks import MaskOffer, MaskSecrets, MaskStream, masks_of_sum, own_masks
from protocol.sealing.packing import Levels, Slots
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import Bundle, SharePair, deal, recover
from protocol.sealing.wire import add_modulo
from silo_node.sealing.quantise import cryptographic_uniforms, quantise

Role = Callable[["Exchange", int], Figures]

SILOS_A_PROCESS = 16


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every role knows: the layout, where the files lie, and how many processes the hub adds in."""

    folder: Path
    layout: Layout
    freeze: bytes
    workers: int = 1

    @property
    def silos(self) -> list[str]:
        return [f"silo-{number:03}" for number in range(self.layout.terms)]

    @property
    def threshold(self) -> int:
        """The least quorum that a contract may ask for: 3, and 2q >= n + 2."""
        return max(3, -(-(self.layout.terms + 2) // 2))

    @property
    def secret(self) -> StudySecret:
        return StudySecret.from_bytes(self.read("secret"))

    @property
    def offers(self) -> dict[str, MaskOffer]:
        raw = {silo: self.read(f"offer-{silo}") for silo in self.silos}
        return {silo: MaskOffer(one[:32], one[32:]) for silo, one in raw.items()}

    @property
    def bundles(self) -> dict[str, Bundle]:
        return {silo: Bundle.parse(self.read(f"bundle-{silo}"), silo, self.silos) for silo in self.silos}

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def chunk(self, name: str, index: int) -> Path:
        return self.folder / f"{name}-{index}"

    def size(self, name: str) -> int:
        """Bytes of all chunks of a term, or of the sum."""
        return sum(self.chunk(name, index).stat().st_size for index in range(self.layout.chunks))


@dataclass(frozen=True, slots=True)
class TimedMasks(MaskStream):
    """A mask stream that notes the seconds which each call took."""

    spent: list[float] = field(default_factory=list)

    def add_to(self, slots: Slots, first: int) -> None:
        started = time.perf_counter()
        MaskStream.add_to(self, slots, first)
        self.spent.append(time.perf_counter() - started)

    def remove_from(self, slots: Slots, first: int) -> None:
        started = time.perf_counter()
        MaskStream.remove_from(self, slots, first)
        self.spent.append(time.perf_counter() - started)


def deal_role(exchange: Exchange, _: int) -> Figures:
    """Every silo's mask secrets, dealt to all; `deal_s` is the slowest silo's. Long-lived keys are not timed."""
    keys = {silo: generate_keys() for silo in exchange.silos}
    public = {silo: pair.public for silo, pair in keys.items()}
    slowest = 0.0
    for silo in exchange.silos:
        started = time.perf_counter()
        mine = MaskSecrets.generate()
        bundle, own = deal(mine, silo, public, exchange.threshold, partial(_info, silo))
        offer = mine.offer
        slowest = max(slowest, time.perf_counter() - started)
        files = {"masks": mine.to_bytes(), "bundle": bundle, "own": own.to_bytes(), "key": keys[silo].private}
        for name, content in files.items():
            exchange.write(f"{name}-{silo}", content)
        exchange.write(f"offer-{silo}", offer.mask_key + offer.self_commitment)
    return {"deal_s": slowest}


def reveal_role(exchange: Exchange, _: int) -> Figures:
    """The shares that the other silos of the quorum reveal to the first one."""
    bundles = exchange.bundles
    for holder in exchange.silos[1 : exchange.threshold]:
        exchange.write(f"revealed-{holder}", b"".join(_self_shares(exchange, bundles, holder)))
    return {}


def seal_role(exchange: Exchange, first: int) -> Figures:
    """Up to 16 silos, one after the other: values to upload chunks. The slowest counts."""
    numbers = range(first, min(first + SILOS_A_PROCESS, exchange.layout.terms))
    return max((_seal(exchange, number) for number in numbers), key=lambda figures: figures["seconds"])


def _seal(exchange: Exchange, number: int) -> Figures:
    silo, layout, secret, offers = exchange.silos[number], exchange.layout, exchange.secret, exchange.offers
    values = exchange.folder / f"values-{silo}"
    with values.open("wb") as file:
        for block in silo_blocks(layout.values, number):
            block.tofile(file)
    started = time.perf_counter()
    mine = MaskSecrets.from_bytes(exchange.read(f"masks-{silo}"))
    masks = _timed(own_masks(mine, exchange.freeze, silo, offers))
    derived = time.perf_counter() - started
    levels = _levels_of(values, layout.parts[0].level_bits)
    for index, chunk in enumerate(term.seal(secret, exchange.freeze, silo, levels, layout, masks)):
        exchange.chunk(silo, index).write_bytes(chunk)
    seconds = time.perf_counter() - started
    values.unlink()
    return {"seconds": seconds, "mask_s": derived + sum(masks.spent)}


def _levels_of(values: Path, bits: int) -> term.LevelReader:
    """Reads and rounds the values of a file, a run at a time."""
    uniforms = cryptographic_uniforms(secrets.token_bytes(32))

    def read(start: int, stop: int) -> Levels:
        run = np.fromfile(values, np.float64, stop - start, offset=8 * start)
        return quantise(run, [Segment(run.size, 0)], bits, uniforms)

    return read


def add_role(exchange: Exchange, _: int) -> Figures:
    """The hub: every silo's chunks checked and added. Starting worker processes is not timed."""
    indices = range(exchange.layout.chunks)
    if exchange.workers == 1:
        started = time.perf_counter()
        for index in indices:
            _add(exchange, index)
        return {"seconds": time.perf_counter() - started}
    with multiprocessing.get_context("spawn").Pool(exchange.workers) as pool:
        pool.map(_ready, range(4 * exchange.workers), chunksize=1)
        started = time.perf_counter()
        peaks = pool.map(partial(_add, exchange), indices, chunksize=1)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_mb": max(peaks)}


def _add(exchange: Exchange, index: int) -> float:
    exchange.chunk("sum", index).write_bytes(add_chunks(_checked(exchange, index), exchange.layout, index))
    return peak_mb()


def _checked(exchange: Exchange, index: int) -> Iterator[bytes]:
    """Every silo's chunk, read and checked as the hub does when it arrives."""
    for silo in exchange.silos:
        chunk = exchange.chunk(silo, index).read_bytes()
        check_upload_chunk(chunk, exchange.layout, index)
        yield chunk


def _ready(_: int) -> float:
    return peak_mb()


def plain_role(exchange: Exchange, _: int) -> Figures:
    """The limit: the same files read and added modulo Q as words, nothing checked, unpacked or written."""
    started = time.perf_counter()
    for index in range(exchange.layout.chunks):
        words = exchange.layout.upload_chunk_bytes(index) // 8
        total = np.zeros(words, dtype=np.uint64)
        for silo in exchange.silos:
            add_modulo(total, np.frombuffer(exchange.chunk(silo, index).read_bytes(), dtype=np.uint64))
    return {"seconds": time.perf_counter() - started}


def open_role(exchange: Exchange, _: int) -> Figures:
    """The first silo: shares opened, masks recovered, the sum verified, opened and decoded, chunk by chunk.

    Sums are put into a file, which isn't timed: what a silo does with them is its own.
    """
    layout, secret, offers, bundles = exchange.layout, exchange.secret, exchange.offers, exchange.bundles
    silos, me = exchange.silos, exchange.silos[0]

    def chunks() -> Iterator[bytes]:
        return (exchange.chunk("sum", index).read_bytes() for index in range(layout.chunks))

    started = time.perf_counter()
    revealed = {me: _self_shares(exchange, bundles, me)}
    for holder in silos[1 : exchange.threshold]:
        raw = exchange.read(f"revealed-{holder}")
        revealed[holder] = [raw[at : at + 33] for at in range(0, len(raw), 33)]
    seeds = recover(silos, silos, offers, bundles, revealed, exchange.threshold)
    masks = _timed(masks_of_sum(exchange.freeze, silos, offers, seeds))
    recovered = time.perf_counter() - started
    part, seconds = layout.parts[0], time.perf_counter() - started
    with (exchange.folder / "sums").open("wb") as file:
        started = time.perf_counter()
        for totals in term.stream_sum(secret, exchange.freeze, silos, chunks, layout, masks):
            sums = dequantise(totals, part, layout.terms, [Segment(totals.size, 0)])
            seconds += time.perf_counter() - started
            sums.tofile(file)
            started = time.perf_counter()
        seconds += time.perf_counter() - started
    peak = peak_mb()
    error = largest_error(np.memmap(exchange.folder / "sums", np.float64, "r"), layout.terms)
    return {"seconds": seconds, "peak_mb": peak, "mask_s": recovered + sum(masks.spent), "error": error}


def _self_shares(exchange: Exchange, bundles: dict[str, Bundle], holder: str) -> list[bytes]:
    """The holder's shares of all silos' self seeds, in the order of their names."""
    private = from_private(exchange.read(f"key-{holder}")).private
    shares = []
    for dealer, bundle in bundles.items():
        if dealer == holder:
            shares.append(SharePair.from_bytes(exchange.read(f"own-{holder}")).self_share)
        else:
            shares.append(bundle.open(holder, private, _info(dealer, holder)).self_share)
    return shares


def _info(dealer: str, holder: str) -> bytes:
    return f"{dealer} to {holder}".encode()


def _timed(masks: MaskStream) -> TimedMasks:
    return TimedMasks(masks.plus, masks.minus)


def _child(role: Role, exchange: Exchange, number: int, out: Connection) -> None:
    figures = role(exchange, number)
    out.send({"peak_mb": peak_mb(), **figures})
    out.close()


def run_role(role: Role, exchange: Exchange, number: int = 0) -> Figures:
    """Run one role in a fresh process and give its figures. Raises EOFError when the process died."""
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(role, exchange, number, outbox))
    process.start()
    outbox.close()
    try:
        figures: Figures = inbox.recv()
    finally:
        process.join()
    return figures
