"""Which rows a simulation has: mock ones, or public ones from a file a silo, or from one file dealt out to all."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from client.errors import UsageRefused
from protocol.errors import DraftRefused, Malformed
from protocol.membership_statements import DatasetRegistered
from protocol.mock import MAX_VALUES
from protocol.simulation import FileSource, MockSource, SimulatedSilo, SplitSource
from protocol.statistics_study import StatisticsContract
from protocol.study import StudyContract, contract_value, parse_contract
from protocol.training_study import TrainingContract

Kind = TypeVar("Kind", TrainingContract, StatisticsContract)


@dataclass(frozen=True, slots=True)
class SimulatedRows:
    """By silo, in the contract's order: how many rows, and where from. ``public``: those with rows of a file."""

    counts: dict[str, int]
    silos: tuple[SimulatedSilo, ...]
    public: tuple[str, ...]


def rows_by_silo(
    contract: StudyContract, registered: Mapping[str, DatasetRegistered], files: Mapping[str, Path], most_rows: int
) -> SimulatedRows:
    """Mock rows, as many as were published; for silos that ``files`` names, the rows of its file. At most so many.

    Raises ``UsageRefused`` for another silo, a file that can't be read, or more than can be simulated.
    """
    unknown = sorted(set(files) - set(contract.silo_names))
    if unknown:
        raise UsageRefused(f"--data: {unknown[0]} is no silo of the study; it has {', '.join(contract.silo_names)}")
    rows = {terms.silo: min(terms.rows, most_rows) for terms in contract.silos}
    rows |= {silo: min(_rows_in(path), most_rows) for silo, path in files.items()}
    _check_size(contract, rows)
    silos = []
    for silo in contract.silo_names:
        if silo in files:
            source: FileSource | MockSource = FileSource(kind="file", path=str(files[silo].absolute()))
        else:
            body = registered[silo]
            source = MockSource(kind="mock", dataset=body.dataset, columns=body.columns)
        silos.append(SimulatedSilo(silo=silo, source=source))
    return SimulatedRows(rows, tuple(silos), tuple(sorted(files)))


def rows_dealt_out(contract: TrainingContract, path: Path, most_rows: int) -> SimulatedRows:
    """One file's rows for all silos, shuffled, in proportion to what they published; at most so many a silo.

    Raises ``UsageRefused`` where the file can't be read, or has too few rows for one of them.
    """
    held, published = _rows_in(path), sum(terms.rows for terms in contract.silos)
    rows, silos, start = {}, [], 0
    for terms in contract.silos:
        count = min(held * terms.rows // published, terms.rows, most_rows)
        if count < 1:
            raise UsageRefused(f"--data: {path.name} has {held} rows, too few to give {terms.silo} its share of them")
        source = SplitSource(kind="split", path=str(path.absolute()), start=start, stop=start + count)
        silos.append(SimulatedSilo(silo=terms.silo, source=source))
        rows[terms.silo], start = count, start + count
    _check_size(contract, rows)
    return SimulatedRows(rows, tuple(silos), contract.silo_names)


def with_rows(contract: Kind, rows: Mapping[str, int]) -> Kind:
    """The same study over other row counts: weights and noise stay, the expected batches follow."""
    value = contract_value(contract)
    for terms in value["silos"]:
        if terms["rows"] != rows[terms["silo"]]:
            terms["rows"] = rows[terms["silo"]]
            if isinstance(contract, TrainingContract):
                kept = 1.0 - contract.evaluation.test_share
                terms["normaliser"] = max(1.0, terms["rows"] * kept * terms["sampling_rate"])
    try:
        return cast(Kind, parse_contract(value))
    except Malformed as error:
        raise DraftRefused(f"with the rows of this trial: {error}") from None


def _check_size(contract: StudyContract, rows: Mapping[str, int]) -> None:
    columns = len(contract.data.columns)
    values = sum(rows.values()) * columns
    if values > MAX_VALUES:
        raise UsageRefused(
            f"--rows: {sum(rows.values())} rows of {columns} columns are {values} values; "
            f"at most {MAX_VALUES} are simulated, so take fewer rows a silo"
        )


def _rows_in(path: Path) -> int:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            count = sum(1 for row in csv.reader(file) if row) - 1
    except OSError as error:
        raise UsageRefused(f"--data: {path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageRefused(f"--data: {path.name} is not CSV in UTF-8") from None
    if count < 1:
        raise UsageRefused(f"--data: {path.name} has no rows below its header")
    return count
