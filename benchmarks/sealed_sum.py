"""One sealed sum at full size, every role in a process of its own: bytes, seconds, peak memory, error.

    python -m benchmarks.sealed_sum --values 1000000 --silos 4 --json
    python -m benchmarks.sealed_sum --values 1000000 --silos 4 --peer ckks --json

Times are of one core and end to end for a role: `seal_s` holds quantising, packing, masking, encrypting and tagging
(the slowest silo), `add_s` all the hub's checks and additions for all silos, `open_s` the verification of all
tags, decryption, unmasking, unpacking and decoding. Chunks travel between the roles as files. Nobody drops out; dealing
and revealing shares, whose cost doesn't depend on the vector, is not in the times. With a peer, the two take turns and
each figure is the median of `--runs` runs.
"""

import argparse
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from benchmarks import ckks_peer
from benchmarks.exchange import Exchange, Figures, Role, peak_mb, run_role
from protocol.sealing import term
from protocol.sealing.decode import dequantise
from protocol.sealing.masks import RecoveredSeeds, masks_of_sum, own_masks
from protocol.sealing.parameters import Layout
from silo_node.sealing.quantise import cryptographic_uniforms, quantise

PEERS: dict[str, ModuleType] = {"ckks": ckks_peer}


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
    return {"seconds": seconds, "peak_mb": peak, "error": exchange.error_of(sums)}


def measure(values: int, silos: int, per_slot: int = 3) -> Figures:
    """One whole exchange; the keys are those the command prints."""
    layout = Layout(values, silos, per_slot)
    with tempfile.TemporaryDirectory(prefix="sealed-sum-") as name:
        exchange = Exchange(Path(name), layout, secrets.token_bytes(32))
        exchange.prepare()
        figures = _roles(exchange, seal_role, add_role, open_role)
        sizes = _per_value(exchange, exchange.size)
    shape = {"values": values, "silos": silos, "per_slot": per_slot, "bits": layout.level_bits}
    return {**shape, **sizes, **figures, "max_error_bound": silos * 2.0 / layout.level_max}


def measure_peer(peer: ModuleType, values: int, silos: int) -> Figures:
    """The same exchange by the peer, with the same keys."""
    with tempfile.TemporaryDirectory(prefix="sealed-sum-peer-") as name:
        exchange = Exchange(Path(name), Layout(values, silos), secrets.token_bytes(32))
        peer.prepare(exchange)
        figures = _roles(exchange, peer.seal_role, peer.add_role, peer.open_role)
        sizes = _per_value(exchange, lambda name: int(peer.size(exchange, name)))
    return {"values": values, "silos": silos, **sizes, **figures}


def compare(peer: ModuleType, values: int, silos: int, per_slot: int, runs: int) -> dict[str, float | Figures]:
    """Medians of alternating runs, ours and the peer's, and how many times the peer's figure is ours."""
    pairs = [(measure(values, silos, per_slot), measure_peer(peer, values, silos)) for _ in range(runs)]
    ours, theirs = _medians([pair[0] for pair in pairs]), _medians([pair[1] for pair in pairs])
    compared = ("upload_bytes_per_value", "download_bytes_per_value", "seal_s", "add_s", "open_s", "peak_mb")
    return {**ours, "runs": runs, "peer": theirs, "ratios": {key: theirs[key] / ours[key] for key in compared}}


def _roles(exchange: Exchange, seal: Role, add: Role, opening: Role) -> Figures:
    sealed = [run_role(seal, exchange, number) for number in range(exchange.layout.terms)]
    added, opened = run_role(add, exchange), run_role(opening, exchange)
    peaks = {
        "seal_peak_mb": max(figures["peak_mb"] for figures in sealed),
        "add_peak_mb": added["peak_mb"],
        "open_peak_mb": opened["peak_mb"],
    }
    return {
        "seal_s": max(figures["seconds"] for figures in sealed),
        "add_s": added["seconds"],
        "open_s": opened["seconds"],
        "peak_mb": max(peaks.values()),
        **peaks,
        "max_error": opened["error"],
    }


def _per_value(exchange: Exchange, size: Callable[[str], int]) -> Figures:
    values = exchange.layout.values
    return {
        "upload_bytes_per_value": size(exchange.silos[0]) / values,
        "download_bytes_per_value": size("sum") / values,
    }


def _medians(runs: list[Figures]) -> Figures:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _table(figures: dict[str, float | Figures]) -> Table:
    peer, ratios = figures.get("peer"), figures.get("ratios")
    table = Table("figure", "sealed sum", *(["peer", "peer / ours"] if peer else []), title="Sealed sum")
    for key, value in figures.items():
        if isinstance(value, dict):
            continue
        beside = [_shown(part.get(key)) for part in (peer, ratios) if isinstance(part, dict)]
        table.add_row(key.replace("_", " "), _shown(value), *beside)
    return table


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed_sum", description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=1_000_000, help="length of the vector")
    parser.add_argument("--silos", type=int, default=4, help="silos that contribute, 2 to 256")
    parser.add_argument("--per-slot", type=int, default=3, help="values a slot; more are smaller and coarser")
    parser.add_argument("--peer", choices=sorted(PEERS), help="measure this beside it")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, with a peer")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    figures: dict[str, float | Figures] = {}
    if asked.peer:
        figures |= compare(PEERS[asked.peer], asked.values, asked.silos, asked.per_slot, asked.runs)
    else:
        figures |= measure(asked.values, asked.silos, asked.per_slot)
    if asked.json:
        print(json.dumps(figures))
    else:
        Console().print(_table(figures))


if __name__ == "__main__":
    main()
