"""The benchmark of aggregators: real executors over real blobs, and a failure is no figure."""

import pytest

from benchmarks.aggregators import EXECUTORS, WORKERS, Timed, measure
from hub.aggregation.aggregator import SumJob
from hub.aggregation.process_pool import ProcessPool
from hub.store.blobs import BlobPlace
from protocol.sealing.parameters import Layout


@pytest.mark.slow
def test_every_executor_has_a_figure_beside_the_plain_sum() -> None:
    found = measure(2_000_000, 3, 1)
    speeds = {f"{name}_{workers}_mb_per_s" for name in EXECUTORS for workers in WORKERS}
    assert set(found) == {"values", "silos", "chunks", "mb", "runs", "plain_mb_per_s"} | speeds
    assert found["mb"] == pytest.approx(3 * Layout.single(2_000_000, 3).upload_bytes / 1e6)
    assert all(found[speed] > 0 for speed in (*speeds, "plain_mb_per_s"))


def test_a_chunk_that_is_not_added_is_no_figure(tmp_path) -> None:
    timed = Timed(lambda: ProcessPool(1))
    silos = ("ada", "bern")
    with pytest.raises(AssertionError, match="BadTerm"):
        timed.seconds(
            [SumJob(BlobPlace(f"file://{tmp_path}"), "a" * 64, 0, 1, "", 0, silos, silos, Layout.single(50, 2))]
        )
    timed.close()
