"""The profile of a dataset's page: what was kept at the registration, whatever the source holds by now."""

import json
from types import SimpleNamespace

import pytest

from silo_node.console.dataset_view import ColumnView, dataset_view
from silo_node.console.profile_view import profile_view
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.dataset.schema import Schema

SCHEMA = {
    "format": "consortia-schema/1",
    "title": "Stays",
    "subject": "pid",
    "target": "ill",
    "sensitivity": "special-category",
    "columns": [
        {"name": "age", "kind": "number", "minimum": 0, "maximum": 100, "missing": 50},
        {"name": "ward", "kind": "category", "categories": ["Surgery", "Intensive care"], "missing": "Surgery"},
        {"name": "ill", "kind": "binary"},
    ],
}
ROWS = "pid,age,ward,ill\na,40,Surgery,0\nb,140,Intensive care,1\nc,,,0\nd,60,Surgery,1\n"


@pytest.fixture
def catalogue(tmp_path):
    source = tmp_path / "stays.csv"
    source.write_text(ROWS)
    made = Catalogue(tmp_path / "datasets")
    asked = register("stays", source, Schema.model_validate_json(json.dumps(SCHEMA)), "patients", 6.0, 1e-3, 4, 100)
    made.add(asked, made.check, "2026-11-24T10:00:00Z")
    source.unlink()
    return made


def test_a_category_is_shown_with_the_names_that_drafts_and_limits_use():
    age, ward, _ = map(ColumnView.of, Schema.model_validate_json(json.dumps(SCHEMA)).columns)
    assert (age.names, ward.names, ward.more) == ((), ("ward_surgery", "ward_intensive_care"), 0)


def test_mock_rows_stand_under_the_names_that_were_published(catalogue):
    silo = SimpleNamespace(catalogue=catalogue, name="alpha", identity=SimpleNamespace(party="silo:alpha"))
    desk = SimpleNamespace(silo=silo, studies=lambda: SimpleNamespace(datasets={}))
    view = dataset_view(desk, "stays")
    assert view.mock_columns == ("age", "ward_surgery", "ward_intensive_care", "ill")
    assert {len(row) for row in view.mock} == {4}


def test_gaps_clamped_values_quantiles_and_categories_are_shown_without_the_source(catalogue):
    view = profile_view(catalogue, catalogue.get("stays"))
    age, ill = view.numbers
    assert (view.at, view.rows, view.problem) == ("2026-11-24T10:00:00Z", 4, "")
    assert (age.missing, age.clamped) == ("25.0 %", "25.0 %")
    assert age.figures == ("40", "41.5", "47.5", "55", "70", "94", "100", "62.5")
    assert ill.figures[-1] == "0.5"
    (ward,) = view.categories
    assert ward.missing == "25.0 %"
    assert ward.counts == (("Surgery", 3, "75.0 %"), ("Intensive care", 1, "25.0 %"))


@pytest.mark.parametrize(("kept", "problem"), [(None, "No profile was kept"), (b"{}", "is damaged")])
def test_a_profile_that_is_missing_or_damaged_is_told_and_not_made_up(catalogue, kept, problem):
    path = catalogue.folder / "profiles" / "stays.json"
    path.unlink() if kept is None else path.write_bytes(kept)
    view = profile_view(catalogue, catalogue.get("stays"))
    assert problem in view.problem
    assert view.numbers == view.categories == ()
