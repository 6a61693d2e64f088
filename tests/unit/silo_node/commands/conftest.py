"""The folder of the silo cleveland that joined, registered heart, and has heard nothing of its hub since."""

from pathlib import Path

import pytest

from protocol.accounting import best_order
from protocol.draft import read_draft
from silo_node.app import now
from silo_node.commands.policy import use_policy
from silo_node.config import SiloConfig, save
from silo_node.dataset.catalogue import Catalogue, Checked, register
from silo_node.dataset.schema import parse_schema
from silo_node.ledger.budget import PrivacyDomain
from silo_node.ledger.sqlite import SqliteLedger

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
