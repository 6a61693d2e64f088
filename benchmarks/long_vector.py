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
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.cohorts.heart import heart_contract
from benchmarks.long_vector_roles import (
    Exchange,
    Role,
    add_role,
    begin_role,
    largest_error,
    open_role,
    seal_role,
    take_in_role,
    train_role,
)
from benchmarks.peers.roles import Figures, peak_mb
from protocol.sealing.masks import MaskSecrets
from protocol.sealing.secret import StudySecret
from protocol.study import contract_value, parse_training
from protocol.training_study import TrainingContract, parameter_count
from silo_node.private_files import write_private


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
        error = _apart(largest_error, exchange, exchange.silos[0])
    return {
        "values": exchange.values,
        "silos": silos,
        "chunks": exchange.layout.chunks,
        "upload_bytes_per_value": exchange.layout.upload_bytes / exchange.values,
        "peak_mb": max(figures["peak_mb"] for figures in played.values()),
        "roles": played,
        **error,
    }


def _parts(exchange: Exchange) -> tuple[tuple[str, Role, tuple[str, ...]], ...]:
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


def contract_of(values: int, silos: int) -> TrainingContract:
    """A study of one training round, of an MLP with at most ``values`` parameters in three layers of equal width."""
    width = 1
    while _parameters(width + 1) <= values:
        width += 1
    names = [f"silo-{number:03}" for number in range(silos)]
    document = contract_value(heart_contract(math.inf, dict.fromkeys(names[:3], 100), hidden=(width,) * 3))
    document["silos"] = [{**document["silos"][0], "silo": name, "weight": 1 / silos} for name in names]
    document["schedule"]["quorum"] = max(3, -(-(silos + 2) // 2))
    document["training"] |= {"rounds": 1, "averaged_rounds": 1}
    return parse_training(document)


def _parameters(width: int) -> int:
    """Of three layers of that width behind the heart data's 13 features."""
    return 14 * width + 2 * (width + 1) * width + width + 1


def disk_bytes(values: int, silos: int) -> int:
    """An update and twice its term (2.6 bytes a value, at the silo and at the hub) a silo, two states, the sum twice,
    and a tenth more."""
    return int(1.1 * values * (silos * (8 + 2 * 2.6) + 2 * 16 + 2 * 2.7))


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
