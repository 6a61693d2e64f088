"""One sealed sum at full size, every role in a process of its own: bytes, seconds, peak memory, error.

    python -m benchmarks.sealed_sum --values 1000000 --silos 4 --json

Times are of one core and end to end for a role: `seal_s` holds quantising, packing, masking, encrypting and tagging
(the slowest silo), `add_s` all the hub's checks and additions for all silos, `open_s` the verification of all
tags, decryption, unmasking, unpacking and decoding. Chunks travel between the roles as files. Nobody drops out; dealing
and revealing shares, whose cost doesn't depend on the vector, is not in the times.
"""

import argparse
import json
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from protocol.sealing import term
from protocol.sealing.decode import Floats, Segment, dequantise
from protocol.sealing.masks import MaskOffer, MaskSecrets, RecoveredSeeds, masks_of_sum, own_masks
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from silo_node.sealing.quantise import cryptographic_uniforms, quantise

Figures = dict[str, float]
Role = Callable[["Exchange", int], Figures]

_SEED: Final = 20240607


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every role knows: the layout, and where the chunks lie."""

    folder: Path
    layout: Layout
    freeze: bytes

    @property
    def silos(self) -> list[str]:
        return [f"silo-{number}" for number in range(self.layout.terms)]

    @property
    def segments(self) -> list[Segment]:
        return [Segment(self.layout.values, 0)]

    @property
    def secret(self) -> StudySecret:
        return StudySecret.from_bytes((self.folder / "secret").read_bytes())

    def chunk(self, name: str, index: int) -> Path:
        return self.folder / f"{name}-{index}"

    def mask_secrets(self, number: int) -> MaskSecrets:
        return MaskSecrets.from_bytes((self.folder / f"masks-{number}").read_bytes())

    @property
    def offers(self) -> dict[str, MaskOffer]:
        """What the silos signed of their masks before the freeze."""
        return {silo: self.mask_secrets(number).offer for number, silo in enumerate(self.silos)}

    def values(self, number: int) -> Floats:
        """A silo's vector (values,) in [-1, 1]."""
        return np.random.default_rng([_SEED, number]).uniform(-1, 1, self.layout.values)


def seal_role(exchange: Exchange, number: int) -> Figures:
    """One silo: values to upload chunks."""
    values, secret, layout = exchange.values(number), exchange.secret, exchange.layout
    silo, mine, offers = exchange.silos[number], exchange.mask_secrets(number), exchange.offers
    started = time.perf_counter()
    uniforms = cryptographic_uniforms(secrets.token_bytes(32))
    levels = quantise(values, exchange.segments, layout.level_bits, uniforms)
    masks = own_masks(mine, exchange.freeze, silo, offers)
    for index, chunk in enumerate(term.seal(secret, exchange.freeze, silo, levels, layout, masks)):
        exchange.chunk(silo, index).write_bytes(chunk)
    return {"seconds": time.perf_counter() - started}


def add_role(exchange: Exchange, _: int) -> Figures:
    """The hub: every silo's chunks checked and added."""
    layout = exchange.layout
    started = time.perf_counter()
    for index in range(layout.chunks):
        chunks = [exchange.chunk(silo, index).read_bytes() for silo in exchange.silos]
        for chunk in chunks:
            term.check_upload_chunk(chunk, layout, index)
        exchange.chunk("sum", index).write_bytes(term.add_chunks(chunks, layout, index))
    return {"seconds": time.perf_counter() - started}


def open_role(exchange: Exchange, _: int) -> Figures:
    """One silo: the sum verified, opened and decoded, then compared with the sum of the floats."""
    layout, secret, offers = exchange.layout, exchange.secret, exchange.offers
    seeds = {silo: exchange.mask_secrets(number).self_seed for number, silo in enumerate(exchange.silos)}

    def chunks() -> Iterator[bytes]:
        return (exchange.chunk("sum", index).read_bytes() for index in range(layout.chunks))

    started = time.perf_counter()
    masks = masks_of_sum(exchange.freeze, exchange.silos, offers, RecoveredSeeds(seeds, {}))
    totals = term.open_sum(secret, exchange.freeze, exchange.silos, chunks, layout, masks)
    sums = dequantise(totals, layout, layout.terms, exchange.segments)
    seconds, peak = time.perf_counter() - started, peak_mb()
    expected = np.zeros(layout.values)
    for number in range(layout.terms):
        expected += exchange.values(number)
    return {"seconds": seconds, "peak_mb": peak, "error": float(np.max(np.abs(sums - expected)))}


def peak_mb() -> float:
    """Highest resident memory of this process in MB (10^6 bytes); Linux only, as these machines are."""
    # Not ru_maxrss, which a new process inherits from the one that started it.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status: no VmHWM line; this measurement needs Linux")


def _child(role: Role, exchange: Exchange, number: int, out: Connection) -> None:
    figures = role(exchange, number)
    out.send({"peak_mb": peak_mb(), **figures})
    out.close()


def run_role(role: Role, exchange: Exchange, number: int = 0) -> Figures:
    """Run one role in a fresh process and give its figures."""
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


def measure(values: int, silos: int, per_slot: int = 3) -> dict[str, float]:
    """One whole exchange; the keys are those the command prints."""
    layout = Layout(values, silos, per_slot)
    with tempfile.TemporaryDirectory(prefix="sealed-sum-") as name:
        exchange = Exchange(Path(name), layout, secrets.token_bytes(32))
        (exchange.folder / "secret").write_bytes(StudySecret.generate().to_bytes())
        for number in range(silos):
            (exchange.folder / f"masks-{number}").write_bytes(MaskSecrets.generate().to_bytes())
        sealed = [run_role(seal_role, exchange, number) for number in range(silos)]
        added = run_role(add_role, exchange)
        opened = run_role(open_role, exchange)
        upload = _size(exchange, exchange.silos[0])
        download = _size(exchange, "sum")
    peaks = {
        "seal_peak_mb": max(figures["peak_mb"] for figures in sealed),
        "add_peak_mb": added["peak_mb"],
        "open_peak_mb": opened["peak_mb"],
    }
    return {
        "values": values,
        "silos": silos,
        "per_slot": per_slot,
        "bits": layout.level_bits,
        "upload_bytes_per_value": upload / values,
        "download_bytes_per_value": download / values,
        "seal_s": max(figures["seconds"] for figures in sealed),
        "add_s": added["seconds"],
        "open_s": opened["seconds"],
        "peak_mb": max(peaks.values()),
        **peaks,
        "max_error": opened["error"],
        "max_error_bound": silos * 2.0 / layout.level_max,
    }


def _size(exchange: Exchange, name: str) -> int:
    return sum(exchange.chunk(name, index).stat().st_size for index in range(exchange.layout.chunks))


def _table(figures: dict[str, float]) -> Table:
    table = Table(title="Sealed sum", show_header=False)
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
    return table


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed_sum", description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=1_000_000, help="length of the vector")
    parser.add_argument("--silos", type=int, default=4, help="silos that contribute, 2 to 256")
    parser.add_argument("--per-slot", type=int, default=3, help="values a slot; more are smaller and coarser")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    figures = measure(asked.values, asked.silos, asked.per_slot)
    if asked.json:
        print(json.dumps(figures))
    else:
        Console().print(_table(figures))


if __name__ == "__main__":
    main()
