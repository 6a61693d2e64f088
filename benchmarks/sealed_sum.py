"""One sealed sum at full size, every role in a process of its own: bytes, seconds, memory, error; a peer beside it.

    python -m benchmarks.sealed_sum --values 1000000 --silos 4 --peer ckks --json

Times are end to end for a role: `seal_s` holds dealing and deriving masks, quantising, packing, masking, encrypting
and tagging (the slowest silo), `add_s` all the hub's checks and additions for all silos, `open_s` the opening of
shares, the recovery of masks, the verification of all tags, decryption, unpacking and decoding. Imports and long-lived
keys are not timed, neither here nor for a peer. Our roles use one core, a peer as many threads as it takes by itself.
Upload bytes are the chunks'; the shares of masks that a silo sends before them are `shares_bytes`, once a sum.
Figures are medians over `--runs` runs, in which the peer alternates with us.
"""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.peers.roles import Figures
from benchmarks.sealed_sum_peers import PEERS, PeerFailed, measure_peer, peer_python
from benchmarks.sealed_sum_roles import (
    SILOS_A_PROCESS,
    Exchange,
    add_role,
    deal_role,
    open_role,
    plain_role,
    reveal_role,
    run_role,
    seal_role,
)
from protocol.sealing.parameters import Layout
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import bundle_bytes

_RATIOS: Final = ("upload_bytes_per_value", "seal_s", "add_s", "open_s", "peak_mb")


def measure(values: int, silos: int, per_slot: int = 3, workers: int = 1) -> Figures:
    """One whole exchange; the keys are those the command prints."""
    layout = Layout.single(values, silos, per_slot)
    with tempfile.TemporaryDirectory(prefix="sealed-sum-") as name:
        exchange = Exchange(Path(name), layout, secrets.token_bytes(32), workers)
        exchange.write("secret", StudySecret.generate().to_bytes())
        dealt = run_role(deal_role, exchange)
        run_role(reveal_role, exchange)
        sealed = [run_role(seal_role, exchange, first) for first in range(0, silos, SILOS_A_PROCESS)]
        added, plain = run_role(add_role, exchange), run_role(plain_role, exchange)
        opened = run_role(open_role, exchange)
        upload, download = exchange.size(exchange.silos[0]), exchange.size("sum")
    slowest = max(sealed, key=lambda figures: figures["seconds"])
    peaks = {
        "seal_peak_mb": max(figures["peak_mb"] for figures in sealed),
        "add_peak_mb": added["peak_mb"],
        "open_peak_mb": opened["peak_mb"],
    }
    seal_s = slowest["seconds"] + dealt["deal_s"]
    return {
        "values": values,
        "silos": silos,
        "per_slot": per_slot,
        "bits": layout.parts[0].level_bits,
        "workers": workers,
        "upload_bytes_per_value": upload / values,
        "download_bytes_per_value": download / values,
        "shares_bytes": bundle_bytes(silos),
        "seal_s": seal_s,
        "add_s": added["seconds"],
        "open_s": opened["seconds"],
        "mask_share_of_seal": (slowest["mask_s"] + dealt["deal_s"]) / seal_s,
        "mask_share_of_open": opened["mask_s"] / opened["seconds"],
        "add_mb_per_s": silos * upload / 1e6 / added["seconds"],
        "plain_add_mb_per_s": silos * upload / 1e6 / plain["seconds"],
        "peak_mb": max(peaks.values()),
        **peaks,
        "max_error": opened["error"],
        "max_error_bound": silos * 2.0 / layout.parts[0].level_max,
    }


def medians(runs: Sequence[Figures]) -> Figures:
    """Key by key over runs of the same sum."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def beside(ours: Figures, peer: Figures) -> Figures:
    """How many times more the peer needs, for what is better small."""
    return {key: peer[key] / ours[key] for key in _RATIOS}


def compare(values: int, silos: int, per_slot: int, runs: int, peer: str | None, python: Path | None) -> dict[str, Any]:
    """Medians of `runs` runs; with a peer, its own under "peer" and how many times more it needs under "ratios"."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    with ExitStack() as stack:
        interpreter = stack.enter_context(peer_python(peer, python)) if peer else None
        for _ in range(runs):
            ours.append(measure(values, silos, per_slot))
            if peer and interpreter:
                theirs.append(measure_peer(peer, values, silos, interpreter))
    figures: dict[str, Any] = {"runs": runs, **medians(ours)}
    if theirs:
        figures |= {"peer_name": peer, "peer": medians(theirs), "ratios": beside(medians(ours), medians(theirs))}
    return figures


def _table(figures: dict[str, Any]) -> Table:
    peer, ratios = figures.get("peer", {}), figures.get("ratios", {})
    table = Table("figure", "sealed sum", *([figures["peer_name"], "times"] if peer else []), title="Sealed sum")
    for key, value in figures.items():
        if isinstance(value, int | float):
            others = [_cell(peer.get(key)), _cell(ratios.get(key))] if peer else []
            table.add_row(key.replace("_", " "), _cell(value), *others)
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed_sum", description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=1_000_000, help="length of the vector")
    parser.add_argument("--silos", type=int, default=4, help="silos that contribute, 3 to 256")
    parser.add_argument("--per-slot", type=int, default=3, help="values a slot; more are smaller and coarser")
    parser.add_argument("--runs", type=int, default=5, help="runs whose medians are given")
    parser.add_argument("--peer", choices=PEERS, help="measure this beside us, in the same run")
    parser.add_argument("--peer-python", type=Path, help="an interpreter with the peer's libraries, to be reused")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    if asked.silos < 3 or asked.runs < 1:
        parser.error("--silos must be at least 3, --runs at least 1")
    try:
        figures = compare(asked.values, asked.silos, asked.per_slot, asked.runs, asked.peer, asked.peer_python)
    except PeerFailed as failed:
        sys.exit(str(failed))
    if asked.json:
        print(json.dumps(figures))
    else:
        Console().print(_table(figures))


if __name__ == "__main__":
    main()
