"""Who sees a doctor in a year, at six sites of the RAND Health Insurance Experiment (1974 to 1982).

Source: the public use file as shipped by ``statsmodels`` (Manning, Newhouse, Duan, Keeler and Leibowitz, "Health
insurance and the demand for medical care", American Economic Review 77, 1987). One row a person: the first year on
record. The target is whether there was any outpatient visit.
"""

import importlib.resources
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.cohorts.cohort import Cohort, Recipe, split_by_chance

SITES: Final = {1: "dayton", 2: "seattle", 3: "fitchburg", 4: "franklin-county", 5: "charleston", 6: "georgetown"}
_TARGET: Final = "visited"
_YES_OR_NO: Final = ("idp", "female", "black", "hlthg", "hlthf", "hlthp", "child")
# Ranges are from the meaning of a column, or from the design of the experiment: nobody above 61 was enrolled, the
# income limit was 25,000 dollars of 1973, and the indices were made to run from 0.
_RANGES: Final = {
    "coins": (0.0, 100.0, "percent paid by the family"),
    "xage": (0.0, 65.0, "years"),
    "educdec": (0.0, 25.0, "years of the head's schooling"),
    "income": (0.0, 30_000.0, "dollars a year"),
    "num": (1.0, 15.0, "persons in the family"),
    "disea": (0.0, 60.0, "index of chronic diseases"),
    "physlm": (0.0, 1.0, "share of limits"),
    "mhi": (0.0, 100.0, "mental health index"),
}


def _number(name: str) -> dict[str, Any]:
    low, high, unit = _RANGES[name]
    return {"name": name, "kind": "number", "minimum": low, "maximum": high, "unit": unit}


def _binary(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "binary", "minimum": 0.0, "maximum": 1.0}


# Learning rate and clip were chosen by the pooled AUC on three random splits, the one below not among them.
RECIPE: Final = Recipe(
    title="Who sees a doctor, across six sites",
    dataset="randhie",
    legal_basis="Public use file of a published experiment.",
    features=(*map(_number, _RANGES), *map(_binary, _YES_OR_NO)),
    target=_binary(_TARGET),
    normalised=tuple(_RANGES),
    delta=1e-4,
    test_share=0.25,
    shares={"normalisation": 0.10, "training": 0.75, "evaluation": 0.15},
    rounds=15,
    local_steps=5,
    learning_rate=1.0,
    clip=2.0,
    normalisation_clip=1.5,
    averaged_rounds=5,
)


def randhie() -> Cohort:
    """Six sites of 735 to 1,232 persons, 5,908 in all: four without their family head's schooling are left out."""
    source = importlib.resources.files("statsmodels") / "datasets" / "randhie" / "src" / "randhie.csv"
    rows = pl.read_csv(source.read_bytes(), infer_schema_length=None).unique("zper", keep="first", maintain_order=True)
    names = [column["name"] for column in RECIPE.features]
    rows = rows.select("site", *names, (pl.col("mdvis") > 0).alias(_TARGET)).drop_nulls()
    silos = {}
    for number, silo in SITES.items():
        one = rows.filter(pl.col("site") == number)
        features = one.select(names).cast(pl.Float64).to_numpy()
        silos[silo] = split_by_chance(
            np.ascontiguousarray(features), one[_TARGET].cast(pl.Float64).to_numpy(), RECIPE.test_share
        )
    return Cohort(RECIPE, silos)
