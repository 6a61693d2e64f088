"""Silos that cheat, alone or with the hub: what a key of the study opens, what absurd updates do, an old snapshot."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hub.store.blobs import upload_name
from protocol.round_statements import SharesRevealed, SumVerified, SurvivorsSigned, UploadComplete
from protocol.rounds import round_layout
from protocol.sealing import bfv, wire
from protocol.sealing.parameters import PLAIN_MODULUS
from silo_node.agent.progress import Progress
from silo_node.errors import JournalDamaged
from tests.federation.rig.cheating_reveals import record_of, secret_of
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.sample_study import SILOS

pytestmark = pytest.mark.slow

BINS = 16
CHI_SQUARE = 60.0
"""With 15 degrees of freedom a uniform sample exceeds it once in three million."""


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("insiders")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Iterator[Group]:
    yield founded.honest()
    for node in founded.nodes.values():
        node.runner.make = None


UPDATES = {
    "nothing but zeros": lambda index, values: np.zeros(values),
    "the largest values": lambda index, values: np.full(values, 2.0),
    "one value repeated": lambda index, values: np.full(values, 0.25),
}


@pytest.fixture(scope="module")
def long(founded: Group) -> str:
    """A study with a round of training for each update that an insider looks at."""
    return founded.study(rounds=len(UPDATES))


@pytest.mark.parametrize("update", UPDATES)
def test_an_insider_opens_what_the_hub_holds_of_a_silo_and_sees_uniform_values(
    group: Group, long: str, update: str
) -> None:
    group.nodes["alpha"].runner.make = UPDATES[update]
    index = group.open_round(long)
    group.run_to(lambda: "alpha" in group.who(UploadComplete, long, index))
    cipher = bfv.Cipher(secret_of(group.nodes["bravo"], long).bfv_key)
    layout = round_layout(record_of(group.nodes["bravo"], long).contract, index, len(SILOS))
    chunk = group.hub.services.rounds.blobs.read(upload_name(long, index, 1, "alpha", 0))
    records, first = wire.parse(chunk, layout.ciphertexts_in(0), seeds=1)
    slots = np.stack([cipher.decrypt(row, [bytes(one["seeds"][0])]) for row, one in zip(first, records, strict=True)])
    counts, _ = np.histogram(slots, bins=BINS, range=(0, PLAIN_MODULUS))
    expected = slots.size / BINS
    assert float(((counts - expected) ** 2 / expected).sum()) < CHI_SQUARE
    group.go_past(long, index)


@pytest.mark.parametrize("size", [1e30, 1e-30], ids=["huge", "tiny"])
def test_a_silo_with_absurd_values_moves_nobodys_scale_by_more_than_two(group: Group, size: float) -> None:
    group.nodes["delta"].runner.make = lambda index, values: np.full(values, size)
    study = group.study(rounds=2)
    group.run_to(lambda: all(node.state(study, TRAINING) is not None for node in group.nodes.values()))
    (state,) = {node.state(study, TRAINING) for node in group.nodes.values()}
    before = record_of(group.nodes["alpha"], study).contract.sealing.training_exponent
    progress = Progress.from_bytes(state)
    assert all(abs(exponent - before) <= 2 for exponent in progress.state.exponents)
    # The others' values were below 0.5, delta's share of the mean is at most 2^e: nothing of 1e30 got through.
    assert float(np.abs(progress.state.parameters).max()) < 4 * 2.0**before + 1
    group.completed(study)


def test_a_snapshot_from_before_a_silo_signed_halts_when_it_is_put_back(group: Group, tmp_path: Path) -> None:
    """It would sign, and reveal shares, for the second time, having forgotten the first."""
    delta, old, newest = group.nodes["delta"], tmp_path / "old", tmp_path / "newest"
    study = group.study()
    group.run_to(lambda: "delta" in group.who(UploadComplete, study, TRAINING))
    delta.backup(old)
    group.run_to(lambda: "delta" in group.who(SurvivorsSigned, study, TRAINING))
    delta.backup(newest)
    delta.restore(old)
    delta.open()
    group.run_to(lambda: delta.ended is not None, "delta")
    assert isinstance(delta.ended, JournalDamaged)
    assert "(survivors-signed) is signed by this silo, and this silo does not remember it" in str(delta.ended)
    signed = group.words(SurvivorsSigned, study, TRAINING)
    group.run_to(lambda: len(group.who(SumVerified, study, TRAINING)) == 3)
    assert [said for said in signed if said.issuer == "silo:delta"] == [
        said for said in group.words(SurvivorsSigned, study, TRAINING) if said.issuer == "silo:delta"
    ]
    assert "delta" not in group.who(SharesRevealed, study, TRAINING)
    delta.restore(newest)
    delta.open()
    group.completed(study)
    shutil.rmtree(old)
