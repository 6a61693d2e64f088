"""What an owner reads of a model: its kind, its size, how much of it is trained, and from where the rest comes."""

from typing import Any

import pytest

from pages.contract import in_words
from pages.model import columns_in_words, model_in_words, names_in_words
from protocol.clauses import Column
from protocol.study import study_id
from tests.sample_models import FROZEN, MODELS, contract_named


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logistic", "logistic regression; 6 parameters, all of them trained"),
        ("mlp", "neural network with hidden layers of 5, 4; 59 parameters, all of them trained"),
        (
            "cnn",
            "convolutional network (CNN) over scan, 6 by 6 pixels, with blocks of 4, 8 channels and hidden layers of 5"
            "; 485 parameters, all of them trained",
        ),
        (
            "embedding",
            "neural network over embeddings of site, one of 3 (sex_f, sex_m, sex_x) and hidden layers of 6; "
            "76 parameters, all of them trained",
        ),
    ],
)
def test_a_family_is_named_with_its_size(name: str, words: str) -> None:
    assert model_in_words(contract_named(name)) == words


def test_of_a_frozen_model_it_says_how_much_is_trained_and_which_file_the_rest_is_from() -> None:
    study = contract_named("frozen")
    assert model_in_words(study) == (
        "one trained linear layer behind a frozen graph of 4 nodes (1 layer_norm, 2 linear, 1 relu); 55 parameters, of "
        f"which 7 are trained; the frozen values are in the contract: {FROZEN['weights']['size']:,} bytes with SHA-256 "
        f"{FROZEN['weights']['digest']}"
    )


def test_the_pixels_of_an_image_are_one_phrase_and_every_other_column_is_named() -> None:
    lines = dict(in_words(contract_named("cnn"), study_id(contract_named("cnn")))[1].lines)
    assert lines["Reads"] == "age (0 to 100); scan (image of 36 values); chol (0 to 100)"
    assert (
        names_in_words(["age", *(f"scan_red_y0_x{x}" for x in range(5)), "chol"]) == "age, 5 values of image scan, chol"
    )


def test_no_column_hides_behind_a_pixel_s_name() -> None:
    def column(name: str, **changes: Any) -> Column:
        return Column.model_validate({"name": name, "kind": "number", "minimum": 0.0, "maximum": 1.0} | changes)

    few = [column("income_y0_x0"), column("hiv_y0_x0")]
    assert columns_in_words(few) == "income_y0_x0 (0 to 1); hiv_y0_x0 (0 to 1)"
    ranged = [column(f"income_y0_x{x}", maximum=90_000.0) for x in range(5)]
    assert columns_in_words(ranged).count("income_y0") == 5


@pytest.mark.parametrize("name", MODELS)
def test_every_family_has_words_of_one_line(name: str) -> None:
    study = contract_named(name)
    assert all("\n" not in text and text for section in in_words(study, study_id(study)) for _, text in section.lines)
