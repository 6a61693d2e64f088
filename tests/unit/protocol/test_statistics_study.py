"""The contract of a statistics study: what it must say, and what follows from it."""

import copy

import pytest

from protocol.accounting import budget, cost_of
from protocol.calibration import contract_of
from protocol.draft import parse_draft
from protocol.errors import DraftRefused, Malformed
from protocol.rounds import last_round, plan_round, round_events, round_layout
from protocol.statistics_release import shown_totals
from protocol.statistics_study import exponent_of, variance_of
from protocol.study import contract_value, parse_contract, parse_statistics, parse_training, study_cost, study_id
from tests.sample_statistics import OLD, QUESTIONS, READS, SEX, about, statistics, statistics_values
from tests.sample_study import SILOS, contract_values

SAMPLE = open("docs/samples/statistics.yaml", "rb").read()  # noqa: SIM115
ROWS = {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va-long-beach": 200}


def test_a_statistics_study_has_one_round_in_which_every_query_is_a_tensor():
    contract = statistics()
    assert last_round(contract) == 0
    plan = plan_round(contract, 0)
    assert (plan.stage, plan.vector, len(plan.tensors)) == ("statistics", "totals", len(QUESTIONS))
    assert plan.tensors == (1, 12, 4, 4, 3, 6, 6, 6, 10, 8, 14)
    assert round_layout(contract, 0, 4).part("totals").values == sum(plan.tensors)
    with pytest.raises(Malformed):
        plan_round(contract, 1)


def test_the_round_costs_what_the_study_costs_and_equal_noises_are_one_event():
    contract = statistics()
    events = round_events(contract, "alpha", 0)
    assert [(one.kind, one.noise_multiplier, one.count) for one in events] == [("gaussian", 8.0, len(QUESTIONS))]
    assert cost_of(events, 4) == study_cost(contract, "alpha", 4)


def test_a_contract_is_named_by_its_whole_text():
    contract = statistics()
    assert study_id(parse_contract(contract_value(contract))) == study_id(contract)
    assert study_id(statistics(minimum_cell=6)) != study_id(contract)


def changed(path, value):
    values = copy.deepcopy(statistics_values())
    spot = values
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("model",), {"family": "logistic"}, "model"),
        (("minimum_cell",), 4, "minimum_cell"),
        (("queries",), [], "queries"),
        (("queries", 0, "noise_multiplier"), 0.1, "noise_multiplier"),
        (("queries", 0, "noise_multiplier"), 0.4, "rounds cost"),
        (("queries", 1, "question", "name"), "rows", "name of its own"),
        (("queries", 3, "question", "column"), "height", "height, which data.reads"),
        (("queries", 1, "question", "by"), [SEX] * 5, "by"),
        (("queries", 1, "question", "by"), [{**SEX, "columns": ["age"]}], "give axis sex edges"),
        (("queries", 1, "question", "by"), [{**OLD, "columns": ["age", "weight"]}], "edges cut one column"),
        (("queries", 1, "question", "by"), [{**OLD, "edges": [20.0, 20.0]}], "must rise"),
        (("queries", 5, "question", "edges"), [10.0, 80.0], "keep them within"),
        (("queries", 6, "question", "probabilities"), [0.5, 0.25], "must rise"),
        (("queries", 6, "question", "probabilities"), [1.0], "probabilities"),
        (("queries", 7, "question", "by"), [SEX], "by"),
        (("queries", 8, "question", "of"), ["age", "age"], "twice"),
        (("queries", 9, "question", "of"), ["age", "age"], "twice"),
        (("queries", 10, "question", "event"), "age", "must be binary"),
        (("data", "reads"), [*READS, {**READS[0], "name": "height"}], "no query is about column height"),
        (("data", "reads"), [*READS, READS[0]], "may stand there once"),
        (("silos", 0, "sampling_rate"), 1.0, "sampling_rate"),
        (("schedule", "quorum"), 2, "schedule.quorum"),
    ],
)  # fmt: skip
def test_a_wrong_statistics_contract_is_refused_with_the_field_named(path, value, named):
    with pytest.raises(Malformed, match=named):
        parse_contract(changed(path, value))


def test_more_values_than_a_study_may_sum_are_refused():
    fine = {"name": "fine", "columns": ["age"], "edges": [20 + place * 0.06 for place in range(1000)]}
    with pytest.raises(Malformed, match="at most 100000 are summed"):
        about({"kind": "count", "name": "rows", "by": [fine, {**fine, "name": "again", "columns": ["weight"]}]})


