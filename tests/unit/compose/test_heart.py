"""The heart records are the reference's: its counts, its columns, its split."""

import csv
from pathlib import Path

import numpy as np
import pytest

from compose import heart
from silo_node.dataset.schema import read_schema
from tests.whole_tables import read


def test_the_four_hospitals_have_the_reference_counts() -> None:
    tables = heart.hospital_tables()
    assert {silo: len(table.target) for silo, table in tables.items()} == {
        "cleveland": 303,
        "hungarian": 261,
        "switzerland": 46,
        "va-long-beach": 130,
    }
    assert {silo: int(table.target.sum()) for silo, table in tables.items()} == {
        "cleveland": 139,
        "hungarian": 98,
        "switzerland": 45,
        "va-long-beach": 101,
    }


def test_record_304_is_hungarian() -> None:
    tables = heart.hospital_tables()
    assert 304 in tables["hungarian"].patients
    assert 304 not in tables["cleveland"].patients


def test_no_patient_stands_in_two_hospitals() -> None:
    patients = np.concatenate([table.patients for table in heart.hospital_tables().values()])
    assert len(np.unique(patients)) == len(patients) == 740


def test_the_first_cleveland_patient_is_prepared_as_uci_records_him() -> None:
    table = heart.hospital_tables()["cleveland"]
    # UCI processed.cleveland.data, line 1: 63,1,1,145,233,1,2,150,0,2.3,3,0,6,0 (typical angina, LVH).
    assert table.patients[0] == 1
    assert dict(zip(heart.FEATURES, table.features[0], strict=True)) == {
        "age": 63,
        "sex_male": 1,
        "cp_atypical_angina": 0,
        "cp_non_anginal": 0,
        "cp_asymptomatic": 0,
        "trestbps": 145,
        "chol": 233,
        "fbs_over_120": 1,
        "restecg_st_t_abnormality": 0,
        "restecg_lv_hypertrophy": 1,
        "thalach": 150,
        "exang": 0,
        "oldpeak": 2.3,
    }
    assert table.target[0] == 0


@pytest.mark.parametrize(
    ("silo", "training", "held_out"),
    [("cleveland", 199, 104), ("hungarian", 172, 89), ("switzerland", 30, 16), ("va-long-beach", 85, 45)],
)
def test_the_reference_split_has_the_published_sizes(silo: str, training: int, held_out: int) -> None:
    target = heart.hospital_tables()[silo].target
    first, second = heart.reference_split(target)
    assert (len(first), len(second)) == (training, held_out)
    assert sorted([*first, *second]) == list(range(len(target)))


def test_the_reference_split_keeps_the_classes_shares_where_it_can() -> None:
    target = heart.hospital_tables()["cleveland"].target
    first, second = heart.reference_split(target)
    assert abs(target[first].mean() - target[second].mean()) < 0.01


def test_the_schema_declares_every_feature_and_the_files_load_by_it(tmp_path: Path) -> None:
    paths = heart.write_hospitals(tmp_path / "heart")
    schema = read_schema(heart.schema_path(tmp_path / "heart"))
    assert schema.subject == heart.SUBJECT
    assert tuple(column.name for column in schema.columns) == (*heart.FEATURES, heart.TARGET)
    for silo, table in heart.hospital_tables().items():
        loaded = read(paths[silo], schema)
        low = np.array([schema.column(name).minimum for name in heart.FEATURES])
        high = np.array([schema.column(name).maximum for name in heart.FEATURES])
        assert np.array_equal(loaded.values[:, loaded.places(heart.FEATURES)], np.clip(table.features, low, high))
        assert np.array_equal(loaded.values[:, loaded.places((heart.TARGET,))[0]], table.target)


def test_the_attribution_travels_with_the_files(tmp_path: Path) -> None:
    heart.write_hospitals(tmp_path)
    text = (tmp_path / "ATTRIBUTION.txt").read_text()
    for word in ("Janosi", "Steinbrunn", "Pfisterer", "Detrano", "UCI Machine Learning Repository", "CC BY 4.0"):
        assert word in text
    with (tmp_path / "cleveland.csv").open() as file:
        assert next(csv.reader(file))[0] == "patient"
