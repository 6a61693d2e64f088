"""An update sealed, added and opened, with the count of what was clipped."""

import numpy as np
import pytest

from protocol.sealing.addition import add_chunks
from protocol.sealing.decode import Segment
from protocol.sealing.parameters import Layout, Part
from protocol.sealing.secret import StudySecret
from silo_node.sealing.sealer import open_total, seal_update
from tests.unit.protocol.sealing.conftest import UNMASKED

SILOS = ("alpha", "bravo", "charlie")
FREEZE = bytes(range(32))


def exchanged(updates: list[np.ndarray], segments: list[Segment], per_slot: int, bits: int) -> tuple[np.ndarray, int]:
    """What the silos open of the sum of these updates."""
    secret, values = StudySecret.generate(), updates[0].size
    clipped = Part("clipped", 1, 1, values.bit_length())
    layout = Layout((Part("update", values, per_slot, bits), clipped), len(SILOS))
    named = zip(SILOS, updates, strict=True)
    terms = [list(seal_update(update, segments, secret, FREEZE, name, layout, UNMASKED)) for name, update in named]
    served = [add_chunks([term[at] for term in terms], layout, at) for at in range(layout.chunks)]
    return open_total(lambda: served, segments, secret, FREEZE, SILOS, layout, UNMASKED)


@pytest.mark.parametrize(("per_slot", "bits"), [(3, 13), (2, 21), (8, 3), (8, 1)])
def test_a_sum_carries_how_many_values_all_silos_clipped(per_slot: int, bits: int) -> None:
    values, segments = 700, [Segment(400, 0), Segment(300, -2)]
    updates = [np.random.default_rng(seed).normal(0.0, 0.25, values) for seed in range(3)]
    updates[1][:50] = 1e9
    limits = np.concatenate([np.full(400, 1.0), np.full(300, 0.25)])
    clipped = sum(int(np.count_nonzero(np.abs(update) > limits)) for update in updates)
    total, counted = exchanged(updates, segments, per_slot, bits)
    assert clipped > 50 and counted == clipped
    plain = np.sum([np.clip(update, -limits, limits) for update in updates], axis=0)
    assert total.shape == (values,)
    assert bool((np.abs(total - plain) <= 3 * 2 * limits / (2**bits - 1)).all())


@pytest.mark.parametrize("values", [1, 7, 8, 4095 * 3])
def test_the_count_of_a_vector_that_is_clipped_throughout_is_its_length(values: int) -> None:
    for bits in (1, 2, 13):
        total, counted = exchanged([np.full(values, 5.0)] * 3, [Segment(values, 0)], 3, bits)
        assert counted == 3 * values
        assert np.array_equal(total, np.full(values, 3.0))
