"""How much memory a round takes between the runner and the hub, by the length of its vector."""

import shutil

import pytest

from benchmarks import long_vector
from protocol.sealing.errors import Failure, SumRejected
from silo_node.agent import pipeline
from silo_node.sealing.sealer import OpenedTotal
from tests.unit.silo_node.agent.story import begin_study, run_round, serve_round

SHORT, LONG = 1_000_000, 4_000_000
ONE_COPY_MB = 8 * (LONG - SHORT) / 1e6
"""What any role that held one float64 vector whole would need more of the longer one: 24 MB."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    found = [long_vector.measure(values, 3, folder, lambda _: None) for values in (SHORT, LONG)]
    assert [*folder.iterdir()] == []
    return found


@pytest.mark.slow
@pytest.mark.parametrize("role", ["silo_begin", "silo_train", "silo_seal", "hub_take_in", "hub_add", "silo_open"])
def test_no_process_between_the_runner_and_the_hub_holds_a_vector(figures, role):
    """Peaks of processes of their own, less what they had after their imports."""
    short, long = (one["roles"][role]["peak_mb"] - one["roles"][role]["imports_mb"] for one in figures)
    assert long - short < ONE_COPY_MB / 2
    assert long < 64


@pytest.mark.slow
def test_what_is_applied_of_a_long_vector_is_the_sum_of_the_silos(figures):
    for one, asked in zip(figures, (SHORT, LONG), strict=True):
        assert 0.97 * asked < one["values"] <= asked
        assert 0 < one["max_error"] < one["max_error_bound"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(SystemExit, match=r"0\.0 GB are free, 0\.1 are needed; choose --folder"):
        long_vector.measure(SHORT, 3, tmp_path, lambda _: None)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("values", "silos"), [(20_000, 3), (100_000_000, 3), (100_000_000, 256)])
def test_the_contract_of_a_long_vector_has_at_most_the_values_that_were_asked_for(values, silos):
    contract = long_vector.contract_of(values, silos)
    exact = long_vector.parameter_count(contract)
    assert 0.9 * values < exact <= values
    assert len(contract.silo_names) == silos


def test_a_sum_that_turns_out_bad_behind_its_last_value_leaves_nothing_of_a_state(node, peers, monkeypatch, tmp_path):
    """The state after the round is written by then, under no name."""
    written = []

    class BadAtTheEnd(OpenedTotal):
        def __iter__(self):
            yield from super().__iter__()
            written.extend(path.name for path in tmp_path.rglob("state-*"))
            raise SumRejected(Failure.CONTENT, "padding: not zero after the last value")

    begin_study(node, peers)
    run_round(node, peers, 0)
    serve_round(node, peers, 1)
    monkeypatch.setattr(pipeline, "OpenedTotal", BadAtTheEnd)
    peers.unmask(node)
    assert sorted(written) == ["state-0", "state-1.part"]
    assert [path.name for path in tmp_path.rglob("state-*")] == ["state-0"]
    assert node.silo.files.state(peers.study, 0) == peers.states[0]
