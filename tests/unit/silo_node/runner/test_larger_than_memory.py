"""Rows that the box's memory does not hold: read, summed, trained on and evaluated, from a file on the disk."""

from pathlib import Path

import pytest

from protocol import canonical
from protocol.study import contract_value, parse_contract, study_id
from silo_node.runner.box.box import Level
from silo_node.runner.box.running import Outputs, run
from silo_node.runner.lent_files import lent_files
from silo_node.runner.level import holds
from silo_node.runner.spawning import reading_box
from tests.sample_study import contract_values
from tests.whole_states import initial_state, state_bytes

MEMORY_MIB, MATRIX_MIB, FEATURES = 576, 640, 2047
READ = """
import sys
from pathlib import Path
import numpy as np
from protocol import canonical
from protocol.study import parse_contract
from silo_node.dataset.matrix import GrowingMatrix
from silo_node.statistics.queries import streamed_sums
from silo_node.training.noise import SystemNoise
from silo_node.training.rows import TrainingRows, scaled

def matrix(in_memory):
    growing = GrowingMatrix(features + 1, in_memory)
    for block in range(int(sys.argv[2]) // 16):  # 1024 rows of 2048 values are 16 MiB.
        growing.append(np.full((1024, features + 1), block % 2, dtype=float))
    return growing.finish()

features = int(sys.argv[1])
contract = parse_contract(canonical.decode(Path(sys.argv[3]).read_bytes()))
try:
    matrix(2**40)
    print("fits into memory")
except OSError as error:
    print(error.strerror)
values = matrix(None)
every_second = np.arange(0, len(values), 2)
rows, noise = TrainingRows(values[:, :-1], values[:, -1].copy(), every_second), SystemNoise()
sums = streamed_sums(contract, (scaled(contract, block) for block, _ in rows.blocks()), noise)
print("summed", len(values))
"""
TRAIN = """
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round

state = StudyState.from_bytes(Path(sys.argv[4]).read_bytes())
print("trained", train_round(contract, "alpha", rows, state, noise).steps_run)
counts = evaluation_counts(contract, rows, state, noise)
print("evaluated", round(counts.sum() / len(every_second), 1))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a contract on many columns, and its first state."""
    number = {"kind": "number", "minimum": 0.0, "maximum": 1.0, "unit": ""}
    names = [f"c{place}" for place in range(FEATURES)]
    words = contract_values()
    words["data"] |= {"features": [{"name": name, **number} for name in names]}
    words["normalisation"] |= {"columns": names[:2]}
    words["silos"] = [one | {"sampling_rate": 0.02} for one in words["silos"]]
    contract, folder = parse_contract(words), tmp_path_factory.mktemp("study")
    (folder / "contract").write_bytes(canonical.encode(contract_value(contract)))
    (folder / "state").write_bytes(state_bytes(initial_state(contract, study_id(contract))))
    return folder


def told(level: Level, program: str, study: Path, folder: Path) -> list[str]:
    lent = lent_files(folder, with_answer=False)
    box = reading_box((study,), lent, level, MEMORY_MIB, 2 * MATRIX_MIB)
    words = map(str, (FEATURES, MATRIX_MIB, study / "contract", study / "state"))
    finished = run(box, level, ["-P", "-s", "-c", program, *words], 120, Outputs(2**40, 1000))
    lent.remove()
    return finished.told.decode().splitlines()


@pytest.mark.parametrize(("level", "trained"), [("bubblewrap", ["trained 2", "evaluated 1.0"]), ("landlock", [])])
def test_a_matrix_larger_than_the_boxs_memory_is_summed_trained_on_and_evaluated(
    level: Level, trained: list[str], study: Path, tmp_path: Path
) -> None:
    assert holds(level)
    found = told(level, READ + TRAIN if trained else READ, study, tmp_path / "datasets")
    assert found == ["Cannot allocate memory", f"summed {MATRIX_MIB * 64}", *trained]
    assert [path for path in (tmp_path / "datasets").rglob("*") if path.is_file()] == []
