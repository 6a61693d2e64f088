"""What silos agree on after a statistics study's round: one encoding, carried to the very bytes that are released."""

import io

import numpy as np
import pytest

from protocol.statistics_release import statistics_release
from protocol.study import study_id
from silo_node.agent.progress import apply_total, segments_of
from silo_node.agent.releasing import _bundle
from silo_node.agent.totals import Totals
from silo_node.statistics.queries import StatisticsRefused
from tests.sample_statistics import statistics
from tests.sample_study import SILOS

CONTRACT = statistics()
VALUES = sum(query.question.values for query in CONTRACT.queries)
TOTALS = np.random.default_rng(1).normal(50, 30, VALUES)


def after(totals, survivors=SILOS[:3]):
    file = io.BytesIO()
    runs = [totals[: VALUES // 2], totals[VALUES // 2 :]]
    apply_total(CONTRACT, study_id(CONTRACT), 0, io.BytesIO(), runs, survivors, file)
    return file.getvalue()


def test_the_state_is_the_survivors_and_their_totals_in_one_encoding():
    state = after(TOTALS)
    names = b'["alpha","bravo","charlie"]'
    assert state == len(names).to_bytes(8, "little") + names + TOTALS.astype("<f8").tobytes()
    read = Totals.from_bytes(state)
    assert read.silos == SILOS[:3] and np.array_equal(read.values, TOTALS)
    assert after(TOTALS, SILOS[1:]) != state
    other = TOTALS.copy()
    other[-1] = np.nextafter(other[-1], np.inf)
    assert after(other) != state


def test_every_silo_releases_the_same_bytes_of_one_state():
    study = study_id(CONTRACT)
    expected = statistics_release(CONTRACT, study, SILOS[:3], TOTALS.tolist())
    assert _bundle(CONTRACT, study, after(TOTALS)) == expected


NO_NAMES = (9).to_bytes(8, "little") + b"no names!"
NO_FLOATS = (2).to_bytes(8, "little") + b"[]1"


@pytest.mark.parametrize("data", [b"", b"\x01", NO_NAMES, NO_FLOATS])
def test_bytes_that_are_no_totals_are_refused(data):
    with pytest.raises(StatisticsRefused, match="not those of a statistics study"):
        Totals.from_bytes(data)


def test_a_tensor_a_query_is_encoded_with_room_for_its_rows_and_noise():
    segments = segments_of(CONTRACT, io.BytesIO(), 0)
    assert [segment.length for segment in segments] == [query.question.values for query in CONTRACT.queries]
    assert all(2.0**segment.exponent >= 200 for segment in segments)
