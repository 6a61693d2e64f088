"""The sealed sum over sizes, silos and worker processes: figures as JSON, a table in Markdown, plots as SVG.

python -m benchmarks.sealed_sum_sweep --json docs/benchmarks/sealed_sum.json --plot docs/benchmarks/
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.roles import Figures
from benchmarks.sealed_sum import measure, medians
from benchmarks.sealed_sum_plot import Line, log_plot

_LENGTHS: Final = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_LONG: Final = 100_000_000  # run once: minutes, and 2 GB of disk
_SILOS: Final = (3, 8, 32, 128, 256)
_SILOS_VALUES: Final = 50_000
_LENGTH_SILOS: Final = 4
_COLUMNS: Final = {
    "values": "values",
    "silos": "silos",
    "workers": "workers adding",
    "runs": "runs",
    "bits": "bits",
    "upload_bytes_per_value": "upload, bytes a value",
    "seal_s": "seal, s",
    "mask_share_of_seal": "masks' share",
    "add_s": "add, s",
    "add_mb_per_s": "adding, MB/s",
    "plain_add_mb_per_s": "plain sum, MB/s",
    "open_s": "open, s",
    "mask_share_of_open": "masks' share",
    "peak_mb": "peak, MB a process",
}


def sweep(lengths: Sequence[int], silos: Sequence[int], silos_values: int, runs: int) -> list[Figures]:
    """Medians of every point: lengths at 4 silos with 1 and 2 workers, then numbers of silos at `silos_values`.

    `runs` of each, but one of 10^8 values.
    """
    points = [(length, _LENGTH_SILOS, workers) for length in lengths for workers in (1, 2)]
    points += [(silos_values, number, 1) for number in silos]
    return [_point(values, number, workers, runs if values < _LONG else 1) for values, number, workers in points]


def _point(values: int, silos: int, workers: int, runs: int) -> Figures:
    return {"runs": runs, **medians([measure(values, silos, workers=workers) for _ in range(runs)])}


def markdown(figures: Sequence[Figures]) -> str:
    """A table, one row a point."""
    head = f"| {' | '.join(_COLUMNS.values())} |\n|{'---|' * len(_COLUMNS)}\n"
    return head + "".join(f"| {' | '.join(_cell(key, point[key]) for key in _COLUMNS)} |\n" for point in figures)


def plots(figures: Sequence[Figures]) -> dict[str, str]:
    """SVG by file name: seconds against values, and seconds against silos."""
    ones = [point for point in figures if point["workers"] == 1]
    by_values = [point for point in ones if point["silos"] == _LENGTH_SILOS]
    by_silos = [point for point in ones if point["silos"] != _LENGTH_SILOS]
    return {
        "sealed_sum_values.svg": log_plot(f"Seconds by values, {_LENGTH_SILOS} silos", "values", _lines(by_values)),
        "sealed_sum_silos.svg": log_plot("Seconds by silos", "silos", _lines(by_silos, "silos")),
    }


def _lines(points: Sequence[Figures], over: str = "values") -> list[Line]:
    named = {"seal_s": "seal", "add_s": "add", "open_s": "open"}
    return [Line(name, tuple((point[over], point[key]) for point in points)) for key, name in named.items()]


def _cell(key: str, value: float) -> str:
    if key.startswith("mask_share"):
        return f"{value:.0%}"
    return f"{value:,.0f}" if float(value).is_integer() or value >= 100 else f"{value:.3g}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed_sum_sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--plot", type=Path, required=True, help="folder for the table and the plots")
    parser.add_argument("--runs", type=int, default=3, help="runs whose medians are given")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error("--runs must be at least 1")
    figures = sweep(_LENGTHS, _SILOS, _SILOS_VALUES, asked.runs)
    asked.plot.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"points": figures}, indent=1) + "\n")
    (asked.plot / "sealed_sum.md").write_text("# Sealed sums\n\n" + markdown(figures))
    for name, drawing in plots(figures).items():
        (asked.plot / name).write_text(drawing)


if __name__ == "__main__":
    main()
