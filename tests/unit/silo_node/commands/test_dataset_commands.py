"""``consortia-silo dataset profile`` and ``renew`` as their user types them; rows are read in the box."""

import json
from pathlib import Path

from silo_node.dataset.catalogue import Catalogue
from tests.unit.silo_node.commands.conftest import ROWS, Told, decisions


def dataset(silo: Path, *words: object) -> Told:
    return Told("dataset", *words, "--folder", silo)


def row_of(column: str, said: Told) -> list[str]:
    return next(line.split() for line in said.text.splitlines() if line.split()[:1] == [column])


def test_a_profile_tells_the_owner_alone_in_80_columns_and_leaves_out_who_opted_out(joined: Path) -> None:
    Told("subject", "withdraw", "p-1", "--folder", joined)
    said = dataset(joined, "profile", "clinic")
    assert said.status == 0 and said.fits
    assert "3 rows; 1 more are left out, of people who opted out" in said.line
    assert "not what was registered" not in said.line
    assert row_of("age", said)[:4] == ["age", "0.0%", "25.0%", "50"]


def test_a_source_that_changed_is_told_with_its_drift_and_what_to_do_and_renewed_on_the_record(joined: Path) -> None:
    source, catalogue = joined.parent / "clinic.csv", Catalogue(joined / "datasets")
    before = catalogue.get("clinic")
    source.write_text(ROWS.replace("30", "90").replace("50", "91"))
    said = dataset(joined, "profile", "clinic")
    assert said.status == 0 and said.fits
    assert "It is not what was registered: no study reads it." in said.line
    assert "consortia-silo dataset renew clinic" in said.line
    assert row_of("age", said)[-1] == "changed"

    renewed = dataset(joined, "renew", "clinic")
    assert renewed.status == 0 and renewed.fits
    assert "Renewed clinic: same terms, domain and 4 published rows." in renewed.line
    after = catalogue.get("clinic")
    assert after.commitment != before.commitment
    assert (after.published_rows, after.domain, after.added_at) == (4, "patients", before.added_at)
    assert decisions(joined) == [f"owner: renew dataset clinic, commitment {after.commitment}"]
    told = json.loads(dataset(joined, "profile", "clinic", "--json").text)
    assert (told["unchanged"], told["rows"]) == (True, 4)


def test_what_is_not_registered_or_cannot_be_read_is_refused_and_nothing_is_renewed(joined: Path) -> None:
    for command in ("profile", "renew"):
        said = dataset(joined, command, "heart")
        assert (said.status, said.text) == (1, "")
        assert said.refusal.startswith("no dataset heart is registered")
    before = Catalogue(joined / "datasets").get("clinic")
    (joined.parent / "clinic.csv").write_text("patient,age,ill\np-1,old,0\n")
    for command in ("profile", "renew"):
        said = dataset(joined, command, "clinic")
        assert said.status == 1
        assert "age" in said.refusal and "p-1" not in said.refusal and "old" not in said.refusal.split()
    assert Catalogue(joined / "datasets").get("clinic") == before
    assert decisions(joined) == []


def test_neither_profile_nor_renewal_reads_by_an_old_list_of_opt_outs(joined: Path) -> None:
    path = Catalogue(joined / "datasets").opt_outs.file_of("patients")
    empty = path.read_bytes()
    Told("subject", "withdraw", "p-1", "--folder", joined)
    path.write_bytes(empty)
    for command in ("profile", "renew"):
        said = dataset(joined, command, "clinic")
        assert said.status == 1
        assert "1 people there, 0 on the list. It was restored from an old backup" in said.refusal
