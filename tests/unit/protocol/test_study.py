import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Malformed
from protocol.precision import Sealing, check_precision, resolved
from protocol.rounds import freeze_digest, last_round, plan_round, round_events, round_layout
from protocol.sealing.parameters import PLAIN_MODULUS, radix_for
from protocol.study import parse_contract, study_cost, study_id
from protocol.training_study import parameter_count, tensor_lengths
from tests.sample_study import SILOS, contract, contract_values


def changed(path, value):
    values = copy.deepcopy(contract_values())
    spot = values
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return values


def test_changing_a_comma_makes_a_new_study():
    other = contract(description="Predict heart disease, from routine measurements.")
    assert study_id(other) != study_id(contract())
    assert study_id(contract()) == study_id(contract())


@pytest.mark.parametrize(
    ("changes", "digest"),
    [
        ({}, "86e4f72a7700eca11802524fb33d1f42ee21d8243f1a475cbd7fc54c7728fece"),
        (
            {
                "model": {"family": "mlp", "hidden": [5, 4]},
                "sealing": {
                    "values_per_slot": None,
                    "bits": 12,
                    "normalisation_exponent": 7,
                    "training_exponent": 1,
                    "evaluation_exponent": 7,
                },
            },
            "123552a9e3dbccb332e47f56dc4be95547b9f494652d1c7607d954675211ad8e",
        ),
    ],
)
def test_a_contract_keeps_its_name_from_version_to_version(changes, digest):
    assert study_id(contract(**changes)) == digest


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("colour",), "red", "colour"),
        (("training", "momentum"), 0.9, "training.momentum"),
        (("privacy", "epsilon"), -1.0, "privacy.epsilon"),
        (("privacy", "epsilon"), "five", "privacy.epsilon"),
        (("privacy", "delta"), 1.0, "privacy.delta"),
        (("privacy", "order"), 1, "privacy.order"),
        (("training", "rounds"), 10**9, "training.rounds"),
        (("training", "noise_multiplier"), 1e-9, "training.noise_multiplier"),
        (("training", "noise_multiplier"), 0.3, "raise the noise multipliers"),
        (("evaluation", "test_share"), 1.5, "evaluation.counts.test_share"),
        (("schedule", "quorum"), 2, "schedule.quorum"),
        (("schedule", "quorum"), 5, "quorum"),
        (("silos", 0, "weight"), 0.6, "weight"),
        (("silos", 0, "weight"), 0.3, "add up to 1"),
        (("silos", 0, "silo"), "bravo", "stand in the table once"),
        (("silos", 0, "rows"), 0, "rows"),
        (("silos", 0, "sampling_rate"), 1e-300, "sampling_rate"),
        (("silos", 0, "sampling_rate"), 1.5, "sampling_rate"),
        (("expires_at",), "tomorrow", "expires_at"),
        (("expires_at",), "2026-02-30T00:00:00Z", "expires_at"),
        (("model",), {"family": "pickle"}, "model"),
        (("model",), {"family": "mlp", "hidden": [8192] * 8}, "parameters"),
        (("normalisation", "columns"), ["age", "weight"], "weight"),
        (("release", "approvals"), 9, "release.approvals"),
        (("kind",), "gossip", "kind"),
        (("data", "dataset"), "../secrets", "data.dataset"),
        (("lead",), "ROSA", "lead"),
        (("title",), "Heart\nPrivacy: epsilon 0", "title"),
        (("description",), "an \x1b[2J escape sequence", "description"),
        (("legal_basis",), "read \u202ebackwards", "legal_basis"),
    ],
)
def test_a_wrong_contract_is_refused_with_the_field_named(path, value, named):
    with pytest.raises(Malformed, match=named):
        parse_contract(changed(path, value))


def precision(**given):
    return {**contract_values()["sealing"], "values_per_slot": None, **given}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, r"sealing: .*values_per_slot \(1 to 8\) or bits \(1 to 46\) must be given"),
        ({"values_per_slot": 9}, "sealing.values_per_slot: .*less than or equal to 8"),
        ({"values_per_slot": 0}, "sealing.values_per_slot"),
        ({"bits": 47}, "sealing.bits: .*less than or equal to 46"),
        ({"bits": 0}, "sealing.bits"),
        ({"bits": 45}, r"sealing.bits: 45; totals of 4 silos leave at most 43 bits; lower it"),
        ({"values_per_slot": 3, "bits": 14}, "sealing.bits: 14 at sealing.values_per_slot 3; totals of 4 silos leave "
         "at most 13 bits; lower the bits or the values a slot"),
    ],
)  # fmt: skip
def test_a_precision_that_cannot_hold_the_silos_is_refused(given, said):
    with pytest.raises(Malformed, match=said):
        contract(sealing=precision(**given))


