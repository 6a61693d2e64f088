"""What a draft becomes, and how a wrong one is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.contract import in_words
from protocol import accounting, signing
from protocol.calibration import build_contract
from protocol.draft import parse_draft
from protocol.errors import DraftRefused
from protocol.evaluation import ScoredEvaluation
from protocol.membership_statements import DatasetRegistered
from protocol.study import study_cost, study_id
from protocol.training_calibration import weights
from protocol.yaml_draft import load_yaml
from tests.unit.client.conftest import SAMPLE, World


def published(world: World) -> dict[str, DatasetRegistered]:
    bodies = [signing.parse(wire).body for _, wire in world.leaves]
    return {one.issuer[5:]: one for one in bodies if isinstance(one, DatasetRegistered)}


def changed(old: str, new: str) -> bytes:
    text = SAMPLE.read_text()
    assert text.count(old) == 1
    return text.replace(old, new).encode()


def test_the_sample_becomes_a_contract_that_spends_its_epsilon_and_no_more(world: World, sample: Path) -> None:
    contract = build_contract(parse_draft(sample.read_bytes()), published(world))
    assert contract.privacy.order == accounting.best_order(5, 1e-3)
    for terms in contract.silos:
        order = contract.privacy.order
        spent = accounting.epsilon_at(study_cost(contract, terms.silo, order), 1e-3, order)
        assert 4.99 < spent <= 5.0
        assert terms.normaliser == pytest.approx(terms.rows * 0.66)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("epsilon: 5", "epsilon: -5", "privacy.epsilon"),
        ("epsilon: 5", "epsilon: .inf", "privacy.epsilon"),
        ("delta: 1e-3", "delta: 1", "privacy.delta"),
        ("rounds: 15", "rounds: 1000000000", "training.rounds"),
        ("kind: training", "kind: training\nsecret: 1", "secret"),
        ("clip: 1.0", "clip: 1.0\n  noise_multiplier: 0.01", "training.noise_multiplier"),
        ("epsilon: 5", "epsilon: 1e-9", "budget"),
        ("training: 0.75", "training: 1e-12", "training can't fit"),
        ("training: 0.75", "training: 0.9", "shares add up"),
        ("expires_at: 2030-12-31T00:00:00Z", "expires_at: tomorrow", "expires_at"),
        ("unit: subject", "unit: record", "whole subjects"),
        ("dataset: heart", "dataset: lungs", "has not registered"),
        ("name: exang, kind: binary", "name: st, kind: binary", "no column st"),
        ("kind: number, unit: years, minimum: 18, maximum: 100", "kind: number", "minimum and a maximum"),
        ("quorum: 3", "quorum: 2", "quorum"),
        ("family: logistic", "family: forest", "model"),
        ("approvals: 2", "approvals: 9", "release.approvals"),
        ("averaged_rounds: 5", "averaged_rounds: 16", "averaged_rounds"),
    ],
)
def test_a_wrong_draft_is_refused_by_the_field_that_is_wrong(world: World, old: str, new: str, field: str) -> None:
    registered = published(world)
    if "lungs" in new:
        registered = {}
    with pytest.raises(DraftRefused, match=field):
        build_contract(parse_draft(changed(old, new)), registered)


@pytest.mark.parametrize(
    ("written", "held", "said"),
    [
        ("values_per_slot: 3", (3, None), "8192 levels over its range (13 bits, 3 to a slot)"),
        ("values_per_slot: 2", (2, None), "(21 bits, 2 to a slot)"),
        ("bits: 10", (None, 10), "1024 levels over its range (10 bits, 3 to a slot)"),
        ("values_per_slot: 2\n  bits: 16", (2, 16), "(16 bits, 2 to a slot)"),
        ("bits: null", (3, None), "(13 bits, 3 to a slot)"),
    ],
)
def test_a_draft_chooses_its_precision_and_the_contract_says_it(
    world: World, written: str, held: tuple[int | None, int | None], said: str
) -> None:
    contract = build_contract(parse_draft(changed("values_per_slot: 3", written)), published(world))
    assert (contract.sealing.values_per_slot, contract.sealing.bits) == held
    words = [line for section in in_words(contract, study_id(contract)) for line in section.lines]
    assert said in dict(words)["Precision"]


def test_a_draft_whose_precision_cannot_hold_its_silos_is_refused(world: World) -> None:
    with pytest.raises(DraftRefused, match=r"sealing.bits: 44; totals of 4 silos leave at most 43 bits"):
        build_contract(parse_draft(changed("values_per_slot: 3", "bits: 44")), published(world))


def test_a_range_too_small_for_a_silos_held_out_rows_is_refused_with_the_one_that_holds_them(world: World) -> None:
    draft = changed("evaluation_exponent: 8", "evaluation_exponent: 6")
    with pytest.raises(
        DraftRefused, match=r"evaluation_exponent: 6 encodes values up to 64; those of cleveland .* give 8"
    ):
        build_contract(parse_draft(draft), published(world))


def test_a_study_above_a_silos_whole_cap_is_refused_before_it_is_proposed(world: World, sample: Path) -> None:
    registered = published(world)
    registered["switzerland"] = registered["switzerland"].model_copy(update={"epsilon": 2.0})
    with pytest.raises(DraftRefused, match="switzerland, whose cap is epsilon 2"):
        build_contract(parse_draft(sample.read_bytes()), registered)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: 1\na: 2", "twice"),
        ("a: !!python/object/apply:os.system [ls]", "YAML"),
        ("a: [1, 2", "line 1|line 2"),
        ("\x00", "YAML"),
    ],
)
def test_yaml_that_could_mean_something_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DraftRefused, match=reason):
        load_yaml(text.encode())


def test_yaml_means_what_it_looks_like() -> None:
    text = "a: 1e-3\nb: no\nc: 010\nd: 2030-12-31T00:00:00Z\ne: true\nf: 1_000"
    value = {"a": 1e-3, "b": "no", "c": 10, "d": "2030-12-31T00:00:00Z", "e": True, "f": "1_000"}
    assert load_yaml(text.encode()) == value


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_of_drafts_fall_over(raw: bytes) -> None:
    with pytest.raises(DraftRefused):
        parse_draft(raw)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=3, max_size=20), st.sampled_from(["rows", "sqrt-rows"]))
def test_weights_add_up_to_one_and_nobody_has_more_than_half(rows: list[int], by: str) -> None:
    named = {f"silo-{i}": count for i, count in enumerate(rows)}
    share = weights(named, by)  # type: ignore[arg-type]
    assert sum(share.values()) == pytest.approx(1, abs=1e-12)
    assert max(share.values()) <= 0.5
    large = max(named, key=lambda name: named[name])
    assert share[large] == max(share.values())


def scores(text: str, share: str = "0.34") -> bytes:
    return changed("evaluation: {test_share: 0.34}", f"evaluation: {{test_share: {share}, scores: {text}}}")


def test_a_range_too_small_for_the_sums_of_a_silos_training_rows_is_refused_too(world: World) -> None:
    draft = changed("normalisation_exponent: 9", "normalisation_exponent: 7")
    with pytest.raises(
        DraftRefused, match=r"normalisation_exponent: 7 encodes values up to 128; those of .* give [89]"
    ):
        build_contract(parse_draft(draft), published(world))


def test_a_histogram_of_scores_has_edges_that_follow_from_its_bins(world: World) -> None:
    silos = {silo: body.model_copy(update={"rows": 10 * body.rows}) for silo, body in published(world).items()}
    wider = (
        (b"normalisation_exponent: 9", b"normalisation_exponent: 12"),
        (b"evaluation_exponent: 8", b"evaluation_exponent: 11"),
    )

    def widened(text: str) -> bytes:
        raw = scores(text)
        for old, new in wider:
            assert raw.count(old) == 1
            raw = raw.replace(old, new)
        return raw

    draft = widened("{bins: 8, scale: log-odds, groups: [sex_male]}")
    contract = build_contract(parse_draft(draft), silos)
    assert isinstance(contract.evaluation, ScoredEvaluation)
    assert contract.evaluation.groups == ("sex_male",) and contract.evaluation.shape == (2, 2, 8)
    assert contract.evaluation.edges[0] == pytest.approx(0.00669285) and contract.evaluation.edges[3] == 0.5
    usual = build_contract(parse_draft(widened("{}")), silos).evaluation
    assert isinstance(usual, ScoredEvaluation) and usual.edges == tuple(round(0.05 * k, 9) for k in range(1, 20))
    words = "\n".join(text for section in in_words(contract, study_id(contract)) for _, text in section.lines)
    assert "32 noised, sealed counts a silo" in words and "told apart by sex_male" in words


def test_scores_of_too_few_held_out_rows_are_refused_with_the_remedy(world: World) -> None:
    with pytest.raises(DraftRefused, match=r"about 252 rows are held out.*needs 1000.*leave scores out"):
        build_contract(parse_draft(scores("{}")), published(world))


@pytest.mark.parametrize("text", ["{bins: 7}", "{bins: 2}", "{bins: 102}", "{scale: linear}", "{edges: [0.5]}"])
def test_a_histogram_that_cannot_be_drafted_is_refused(text: str) -> None:
    with pytest.raises(DraftRefused, match="evaluation"):
        parse_draft(scores(text))
