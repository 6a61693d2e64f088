"""Exact sums against plain NumPy, and how far one row can move them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.statistics_study import StatisticsContract
from silo_node.statistics.contributions import GRAINS, Rows, sensitivity_of, sums_of
from silo_node.statistics.totals import noised_totals
from tests.sample_statistics import AGES, QUESTIONS, READS, TIMES, rows, statistics

CONTRACT = statistics()
ASKED = {query.question.name: query.question for query in CONTRACT.queries}
NAMES = [column["name"] for column in READS]
VALUES = rows(400)


def column(name):
    return VALUES[:, NAMES.index(name)]


def sums(name, values=VALUES):
    return sums_of(ASKED[name], Rows(CONTRACT.data.reads, values)) / GRAINS


def whole(*names):
    return ~np.isnan(np.column_stack([column(name) for name in names])).any(axis=1)


def unit(name, low, high):
    return (column(name) - low) / ((high - low) / 2) - 1


def test_counts_are_those_of_the_rows_that_have_every_column_of_the_cell():
    assert sums("rows").tolist() == [400]
    known = whole("sex", "ward_a", "ward_b", "ward_c", "age")
    counts = sums("cells").reshape(2, 3, 2)
    for sex in (0, 1):
        for ward, name in enumerate(("ward_a", "ward_b", "ward_c")):
            here = known & (column("sex") == sex) & (column(name) == 1)
            assert counts[sex, ward].tolist() == [
                (here & (column("age") < 60)).sum(),
                (here & (column("age") >= 60)).sum(),
            ]
    assert counts.sum() == known.sum() < 400


@pytest.mark.parametrize("sex", [0, 1])
def test_sums_means_and_variances_are_those_of_plain_arithmetic(sex):
    here = whole("sex", "weight") & (column("sex") == sex)
    expected = [here.sum(), unit("weight", -50, 150)[here].sum()]
    np.testing.assert_allclose(sums("weights").reshape(2, 2)[sex], expected, atol=400 / GRAINS)
    known = whole("weight")
    u = unit("weight", -50, 150)[known]
    np.testing.assert_allclose(sums("spread"), [known.sum(), u.sum(), (u * u).sum()], atol=800 / GRAINS)


def test_bins_are_those_of_numpy_with_the_last_upper_edge_inside():
    at_edges = VALUES.copy()
    at_edges[:4, NAMES.index("age")] = [20, 40, 80, 80]
    at_edges[:4, NAMES.index("sex")] = 1
    known = ~np.isnan(at_edges[:, [0, 3]]).any(axis=1)
    women = at_edges[known & (at_edges[:, 3] == 1), 0]
    assert sums("bins", at_edges).reshape(2, 3)[1].tolist() == np.histogram(women, AGES)[0].tolist()
    assert sums("halves", at_edges).tolist() == sums("bins", at_edges).tolist()


def test_a_table_and_correlations_are_those_of_numpy():
    assert sums("table").sum() == whole("sex", "ward_a", "ward_b", "ward_c").sum()
    known = whole("age", "weight", "months")
    u = [unit(*one)[known] for one in (("age", 20, 80), ("weight", -50, 150), ("months", 0, 30))]
    products = [(u[i] * u[j]).sum() for i in range(3) for j in range(i, 3)]
    expected = [known.sum(), *(one.sum() for one in u), *products]
    np.testing.assert_allclose(sums("together"), expected, atol=800 / GRAINS)


def test_missing_values_are_counted_in_rows_that_lack_others_too():
    for sex in (0, 1):
        here = column("sex") == sex
        present = [(here & ~np.isnan(column(name))).sum() for name in ("age", "weight", "ill")]
        assert sums("gaps").reshape(2, 4)[sex].tolist() == [here.sum(), *present]
        assert max(present) < here.sum()


def test_survival_counts_events_censored_rows_and_those_beyond_the_last_edge():
    known = whole("months", "ill", "sex") & (column("sex") == 1)
    time, event = column("months"), column("ill") == 1
    events = np.histogram(time[known & event], TIMES)[0]
    censored = np.histogram(time[known & ~event], TIMES)[0]
    beyond = (known & (time > TIMES[-1])).sum()
    assert sums("lives").reshape(2, 7)[1].tolist() == [*events, *censored, beyond]


def test_a_row_with_a_missing_value_adds_nothing_where_the_value_is_needed_and_all_elsewhere():
    one = np.array([[30.0, np.nan, 7.0, 1.0, 0.0, 1.0, 0.0, 0.0]])
    touched = {name for name in ASKED if np.any(sums(name, one))}
    assert touched == set(ASKED) - {"weights", "spread", "together"}
    assert not any(np.any(sums(name, np.full((3, 8), np.nan))) for name in set(ASKED) - {"rows"})


def test_a_category_in_which_no_value_or_several_hold_is_in_no_cell():
    none, two = np.zeros((1, 8)), np.zeros((1, 8))
    none[0, 0], two[0, 0], two[0, 5:7] = 30, 30, 1
    assert not np.any(sums("table", none)) and not np.any(sums("table", two))


EXTREMES = st.sampled_from([-50.0, 0.0, 1.0, 20.0, 30.0, 80.0, 150.0, math.nan])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(*[EXTREMES] * 8), min_size=1, max_size=3), st.tuples(*[EXTREMES] * 8))
def test_no_row_moves_the_sums_of_a_question_by_more_than_its_sensitivity(others, more):
    low, high = np.array([one["minimum"] for one in READS]), np.array([one["maximum"] for one in READS])
    before = np.clip(np.array(others), low, high)
    after = np.vstack([before, np.clip(np.array(more), low, high)])
    for question in ASKED.values():
        moved = sums_of(question, Rows(CONTRACT.data.reads, after)) - sums_of(
            question, Rows(CONTRACT.data.reads, before)
        )
        assert math.isqrt(sum(int(one) ** 2 for one in moved)) <= sensitivity_of(question)


@pytest.mark.parametrize("question", [one["name"] for one in QUESTIONS])
def test_the_worst_row_reaches_the_sensitivity_that_is_charged(question):
    # At the upper end of every range, ill, and in one cell: u = 1 everywhere.
    worst = np.array([[80.0, 150.0, 30.0, 1.0, 1.0, 0.0, 1.0, 0.0]])
    moved = sums_of(ASKED[question], Rows(CONTRACT.data.reads, worst))
    assert math.sqrt(float((moved.astype(float) ** 2).sum())) == pytest.approx(
        sensitivity_of(ASKED[question]), rel=1e-6
    )


class Recorder:
    """A mechanism that adds nothing and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def noised(self, sums, sensitivity, noise_multiplier):
        self.asked.append((sensitivity, noise_multiplier))
        return sums


def test_each_query_is_noised_by_its_own_multiplier_times_its_own_sensitivity():
    recorder, contract = Recorder(), loud(CONTRACT)
    totals = noised_totals(contract, VALUES, recorder)
    expected = [(sensitivity_of(one.question), one.noise_multiplier) for one in contract.queries]
    assert recorder.asked == expected
    assert totals.size == sum(one.question.values for one in contract.queries)


def loud(contract: StatisticsContract) -> StatisticsContract:
    queries = [one.model_copy(update={"noise_multiplier": 8.0 + place}) for place, one in enumerate(contract.queries)]
    return contract.model_copy(update={"queries": tuple(queries)})
