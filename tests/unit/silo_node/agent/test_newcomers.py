"""A budget is never refilled: a domain beside another is for other persons, and whose ids are known is compared."""

import pytest

from protocol.membership_statements import DomainDeclared
from silo_node.agent.registering import publish_pending, register_dataset
from silo_node.agent.renewing import renew_dataset
from silo_node.dataset.persons import TAG_BYTES
from silo_node.dataset.registration import Checked, register
from silo_node.dataset.schema import Schema
from silo_node.errors import DatasetRefused
from tests.unit.silo_node.agent.conftest import SCHEMA

WHY = "patients of the clinic that opened this year"


def tags(*people):
    return b"".join(bytes([person]) * TAG_BYTES for person in sorted(people))


@pytest.fixture
def owner(node):
    """Registers and renews datasets of alpha; ``holds`` is who stands in the source of each, by name."""
    return Owner(node)


class Owner:
    def __init__(self, node):
        self.node, self.silo, self.holds = node, node.silo, {}
        node.runner.check = self.check

    def check(self, asked):
        if asked.name not in self.holds:
            raise DatasetRefused("the source is gone")
        return Checked("c" * 64, 100, {}, persons=tags(*self.holds[asked.name]) if asked.declared.subject else b"")

    def add(self, name, domain, people, why=None, subject="patient"):
        self.holds[name] = people
        schema = Schema(**SCHEMA, subject=subject) if subject else Schema(**SCHEMA)
        unit = "subject" if subject else "record"
        asked = register(name, self.node.folder / f"{name}.csv", schema, domain, 3.0, 0.001, 4, 100, unit)
        return register_dataset(self.silo, asked, why)

    def budget(self, domain):
        return domain in [one.name for one in self.silo.ledger.domains()]


def decisions(node):
    return [note.what for note in node.notes if note.what.startswith("owner: domain")]


def test_a_second_domain_without_the_owners_word_is_refused_and_nothing_is_half_done(owner):
    with pytest.raises(DatasetRefused, match="other-persons: domain clinic would be new beside patients"):
        owner.add("clinic", "clinic", [1, 2])
    assert not owner.budget("clinic")
    assert [one.name for one in owner.silo.catalogue.list()] == ["heart"]
    assert decisions(owner.node) == []


def test_the_owners_word_is_in_the_journal_and_in_the_log_with_its_reason(owner):
    owner.add("stroke", "strokes", [1, 2], WHY)
    owner.add("clinic", "clinic", [3, 4], WHY)
    publish_pending(owner.silo, set())
    publish_pending(owner.silo, set())
    said = [(body.domain, body.beside, body.reason) for body in owner.node.hub.logged(DomainDeclared)]
    assert said == [("strokes", ("patients",), WHY), ("clinic", ("patients", "strokes"), WHY)]
    assert decisions(owner.node)[1] == (
        f"owner: domain clinic is of other persons than patients, strokes: {WHY} (compared by their subject ids: "
        "strokes; not comparable: patients)"
    )


def test_persons_of_another_domain_are_refused_and_their_count_stays_with_the_owner(owner):
    owner.add("stroke", "strokes", [1, 2, 3], WHY)
    before = len(owner.node.hub.posted)
    with pytest.raises(DatasetRefused, match="at least 2 of its 3 subjects stand in domain strokes already"):
        owner.add("clinic", "clinic", [2, 3, 4], WHY)
    assert not owner.budget("clinic")
    assert len(owner.node.hub.posted) == before
    assert not any("domain clinic" in note.what or "subjects stand" in note.what for note in owner.node.notes)


def test_new_rows_of_the_same_persons_go_into_the_domain_they_have(owner):
    owner.add("stroke", "strokes", [1, 2], WHY)
    owner.add("followup", "strokes", [1, 2, 5])
    assert [one.domain for one in owner.silo.catalogue.list() if one.name == "followup"] == ["strokes"]
    with pytest.raises(DatasetRefused, match="at least 1 of its 2 subjects"):
        owner.add("clinic", "clinic", [5, 6], WHY)


def test_a_renewal_brings_nobody_of_another_domain_in(owner):
    owner.add("stroke", "strokes", [1, 2], WHY)
    owner.add("clinic", "clinic", [3, 4], WHY)
    owner.holds["clinic"] = [2, 3, 4]
    commitment = owner.silo.catalogue.get("clinic").commitment
    with pytest.raises(DatasetRefused, match="at least 1 of its 3 subjects"):
        renew_dataset(owner.silo, "clinic")
    assert owner.silo.catalogue.get("clinic").commitment == commitment


def test_who_left_the_data_stays_in_the_domain(owner):
    """Their budget was spent: taken out of the extract, they are no new persons."""
    owner.add("stroke", "strokes", [1, 2], WHY)
    owner.holds["stroke"] = [2]
    renew_dataset(owner.silo, "stroke")
    with pytest.raises(DatasetRefused, match="at least 1 of its 2 subjects"):
        owner.add("clinic", "clinic", [1, 9], WHY)


def test_a_dataset_older_than_the_registers_is_read_for_the_comparison(owner):
    owner.add("stroke", "strokes", [1, 2], WHY)
    forget_register(owner, "stroke", "strokes")
    with pytest.raises(DatasetRefused, match="at least 1 of its 2 subjects"):
        owner.add("clinic", "clinic", [2, 9], WHY)
    del owner.holds["stroke"]
    owner.add("clinic", "clinic", [2, 9], WHY)
    assert "not comparable: patients, strokes" in decisions(owner.node)[-1]


def forget_register(owner, name, domain):
    """As a version before this one left it."""
    path = owner.silo.catalogue.file_of(name)
    path.write_bytes(path.read_bytes().replace(b'"lists_persons":true', b'"lists_persons":false'))
    (owner.node.folder / "datasets" / "persons" / f"{domain}.persons").unlink()


@pytest.mark.parametrize("harm", ["gone", "cut", "edited"])
def test_a_register_that_was_damaged_is_refused_and_not_taken_for_empty(owner, harm):
    owner.add("stroke", "strokes", [1, 2], WHY)
    path = owner.node.folder / "datasets" / "persons" / "strokes.persons"
    held = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(held[TAG_BYTES:] if harm == "cut" else bytes([held[0] ^ 1]) + held[1:])
    with pytest.raises(DatasetRefused, match=r"register of persons of domain strokes.*restore it"):
        owner.add("clinic", "clinic", [8, 9], WHY)
    with pytest.raises(DatasetRefused, match="register of persons"):
        owner.add("followup", "strokes", [8, 9])


def test_no_register_tells_who_is_in_it(owner):
    owner.add("stroke", "strokes", [1, 2], WHY)
    folder = owner.node.folder / "datasets" / "persons"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "strokes.persons").stat().st_mode & 0o777 == 0o600
    assert "persons" not in repr(owner.check(owner.silo.catalogue.get("stroke")))