def test_more_values_a_slot_than_the_silos_leave_room_for_are_refused():
    names = [f"silo-{number}" for number in range(100)]
    silos = [{**contract_values()["silos"][0], "silo": name, "weight": 0.01} for name in names]
    many = {"silos": silos, "schedule": {"quorum": 60, "step_timeout_s": 60}}
    with pytest.raises(Malformed, match="values_per_slot: 8 totals of 100 silos don't fit a slot, at most 6 do; lower"):
        contract(**many, sealing=precision(values_per_slot=8))
    assert round_layout(contract(**many, sealing=precision(values_per_slot=6)), 1, 100).part("update").bits == 1


@given(st.integers(3, 256), st.none() | st.integers(1, 8), st.none() | st.integers(1, 46))
def test_what_a_contract_leaves_out_of_its_precision_is_the_most_that_fits(terms, per_slot, bits):
    if per_slot is None and bits is None:
        return
    sealing = Sealing.model_validate(precision(values_per_slot=per_slot, bits=bits))
    if radix_for(terms, bits or 1) ** (per_slot or 1) > PLAIN_MODULUS:
        with pytest.raises(ValueError, match="sealing"):
            check_precision(sealing, terms)
        return
    check_precision(sealing, terms)
    found, level = resolved(sealing, terms)
    assert (per_slot or found, bits or level) == (found, level)
    assert radix_for(terms, level) ** found <= PLAIN_MODULUS
    assert bits or radix_for(terms, level + 1) ** found > PLAIN_MODULUS
    assert per_slot or found == 8 or radix_for(terms, level) ** (found + 1) > PLAIN_MODULUS


def test_a_round_names_the_tensors_of_its_vector():
    study = contract(model={"family": "mlp", "hidden": [5, 4]})
    assert tensor_lengths(study) == (10, 5, 20, 4, 4, 1)
    assert [(plan_round(study, index).vector, plan_round(study, index).tensors) for index in (0, 1, 3)] == [
        ("moments", (2, 2)), ("update", (10, 5, 20, 4, 4, 1)), ("counts", (2,)),
    ]  # fmt: skip


def test_the_whole_study_must_fit_the_epsilon_that_it_states():
    fitting = contract()
    privacy = fitting.privacy
    assert all(study_cost(fitting, silo, privacy.order) > 0 for silo in SILOS)
    with pytest.raises(Malformed, match="rounds cost"):
        parse_contract(changed(("privacy", "epsilon"), 2.0))


def test_the_plan_is_normalisation_then_training_then_evaluation():
    study = contract()
    stages = [plan_round(study, index).stage for index in range(last_round(study) + 1)]
    assert stages == ["normalisation", "training", "training", "evaluation"]
    assert [plan_round(study, index).values for index in range(4)] == [4, 3, 3, 2]
    with pytest.raises(Malformed):
        plan_round(study, 4)


def test_the_study_costs_what_its_rounds_cost_together():
    from protocol.accounting import cost_of

    study = contract()
    by_round = sum(cost_of(round_events(study, "alpha", index), 4) for index in range(4))
    assert by_round == study_cost(study, "alpha", 4)


def test_parameters_of_an_mlp_are_counted_with_their_biases():
    assert parameter_count(contract(model={"family": "mlp", "hidden": [5, 4]})) == 2 * 5 + 5 + 5 * 4 + 4 + 4 + 1


def test_every_part_of_a_round_changes_its_freeze_digest():
    study = contract()
    layout = round_layout(study, 1, 3)
    ready = {name: str(number) * 64 for number, name in enumerate(SILOS[:3])}
    whole = {
        "study": study_id(study), "index": 1, "attempt": 1, "silos": SILOS[:3], "ready": ready, "layout": layout,
        "base": "0" * 64,
    }  # fmt: skip
    others = [
        {"index": 2}, {"attempt": 2}, {"base": "1" * 64}, {"study": "a" * 64}, {"layout": round_layout(study, 0, 3)},
        {"ready": {**ready, "alpha": "f" * 64}},
    ]  # fmt: skip
    digests = {freeze_digest(**whole), *(freeze_digest(**{**whole, **other}) for other in others)}
    assert len(digests) == 1 + len(others)
    assert all(len(digest) == 32 for digest in digests)


def test_a_freeze_names_a_ready_statement_for_each_of_its_silos_and_no_other():
    study = contract()
    with pytest.raises(Malformed):
        freeze_digest(
            study=study_id(study), index=1, attempt=1, silos=SILOS[:3], ready={"alpha": "0" * 64},
            layout=round_layout(study, 1, 3), base="0" * 64,
        )  # fmt: skip