def test_a_study_of_another_kind_is_not_taken_for_this_one():
    with pytest.raises(Malformed, match="kind: training, a study of kind statistics is needed"):
        parse_statistics(contract_values())
    with pytest.raises(Malformed, match="kind: statistics, a study of kind training is needed"):
        parse_training(statistics_values())


def test_the_encoding_has_room_for_the_rows_and_the_noise_and_its_rounding_is_counted():
    contract = statistics()
    for query in contract.queries:
        assert 2.0 ** exponent_of(contract, query) >= 16 * 100 + 8 * query.deviation
        exact = 4 * query.deviation**2
        assert exact <= variance_of(contract, query, 4) < exact * (1 + 1e-6)
    coarse = statistics(sealing={"values_per_slot": 3, "bits": 4})
    assert variance_of(coarse, coarse.queries[0], 4) > 4 * coarse.queries[0].deviation ** 2 + 4 * 60


def test_cells_below_the_minimum_are_kept_back_with_all_their_components():
    contract = statistics(
        [QUESTIONS[2], QUESTIONS[6]], data={"dataset": "heart", "reads": [READS[0], READS[1], READS[3]]}
    )
    # Sums by sex: a count of 4.9 is too few. Quantiles by sex: the bins of a cell count together.
    sums, halves = shown_totals(contract, [4.9, 2.0, 5.0, 3.0, 2.0, 2.0, 0.9, 1.0, 3.0, 1.0])
    assert sums.values == (None, None, 5.0, 3.0)
    assert halves.values == (None, None, None, 1.0, 3.0, 1.0)


def test_the_sample_draft_makes_a_contract_that_spends_its_budget_by_its_weights():
    contract = contract_of(parse_draft(SAMPLE), ROWS)
    privacy = contract.privacy
    whole = budget(privacy.epsilon, privacy.delta, privacy.order)
    spent = study_cost(contract, "cleveland", privacy.order)
    assert 0.999 * whole < spent <= whole
    costs = {
        query.question.name: 1 / query.noise_multiplier**2 for query in contract.queries
    }  # a Gaussian's cost is proportional to it
    assert costs["disease_by_sex"] == pytest.approx(2 * costs["patients"], rel=1e-3)
    assert contract.minimum_cell == 10
    assert contract.sealing.values_per_slot == 1
    quantiles = next(query.question for query in contract.queries if query.question.name == "heart_rate")
    assert quantiles.edges[:2] == (50.0, 60.0) and quantiles.edges[-1] == 220.0


@pytest.mark.parametrize(
    ("was", "now", "named"),
    [
        (b"weights: {disease_by_sex: 2}", b"weights: {nothing: 2}", "no query nothing"),
        (b"minimum_cell: 10", b"minimum_cell: 3", "minimum_cell"),
        (b"kind: statistics", b"kind: gossip", "kind: it must be one of training, statistics"),
        (b"column: chol}", b"column: height}", "height"),
        (b"minimum: 20, maximum: 90}", b"minimum: 20}", "age needs a minimum and a maximum"),
        (b"epsilon: 2", b"epsilon: 1e-9", "privacy"),
        (
            b"  - {name: cholesterol, kind: mean, column: chol}",
            b"  - {name: cholesterol, kind: mode, column: chol}",
            "kind",
        ),
        (b", bins: 17", b", bins: 0", "edges"),
    ],
)
def test_a_wrong_statistics_draft_is_refused_with_the_field_named(was, now, named):
    assert SAMPLE.count(was) == 1
    with pytest.raises(DraftRefused, match=named):
        contract_of(parse_draft(SAMPLE.replace(was, now)), ROWS)


def test_as_many_noises_as_a_statement_can_charge_are_allowed_and_no_more():
    many = [{**QUESTIONS[0], "name": f"rows_{number}"} for number in range(17)]
    value = statistics_values(many, data={"dataset": "heart", "reads": READS})
    value["data"]["reads"] = [READS[3]]
    for place, query in enumerate(value["queries"]):
        query["noise_multiplier"] = 30.0 + place
        query["question"] = {**query["question"], "by": [SEX]}
    with pytest.raises(Malformed, match="different noise"):
        parse_contract(value)
    value["queries"][16]["noise_multiplier"] = 30.0
    assert len(round_events(parse_contract(value), SILOS[0], 0)) == 16
