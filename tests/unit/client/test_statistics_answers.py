"""Answers from totals: right without noise, and in intervals that hold the truth as often as they say."""

import math

import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from client.statistics.answers import answers
from client.statistics.bundle import StatisticsBundle, read_statistics
from client.statistics.values import answer_value, notes_of, rows_of
from protocol.statistics_release import shown_totals, statistics_release
from protocol.statistics_study import variance_of
from protocol.study import study_id
from silo_node.statistics.totals import noised_totals
from tests.sample_statistics import QUESTIONS, READS, TIMES, about, rows
from tests.sample_study import SILOS


class Silent:
    """A mechanism without noise."""

    def noised(self, sums, sensitivity, noise_multiplier):
        return sums


NAMES = [column["name"] for column in READS]
POPULATION = rows(20_000, seed=2, missing=0.0)
REPEATS = 400
# 95 % of 400 is 380, with a standard deviation of 4.4; intervals may be wider than they need be.
LEAST = 362


def question(name, **changes):
    return next(one for one in QUESTIONS if one["name"] == name) | changes


def chosen(contract, values):
    return values[:, [NAMES.index(column.name) for column in contract.data.reads]]


def exact(contract, values):
    return noised_totals(contract, chosen(contract, values), Silent())


def answered(contract, totals):
    shown = {one.query: one.values for one in shown_totals(contract, list(totals))}
    (answer,) = answers(StatisticsBundle(study_id(contract), contract, SILOS, shown))
    return answer


def noised(contract, totals, draws):
    (query,) = contract.queries
    return totals + draws.normal(0, math.sqrt(variance_of(contract, query, len(SILOS))), totals.size)


def values_of(answer):
    return [line.estimate.value for line in answer.lines]


def column(name, values=POPULATION):
    return values[:, NAMES.index(name)]


def quiet(name, values=POPULATION, **changes):
    contract = about(question(name, **changes), noise=50.0)
    return answered(contract, exact(contract, values))


@pytest.mark.parametrize("name", [one["name"] for one in QUESTIONS])
def test_every_kind_of_question_is_answered_with_a_line_for_each_number(name):
    answer = quiet(name)
    assert len(rows_of(answer)) == len(answer.lines) == len(answer_value(answer)["lines"]) > 0
    assert notes_of(answer)
    for line in answer.lines:
        assert line.estimate.low <= line.estimate.value <= line.estimate.high


def test_sums_means_and_variances_are_those_of_numpy():
    women, age, weight = column("sex") == 1, column("age"), column("weight")
    assert values_of(quiet("weights"))[1] == pytest.approx(weight[women].sum(), rel=1e-6)
    assert values_of(quiet("ages"))[1] == pytest.approx(age[women].mean(), rel=1e-6)
    assert values_of(quiet("spread")) == pytest.approx([weight.mean(), weight.var(ddof=1)], rel=1e-5)


def test_missing_shares_are_those_of_the_rows():
    values = rows(5_000, seed=4, missing=0.2)
    women = column("sex", values) == 1
    shares = [np.isnan(column(name, values)[women]).mean() for name in ("age", "weight", "ill")]
    assert values_of(quiet("gaps", values))[3:] == pytest.approx(shares, abs=1e-6)


def test_correlations_are_those_of_numpy():
    among = np.corrcoef([column("age"), column("weight"), column("months")])
    assert values_of(quiet("together")) == pytest.approx([among[0, 1], among[0, 2], among[1, 2]], abs=1e-5)


def test_quantiles_are_those_of_the_rows_where_they_are_spread_evenly_within_bins():
    answer = quiet("halves", edges=[20 + place * 1.0 for place in range(61)], by=[])
    assert values_of(answer) == pytest.approx(np.quantile(column("age"), [0.25, 0.5]).tolist(), abs=0.2)


def test_survival_is_that_of_kaplan_and_meier_on_times_in_bins():
    time, event = column("months"), column("ill")
    binned = np.array([*TIMES[1:], 99.0])[np.searchsorted(TIMES[1:], np.minimum(time, 21.0), side="right")]
    curve = SurvfuncRight(binned, event)
    expected = [curve.surv_prob[curve.surv_times == edge][0] for edge in TIMES[1:]]
    assert values_of(quiet("lives", by=[])) == pytest.approx(expected, rel=1e-9)


def coverage(contract, truth, sample, seed=3):
    """How often each number's interval holds its truth, over samples and noise."""
    draws, held = np.random.default_rng(seed), np.zeros(len(truth), dtype=int)
    for _ in range(REPEATS):
        lines = answered(contract, noised(contract, exact(contract, sample(draws)), draws)).lines
        told = [line.estimate for line in lines]
        held += [one.low <= right <= one.high for one, right in zip(told, truth, strict=True)]
    return held


def the_same(draws):
    return POPULATION[:300]


