"""The sealed sum's benchmark: exact roles with masks on, a peer beside it, figures that can be plotted."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.sealed_sum import beside, compare, measure, medians
from benchmarks.sealed_sum_peers import PeerFailed, measure_peer
from benchmarks.sealed_sum_plot import Line, log_plot
from benchmarks.sealed_sum_sweep import markdown, plots, sweep


def test_the_masked_sum_of_a_benchmark_is_within_its_bound_and_counts_masks_in_both_times() -> None:
    found = measure(20_000, 3)
    assert 0 < found["max_error"] <= found["max_error_bound"]
    assert 0 < found["mask_share_of_seal"] < 1
    assert 0 < found["mask_share_of_open"] < 1


def test_two_workers_add_to_the_same_sum() -> None:
    found = measure(800_000, 3, workers=2)
    assert found["workers"] == 2
    assert found["max_error"] <= found["max_error_bound"]


def test_a_peer_stands_beside_with_the_same_keys_and_ratios_of_its_needs_to_ours() -> None:
    found = compare(10_000, 3, 3, 1, "ckks", None)
    assert set(found["peer"]) <= set(found)
    assert found["peer"]["max_error"] < 1e-6
    assert found["ratios"]["upload_bytes_per_value"] > 15
    assert found["ratios"]["seal_s"] == pytest.approx(found["peer"]["seal_s"] / found["seal_s"])


def test_a_peer_that_cannot_run_is_an_error_that_names_its_role(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    python.chmod(0o700)
    with pytest.raises(PeerFailed, match="nvflare: its role keys failed: no such module"):
        measure_peer("nvflare", 100, 3, python)


def test_medians_are_taken_key_by_key() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 2, "b": 7}, {"a": 30, "b": 8}]) == {"a": 2, "b": 8}


def test_a_peer_that_needs_twice_as_much_of_everything_has_ratios_of_two() -> None:
    ours = dict.fromkeys(("upload_bytes_per_value", "seal_s", "add_s", "open_s", "peak_mb"), 3.0)
    assert set(beside(ours, dict.fromkeys(ours, 6.0)).values()) == {2.0}


def test_a_sweep_gives_a_row_for_every_point_and_plots_that_are_well_formed() -> None:
    figures = sweep([1_000, 2_000], [3, 5], 1_000, 1)
    assert [(point["values"], point["silos"], point["workers"]) for point in figures] == [
        (1_000, 4, 1),
        (1_000, 4, 2),
        (2_000, 4, 1),
        (2_000, 4, 2),
        (1_000, 3, 1),
        (1_000, 5, 1),
    ]
    assert len(markdown(figures).splitlines()) == 2 + len(figures)
    for drawing in plots(figures).values():
        assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314
    assert json.loads(json.dumps(figures)) == figures


def test_a_tenfold_is_as_far_apart_everywhere_on_a_logarithmic_axis() -> None:
    drawing = ElementTree.fromstring(log_plot("t", "x", [Line("a", ((1, 1), (10, 10), (100, 100)))]))  # noqa: S314
    across = [float(dot.get("cx", "")) for dot in drawing.iter() if dot.tag.endswith("circle")]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2) != 0


def test_a_plot_refuses_what_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="positive"):
        log_plot("t", "x", [Line("a", ((1, 0),))])
