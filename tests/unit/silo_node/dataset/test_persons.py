"""The tags of a real source's subjects: the same for the same ids in any domain, file and order."""

from pathlib import Path

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.persons import TAG_BYTES, in_both, unique
from silo_node.dataset.registration import Checked, register
from silo_node.dataset.schema import parse_schema

SCHEMA = """\
format: consortia-schema/1
title: T
sensitivity: personal
subject: who
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 0, maximum: 300}
  - {name: ill, kind: binary}
"""
NOW = "2026-11-22T03:29:00Z"


def add(catalogue: Catalogue, name: str, domain: str, rows: str) -> Checked:
    source = catalogue.folder.parent / f"{name}.csv"
    source.write_text("who,age,ill\n" + rows)
    schema = parse_schema(SCHEMA, "test")
    asked = register(name, source, schema, domain, 5.0, 1e-3, 4, 4, unit="record")
    found: list[Checked] = []
    catalogue.add(asked, lambda one: found.append(catalogue.check(one)) or found[0], NOW)
    return found[0]


def test_the_same_subjects_have_the_same_tags_in_every_domain_and_order(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "datasets")
    one = add(catalogue, "one", "patients", "ann,31,0\nbob,40,1\nann,32,1\n")
    other = add(catalogue, "other", "clinic", " bob ,77,0\ncarl,50,0\nann,1,1\n")
    assert (len(one.persons), len(other.persons)) == (2 * TAG_BYTES, 3 * TAG_BYTES)
    assert in_both(one.persons, other.persons) == 2
    assert catalogue.persons.load("patients", expected=True) == one.persons


def test_people_who_opted_out_stand_in_the_register_too(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "datasets")
    whole = add(catalogue, "one", "patients", "ann,31,0\nbob,40,1\ncarl,50,0\n")
    catalogue.opt_outs.add("patients", ["bob"], NOW)
    less = add(catalogue, "two", "patients", "ann,31,0\nbob,40,1\ncarl,50,0\n")
    assert (less.left_out, less.persons) == (1, whole.persons)


def test_no_id_and_no_plain_hash_of_one_is_in_a_register(tmp_path: Path) -> None:
    """Under another silo's key the same people have other tags: whoever has a register alone can't try names."""
    rows = "ann,31,0\nbob,40,1\n"
    here = add(Catalogue(tmp_path / "a" / "datasets"), "one", "patients", rows) if _made(tmp_path / "a") else None
    there = add(Catalogue(tmp_path / "b" / "datasets"), "one", "patients", rows) if _made(tmp_path / "b") else None
    assert here is not None and there is not None
    assert in_both(here.persons, there.persons) == 0


def _made(folder: Path) -> bool:
    folder.mkdir()
    return True


def test_a_register_grows_and_holds_each_person_once(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "datasets")
    one = add(catalogue, "one", "patients", "ann,31,0\nbob,40,1\n")
    two = add(catalogue, "two", "patients", "bob,31,0\ncarl,40,1\n")
    held = catalogue.persons.load("patients", expected=True)
    assert held == unique(one.persons + two.persons)
    assert len(held) == 3 * TAG_BYTES