def a_sample(draws):
    return POPULATION[draws.integers(0, len(POPULATION), 300)]


@pytest.mark.parametrize("name", ["rows", "weights", "ages", "bins", "table"])
def test_intervals_about_the_rows_hold_their_value_as_often_as_they_say(name):
    contract = about(question(name, **({"edges": [20.0, 50.0, 80.0]} if name == "bins" else {})), noise=5.0)
    truth = values_of(answered(contract, exact(contract, POPULATION[:300])))
    held = coverage(contract, truth, the_same)
    assert (held >= LEAST).all() and (held < REPEATS).any(), held


def test_intervals_about_the_population_hold_its_value_as_often_as_they_say():
    mean = about(question("spread"), noise=3.0)
    spread = values_of(quiet("spread"))
    assert coverage(mean, spread, a_sample)[0] >= LEAST
    assert coverage(mean, values_of(answered(mean, exact(mean, POPULATION[:300]))), the_same)[1] >= LEAST
    pair = about(question("together", of=["age", "weight"]), noise=1.5)
    assert coverage(pair, [np.corrcoef(column("age"), column("weight"))[0, 1]], a_sample)[0] >= LEAST
    lives = about(question("lives", by=[]), noise=4.0)
    assert (coverage(lives, values_of(quiet("lives", by=[])), a_sample) >= LEAST).all()
    halves = about(question("halves", by=[], edges=[20 + place * 5.0 for place in range(13)]), noise=4.0)
    assert (coverage(halves, np.quantile(column("age"), [0.25, 0.5]), a_sample) >= LEAST).all()


def test_a_mean_whose_count_drowned_in_noise_could_be_anything_in_range():
    contract = about(question("ages", by=[]), noise=100.0)
    (line,) = answered(contract, [30.0, 3.0]).lines
    assert (line.estimate.low, line.estimate.high) == (20.0, 80.0)


# -- independence


def table(counts, noise=8.0):
    contract = about(question("table"), noise=noise)
    return contract, np.array(counts, dtype=float)


def test_what_is_dependent_is_found_and_everybody_finds_the_same_p():
    contract, counts = table([400, 100, 300, 200, 100, 400])
    first, second = (answered(contract, counts).independence for _ in range(2))
    assert first == second
    assert first.p_value < 0.001


def test_noise_alone_is_not_taken_for_dependence():
    # By the chi-square distribution, which knows of no noise, most of these tables would be.
    contract, _ = table([100] * 6, noise=8.0)
    draws, found = np.random.default_rng(5), []
    for _ in range(100):
        counts = draws.multinomial(600, np.full(6, 1 / 6)).astype(float)
        found.append(answered(contract, noised(contract, counts, draws)).independence)
    # 5 are expected, with a standard deviation of 2.2; by the chi-square distribution it were 42.
    assert sum(one.p_value < 0.05 for one in found) <= 12
    assert sum(one.statistic > 5.99 for one in found) > 25


def test_a_table_with_cells_that_are_kept_back_is_not_tested():
    contract, counts = table([100, 4, 100, 100, 100, 100])
    answer = answered(contract, counts)
    assert (answer.suppressed, answer.independence.p_value) == (1, None)
    assert answer.lines[1].estimate is None
    assert rows_of(answer)[1] == ("ward_a", "yes", "count", "too small", "")
    assert "too small" in " ".join(notes_of(answer))
    told = answer_value(answer)["lines"][1]
    assert told == {"cell": {"ward": "ward_a", "sex": "yes"}, "what": "count", "suppressed": True}


# -- the bundle


def test_a_released_bundle_is_read_back_and_any_other_is_refused():
    from client.errors import BundleRefused

    contract = about(question("rows"), question("cells"))
    study, totals = study_id(contract), [100.0] + [12.5] * 12
    data = statistics_release(contract, study, SILOS[:3], totals)
    bundle = read_statistics(data, study)
    assert (bundle.silos, bundle.totals["rows"], len(bundle.totals["cells"])) == (SILOS[:3], (100,), 12)
    for old, new, said in (
        (b"consortia-statistics/1", b"consortia-statistics/2", "format"),
        (b'"minimum_cell":5', b'"minimum_cell":6', "of study"),
        (b'"alpha","bravo","charlie"]', b'"alpha","bravo","bravo"]', "one twice"),
        (b'"alpha","bravo","charlie"]', b'"alpha","bravo","echo"]', "not the contract's"),
        (b'"values":[100]', b'"values":[100,1]', "not those that the contract asks for"),
        (b'{"query":"rows"', b'{"query":"rowss"', "not those that the contract asks for"),
    ):  # fmt: skip
        assert data.count(old) == 1, old
        with pytest.raises(BundleRefused, match=said):
            read_statistics(data.replace(old, new), study)
    with pytest.raises(BundleRefused):
        read_statistics(data + b" ", study)
