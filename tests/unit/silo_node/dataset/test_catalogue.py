"""A dataset is registered wholly and for good, or not at all; and opened only as it was registered."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol.clauses import Column
from protocol.training_study import DataRequirement
from silo_node.dataset import create_once
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Checked, Dataset, Registration, register
from silo_node.dataset.schema import Schema, parse_schema
from silo_node.errors import DatasetRefused

NOW = "2026-11-22T03:29:00Z"
WITHOUT_IDS = """\
format: consortia-schema/1
title: T
sensitivity: personal
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 0, maximum: 300}
  - {name: pressure, kind: number, unit: mm Hg, minimum: 0, maximum: 300}
  - {name: ill, kind: binary}
"""


def add(catalogue: Catalogue, registration: Registration) -> Dataset:
    return catalogue.add(registration, catalogue.check, NOW)


def changed(registration: Registration, **fields: object) -> Registration:
    return Registration.model_validate(dict(registration) | fields)


def files(catalogue: Catalogue) -> list[str]:
    return (
        sorted(path.name for path in catalogue.folder.iterdir() if path.is_file()) if catalogue.folder.exists() else []
    )


def test_what_was_registered_is_found_again(catalogue: Catalogue, registration: Registration) -> None:
    dataset = add(catalogue, registration)
    again = Catalogue(catalogue.folder)
    assert again.get("clinic") == dataset
    assert again.list() == (dataset,)
    assert (dataset.unit, dataset.published_rows, dataset.added_at) == ("subject", 4, NOW)
    assert dataset.declared == registration.declared


def test_a_catalogue_that_was_never_used_is_empty(catalogue: Catalogue) -> None:
    assert catalogue.list() == ()
    with pytest.raises(DatasetRefused, match="no dataset clinic is registered"):
        catalogue.get("clinic")


def test_only_the_silos_user_may_read_registrations_and_keys(catalogue: Catalogue, registration: Registration) -> None:
    add(catalogue, registration)
    for path in (catalogue.folder, catalogue.folder / "keys"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    private = [*catalogue.folder.glob("*.json"), *(catalogue.folder / "keys").iterdir()]
    assert len(private) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_a_folder_or_registration_that_others_may_read_is_refused(
    catalogue: Catalogue, registration: Registration
) -> None:
    add(catalogue, registration)
    path = catalogue.folder / "clinic.json"
    path.chmod(0o644)
    with pytest.raises(DatasetRefused, match="chmod 600"):
        catalogue.get("clinic")
    path.chmod(0o600)
    catalogue.folder.chmod(0o755)
    with pytest.raises(DatasetRefused, match="chmod 700"):
        add(catalogue, changed(registration, name="clinic-two"))


@pytest.mark.parametrize(
    "name", ["../clinic", "..", "a/b", "Clinic", "c", "", "clinic\n", "clinic.json", "/etc/passwd", "a" * 33]
)
def test_a_name_that_could_leave_the_folder_is_refused(
    name: str, catalogue: Catalogue, schema: Schema, source: Path, requirement: DataRequirement
) -> None:
    with pytest.raises(DatasetRefused, match="name"):
        register(name, source, schema, "patients", 5.0, 1e-3, 4, 4)
    with pytest.raises(DatasetRefused, match="name"):
        catalogue.get(name)
    with pytest.raises(DatasetRefused, match="name"):
        catalogue.open(name, requirement, 0.34, "subject")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", -1.0),
        ("epsilon", float("nan")),
        ("delta", 1.0),
        ("order", 1),
        ("published_rows", 0),
        ("domain", "../x"),
    ],
)
def test_terms_out_of_bounds_are_refused_naming_the_field(
    field: str, value: object, schema: Schema, source: Path
) -> None:
    terms = {"domain": "patients", "epsilon": 5.0, "delta": 1e-3, "order": 4, "published_rows": 4} | {field: value}
    with pytest.raises(DatasetRefused, match=field):
        register("clinic", source, schema, **terms)  # type: ignore[arg-type]


def test_a_registration_is_final(catalogue: Catalogue, registration: Registration) -> None:
    first = add(catalogue, registration)
    with pytest.raises(DatasetRefused, match="registered already"):
        add(catalogue, changed(registration, published_rows=9))
    assert catalogue.get("clinic") == first


def test_of_two_that_race_for_a_name_one_wins(catalogue: Catalogue, registration: Registration) -> None:
    def check_while_another_registers(asked: Registration) -> Checked:
        add(catalogue, registration)
        return catalogue.check(asked)

    with pytest.raises(DatasetRefused, match="registered already"):
        catalogue.add(changed(registration, published_rows=9), check_while_another_registers, NOW)
    assert catalogue.get("clinic").published_rows == 4
    assert files(catalogue) == ["clinic.json"]


def test_the_terms_of_a_privacy_domain_are_set_for_good(catalogue: Catalogue, registration: Registration) -> None:
    add(catalogue, registration)
    with pytest.raises(DatasetRefused, match=r"epsilon 5\.0, delta 0\.001 and order 4 for good"):
        add(catalogue, changed(registration, name="clinic-two", epsilon=50.0))
    assert add(catalogue, changed(registration, name="clinic-two")).domain == "patients"


def test_nothing_is_registered_when_the_source_is_refused(
    catalogue: Catalogue, registration: Registration, source: Path
) -> None:
    source.write_text("patient,age,pressure,smoker,ill\np,old,1,0,1\n")
    with pytest.raises(DatasetRefused, match="column age has a text"):
        add(catalogue, registration)
    assert files(catalogue) == []
    source.unlink()
    with pytest.raises(DatasetRefused, match="is not a file"):
        add(catalogue, registration)
    assert catalogue.list() == ()


@pytest.mark.parametrize("call", ["fsync", "link", "write"])
def test_a_full_disk_leaves_nothing_half_done(
    call: str, catalogue: Catalogue, registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_then_fill_the_disk(asked: Registration) -> Checked:
        checked = catalogue.check(asked)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        if call == "write":
            monkeypatch.setattr(create_once, "write_private", full)
        else:
            monkeypatch.setattr(os, call, full)
        return checked

    with pytest.raises(DatasetRefused, match="cannot be recorded: No space left on device"):
        catalogue.add(registration, check_then_fill_the_disk, NOW)
    monkeypatch.undo()
    assert files(catalogue) == []
    assert catalogue.list() == ()
    assert add(catalogue, registration).name == "clinic"


def test_a_draft_that_a_crash_left_behind_is_no_dataset(catalogue: Catalogue, registration: Registration) -> None:
    dataset = add(catalogue, registration)
    for name in (".ward.json.0123", ".ward.json.0123.part"):
        (catalogue.folder / name).write_bytes(b'{"half')
    assert catalogue.list() == (dataset,)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"name":"clinic"', b"\x00\xff", b'{ "name": "clinic" }'])
def test_a_damaged_registration_is_refused(content: bytes, catalogue: Catalogue, registration: Registration) -> None:
    add(catalogue, registration)
    (catalogue.folder / "clinic.json").write_bytes(content)
    with pytest.raises(DatasetRefused, match=r"clinic\.json is damaged"):
        catalogue.get("clinic")


def test_a_registration_under_another_name_is_refused(catalogue: Catalogue, registration: Registration) -> None:
    add(catalogue, registration)
    (catalogue.folder / "clinic.json").rename(catalogue.folder / "ward.json")
    with pytest.raises(DatasetRefused, match="names another dataset, clinic"):
        catalogue.get("ward")


def test_rows_come_clamped_in_the_contracts_order(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement
) -> None:
    add(catalogue, registration)
    rows = catalogue.open("clinic", requirement, 0.34, "subject")
    assert rows.features.tolist() == [[145.5, 63.0], [200.0, 18.0], [120.0, 70.0], [130.0, 41.0]]
    assert rows.target.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert (rows.features.dtype, rows.target.dtype, rows.is_training.dtype) == (np.float64, np.float64, np.bool_)
    assert not (rows.features.flags.writeable or rows.target.flags.writeable or rows.is_training.flags.writeable)
    assert repr(rows) == "<Rows redacted>"


def test_a_row_keeps_its_side_in_another_version_of_the_data(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement, source: Path
) -> None:
    add(catalogue, registration)
    before = catalogue.open("clinic", requirement, 0.5, "subject").is_training
    header, *lines = source.read_text().splitlines()
    newer = source.with_name("newer.csv")
    newer.write_text("\n".join([header, "w,p-0,1,50,0,100", *reversed(lines)]) + "\n")
    add(catalogue, changed(registration, name="clinic-two", source=str(newer)))
    after = catalogue.open("clinic-two", requirement, 0.5, "subject").is_training
    assert after[1:].tolist() == before[::-1].tolist()


def test_a_source_that_changed_is_refused(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement, source: Path
) -> None:
    add(catalogue, registration)
    source.write_text(source.read_text().replace("63", "64"))
    with pytest.raises(DatasetRefused, match="its source is not what was registered"):
        catalogue.open("clinic", requirement, 0.34, "subject")


def test_a_contract_that_is_not_covered_is_refused_before_the_source_is_read(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement, source: Path
) -> None:
    add(catalogue, registration)
    source.unlink()
    wanted = Column(name="weight", kind="number", minimum=0.0, maximum=1.0)
    asked = DataRequirement(dataset="clinic", features=(wanted,), target=requirement.target)
    with pytest.raises(DatasetRefused, match="does not cover the contract: column weight is not declared"):
        catalogue.open("clinic", asked, 0.34, "subject")


def test_a_subject_with_two_rows_is_refused_where_subjects_are_protected(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement, source: Path
) -> None:
    source.write_text(source.read_text() + "w,p-1,0,64,0,150\n")
    with pytest.raises(DatasetRefused, match="column patient names in row 5 a subject that has a row above"):
        add(catalogue, registration)
    assert files(catalogue) == []
    add(catalogue, changed(registration, unit="record"))
    catalogue.open("clinic", requirement, 0.34, "record")
    with pytest.raises(DatasetRefused, match="at most one row a subject"):
        catalogue.open("clinic", requirement, 0.34, "subject")


def test_unit_subject_needs_a_subject_column(catalogue: Catalogue, source: Path, schema: Schema) -> None:
    nameless = schema.model_copy(update={"subject": None})
    assert register("clinic", source, nameless, "patients", 5.0, 1e-3, 4, 4).unit == "record"
    with pytest.raises(DatasetRefused, match="needs a column that names the subject"):
        add(catalogue, register("clinic", source, nameless, "patients", 5.0, 1e-3, 4, 4, unit="subject"))


def test_a_lost_split_key_is_never_made_anew(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement
) -> None:
    add(catalogue, registration)
    (catalogue.folder / "keys" / "split-patients.key").unlink()
    with pytest.raises(DatasetRefused, match="restore it from a backup"):
        catalogue.open("clinic", requirement, 0.34, "subject")
    with pytest.raises(DatasetRefused, match="restore it from a backup"):
        add(catalogue, changed(registration, name="clinic-two"))
    assert not (catalogue.folder / "keys" / "split-patients.key").exists()


def test_keys_are_made_once_and_are_whole(catalogue: Catalogue) -> None:
    catalogue.keys.make("patients")
    first = catalogue.keys.split("patients"), catalogue.keys.fingerprint()
    catalogue.keys.make("patients")
    assert (catalogue.keys.split("patients"), catalogue.keys.fingerprint()) == first
    assert len({*first}) == 2
    assert {len(key) for key in first} == {32}
    path = catalogue.folder / "keys" / "fingerprint.key"
    path.write_bytes(b"short")
    with pytest.raises(DatasetRefused, match="has 5 bytes, not 32"):
        catalogue.keys.fingerprint()
    path.chmod(0o640)
    with pytest.raises(DatasetRefused, match="chmod 600"):
        catalogue.keys.fingerprint()


def test_a_schema_without_ids_splits_by_content(
    catalogue: Catalogue, source: Path, requirement: DataRequirement
) -> None:
    schema = parse_schema(WITHOUT_IDS, "s")
    add(catalogue, register("clinic", source, schema, "patients", 5.0, 1e-3, 4, 4))
    header, *lines = source.read_text().splitlines()
    sorted_copy = source.with_name("sorted.csv")
    sorted_copy.write_text("\n".join([header, *reversed(lines)]) + "\n")
    add(catalogue, register("copy", sorted_copy, schema, "patients", 5.0, 1e-3, 4, 4))
    one = catalogue.open("clinic", requirement, 0.5, "record").is_training
    other = catalogue.open("copy", requirement, 0.5, "record").is_training
    assert one.tolist() == other[::-1].tolist()


def test_listing_datasets_loads_neither_polars_nor_torch(catalogue: Catalogue, registration: Registration) -> None:
    add(catalogue, registration)
    program = (
        "import sys; from pathlib import Path; from silo_node.dataset.catalogue import Catalogue; "
        f"assert len(Catalogue(Path({str(catalogue.folder)!r})).list()) == 1; "
        "print(sorted({'polars', 'torch'} & set(sys.modules)))"
    )
    root = Path(create_once.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
