"""Rows come back as they were appended, however they fall into blocks and wherever they are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo_node.dataset import matrix
from silo_node.dataset.matrix import GrowingMatrix

BLOCKS = st.lists(st.integers(0, 300), max_size=12)


@given(BLOCKS, st.integers(1, 5), st.sampled_from([0, 5000, 2**30]))
@settings(deadline=None, max_examples=100)
def test_rows_come_back_in_order_from_memory_and_from_a_file(blocks: list[int], columns: int, in_memory: int) -> None:
    whole = np.arange(sum(blocks) * columns, dtype=np.float64).reshape(-1, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "_STEP_BYTES", 4096)  # So that it grows, and moves, many times.
        growing, at = GrowingMatrix(columns, in_memory), 0
        for rows in blocks:
            # Transposed, as a table's blocks are: not contiguous.
            growing.append(np.asfortranarray(whole[at : at + rows]))
            at += rows
        found = growing.finish()
    assert found.shape == whole.shape
    assert np.array_equal(found, whole)


def test_what_is_given_back_outlives_the_matrix_and_can_be_written() -> None:
    """It is clamped in place."""
    growing = GrowingMatrix(2)
    growing.append(np.ones((3, 2)))
    found = growing.finish()
    del growing
    found[1] = 7.0
    assert found.tolist() == [[1.0, 1.0], [7.0, 7.0], [1.0, 1.0]]
