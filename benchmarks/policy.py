"""How long a silo's policy takes to decide: from a contract of 300 columns to the answer, for every shipped set.

    python -m benchmarks.policy --json

A decision is what a silo does before each round: the facts are made from the contract and what is registered, told to
Cedar, and its answer is put into words where it isn't yes. Milliseconds of CPU, on one core; the sets take turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from policies import catalogue
from protocol import canonical
from protocol.calibration import contract_of
from protocol.draft_clauses import DraftColumn
from protocol.ids import moment
from protocol.study import StudyContract
from protocol.training_draft import TrainingDraft
from protocol.yaml_draft import load_yaml
from silo_node.ledger.budget import Balance, PrivacyDomain
from silo_node.policy.case import Case, RegisteredDataset, Standing
from silo_node.policy.document import policy_by_name
from silo_node.policy.explanation import explanation_of
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import Gate
from silo_node.policy.limits import limits_by_name

SAMPLE = Path(__file__).parents[1] / "docs" / "samples" / "heart.yaml"
SILO = "cleveland"
ROWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=300)
    parser.add_argument("--decisions", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    result = measure(asked.columns, asked.decisions)
    if asked.json:
        print(json.dumps(result, indent=1))
        return
    table = Table("set", "rules", "decide", "95 of 100 within", "load", "explain")
    for name, found in result.items():
        table.add_row(name, *(f"{value:.2f}" for value in found.values()))
    Console().print(table)


def measure(columns: int, decisions: int) -> dict[str, dict[str, float]]:
    """By set: its rules, and milliseconds of a decision (median, 95th percentile), of loading and of explaining it."""
    contract = wide_contract(columns)
    gates = {name: Gate(policy_by_name(name)) for name in catalogue.names()}
    cases = {name: case_of(contract, name) for name in gates}
    took: dict[str, list[float]] = {name: [] for name in gates}
    for _ in range(decisions):
        for name in gates:
            took[name].append(_ms(partial(_decide, gates[name], cases[name])))
    return {
        name: {
            "rules": len(gate.document.rules),
            "decide": statistics.median(took[name]),
            "decide, 95 of 100 within": statistics.quantiles(took[name], n=20)[-1],
            "load": _ms(partial(_load, name)),
            "explain": _ms(partial(_explain, gate, cases[name])),
        }
        for name, gate in gates.items()
    }


def _decide(gate: Gate, case: Case) -> None:
    gate.decide(facts_of_study("accept", case))


def _load(name: str) -> None:
    Gate(policy_by_name(name))


def _explain(gate: Gate, case: Case) -> None:
    explanation_of(gate.document, facts_of_study("accept", case))


def wide_contract(columns: int) -> StudyContract:
    """The sample study on ``columns`` columns, its target among them."""
    draft = TrainingDraft.model_validate_json(canonical.encode(load_yaml(SAMPLE.read_bytes())))
    names = [f"column_{number}" for number in range(columns - 1)]
    features = tuple(DraftColumn(name=name, kind="number", minimum=0.0, maximum=1.0) for name in names)
    wide = draft.model_dump(mode="json") | {
        "data": {
            "dataset": draft.data.dataset,
            "features": [one.model_dump(mode="json") for one in features],
            "target": draft.data.target.model_dump(mode="json"),
        },
        "normalisation": {"columns": names, "clip": 1.5},
    }
    return contract_of(TrainingDraft.model_validate_json(json.dumps(wide)), {one.silo: ROWS for one in draft.silos})


def case_of(contract: StudyContract, name: str) -> Case:
    """The study at a silo that registered all its columns and takes the set's own limits."""
    held = RegisteredDataset(
        contract.data.dataset,
        contract.data.columns,
        ROWS,
        Balance(PrivacyDomain.at_best_order("patients", "subject", 8.0, 1e-3), 0, 0),
    )
    limits = limits_by_name(name).model_copy(update={"columns": {contract.data.dataset: "registered"}})
    now = int(moment(contract.expires_at).timestamp()) - 86_400
    return Case(contract, SILO, held, Standing(now, frozenset(contract.recipients), True), limits)


def _ms(act: Callable[[], object]) -> float:
    before = time.process_time()
    act()
    return 1000 * (time.process_time() - before)


if __name__ == "__main__":
    main()
