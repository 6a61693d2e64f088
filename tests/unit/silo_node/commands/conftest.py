"""Two silos' folders: cleveland, which has heard nothing of its hub since it joined, and alpha, which read the log."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from protocol.accounting import best_order
from protocol.draft import read_draft
from silo_node.__main__ import app
from silo_node.app import now
from silo_node.commands.policy import use_policy
from silo_node.config import SiloConfig, save
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Checked, register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import SiloError
from silo_node.journal.chain import FILE as JOURNAL
from silo_node.journal.chain import Journal
from silo_node.ledger.budget import PrivacyDomain
from silo_node.ledger.sqlite import SqliteLedger
from tests.console.owner_rig import make_owner
from tests.sample_study import Consortium, consortium

DRAFT = Path(__file__).parents[4] / "docs" / "samples" / "heart.yaml"


def schema_text(sensitivity: str = "special-category") -> str:
    """The schema of a dataset that has every column of the draft."""
    data = read_draft(DRAFT).data
    ranges = ((one, f", minimum: {one.minimum}, maximum: {one.maximum}") for one in (*data.features, data.target))
    columns = [
        f"  - {{name: {one.name}, kind: {one.kind}{bounds if one.kind == 'number' else ''}, unit: '{one.unit}'}}"
        for one, bounds in ranges
    ]
    head = f"format: consortia-schema/1\ntitle: Heart\nsensitivity: {sensitivity}\nsubject: patient\n"
    return head + f"target: {data.target.name}\ncolumns:\n" + "\n".join(columns) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    silo = tmp_path / "silo"
    silo.mkdir(mode=0o700)
    save(SiloConfig(silo="cleveland", hub_url="http://127.0.0.1:9", charter="0" * 64), silo)
    use_policy("baseline", silo, quiet=True)
    cap = (8.0, 1e-3, best_order(8.0, 1e-3))
    asked = register("heart", tmp_path / "heart.csv", parse_schema(schema_text(), "heart"), "patients", *cap, 303)
    Catalogue(silo / "datasets").add(asked, lambda _: Checked("1" * 64, 303, {}), "2026-11-01T00:00:00Z")
    ledger = SqliteLedger(silo / "ledger" / "ledger.sqlite", now)
    ledger.register(PrivacyDomain("patients", "subject", *cap))
    ledger.close()
    return silo


PEOPLE = """
format: consortia-schema/1
title: Clinic
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}
  - {name: ill, kind: binary}
"""
ROWS = "patient,age,ill\np-1,30,0\np-2,70,1\np-3,50,1\np-4,120,0\n"


@pytest.fixture(scope="session")
def group() -> Consortium:
    return consortium()


@pytest.fixture
def joined(tmp_path: Path, group: Consortium) -> Path:
    """The folder of the silo alpha, a member by the log that it read, with the dataset clinic of four people."""
    silo, source = tmp_path / "alpha", tmp_path / "clinic.csv"
    node = make_owner(silo, group, registered=False)
    node.close()
    source.write_text(ROWS)
    cap = (8.0, 1e-3, best_order(8.0, 1e-3))
    asked = register("clinic", source, parse_schema(PEOPLE, "people"), "patients", *cap, 4)
    catalogue = Catalogue(silo / "datasets")
    catalogue.add(asked, catalogue.check, "2026-11-01T00:00:00Z")
    ledger = SqliteLedger(silo / "ledger" / "ledger.sqlite", now)
    ledger.register(PrivacyDomain("patients", "subject", *cap))
    ledger.close()
    return silo


class Told:
    """What a command said: its exit status, what stood on its screen of 80 columns, and why it stopped."""

    def __init__(self, *words: object) -> None:
        done = CliRunner().invoke(app, [str(word) for word in words])
        problem = done.exception if isinstance(done.exception, SiloError) else None
        if done.exception is not None and problem is None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.status, self.text, self.refusal = done.exit_code, done.stdout, str(problem or "")

    @property
    def line(self) -> str:
        """All of it without its line breaks."""
        return " ".join(self.text.split())

    @property
    def fits(self) -> bool:
        return max(len(line) for line in self.text.splitlines()) <= 80


def decisions(silo: Path) -> list[str]:
    """What the journal of the silo in this folder holds as decided."""
    journal = Journal(silo / JOURNAL)
    found = [entry.event.what for entry in journal.entries() if entry.event.kind == "decision"]
    journal.close()
    return found
