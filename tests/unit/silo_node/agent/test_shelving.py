"""The shelf follows the catalogue and the charter while a node runs, and is nothing that a study waits for."""

import subprocess
import sys

import pytest

from silo_node.agent import shelving
from silo_node.agent.shelving import ShelfKeeper, keep_shelf, shelf_of
from silo_node.errors import DatasetRefused


def test_a_registered_dataset_comes_to_stand_on_the_shelf_for_the_charters_people(node):
    keeper, charter = ShelfKeeper(node.silo), node.hub.group.charter(4)
    keeper.look(None)
    assert shelf_of(node.silo).readers("heart") == ()
    keeper.look(charter)
    assert shelf_of(node.silo).readers("heart") == tuple(sorted(person.person for person in charter.people))


def test_the_shelf_is_looked_at_only_when_datasets_or_people_changed(node, monkeypatch):
    calls = []
    monkeypatch.setattr(shelving, "keep_shelf", lambda *given: calls.append(given))
    keeper, charter = ShelfKeeper(node.silo), node.hub.group.charter(4)
    for _ in range(3):
        keeper.look(charter)
    keeper.look(charter.model_copy(update={"people": charter.people[:1]}))
    assert len(calls) == 2


def test_a_shelf_that_cannot_be_kept_stops_no_node(node):
    (node.folder / "syft").mkdir(mode=0o755)
    (node.folder / "syft").chmod(0o755)
    with pytest.raises(DatasetRefused, match="chmod 700"):
        keep_shelf(node.silo, None)
    ShelfKeeper(node.silo).look(None)


def test_a_node_whose_shelf_is_in_order_never_loads_what_makes_one():
    code = "import sys, silo_node.agent.loop; sys.exit('syft_datasets' in sys.modules or 'IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
