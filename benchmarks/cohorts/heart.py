"""Heart disease at four hospitals (UCI, 1989) on the split that published figures use."""

from collections.abc import Mapping
from typing import Final

from benchmarks.cohorts.cohort import Cohort, Recipe, split_at
from benchmarks.study_contract import study_contract
from compose.heart import FEATURES, SCHEMA, TARGET, hospital_tables, reference_split
from protocol.training_study import TrainingContract
from silo_node.dataset.schema import parse_schema

_COLUMNS: Final = {
    column.name: column.model_dump(exclude={"category"}) for column in parse_schema(SCHEMA, "compose.heart").expanded
}

# All values were chosen on 20 random splits, the reference one not among them.
RECIPE: Final = Recipe(
    title="Heart disease across four hospitals",
    dataset="heart",
    legal_basis="Published research data, CC BY 4.0.",
    features=tuple(_COLUMNS[name] for name in FEATURES),
    target=_COLUMNS[TARGET],
    normalised=("age", "trestbps", "chol", "thalach", "oldpeak"),
    delta=1e-3,
    test_share=0.34,
    shares={"normalisation": 0.10, "training": 0.75, "evaluation": 0.15},
    rounds=15,
    local_steps=5,
    learning_rate=0.3,
    clip=1.0,
    normalisation_clip=1.5,
    averaged_rounds=5,
)


def heart() -> Cohort:
    """Four hospitals of 303, 261, 46 and 130 patients."""
    tables = hospital_tables()
    return Cohort(
        RECIPE,
        {silo: split_at(one.features, one.target, *reference_split(one.target)) for silo, one in tables.items()},
    )


def heart_contract(epsilon: float, published: Mapping[str, int], hidden: tuple[int, ...] = ()) -> TrainingContract:
    """The heart study at this epsilon for these published row counts; see ``study_contract``."""
    return study_contract(RECIPE, epsilon, published, hidden)
