"""What was released has a lifetime at the hub, in either database: no ciphertext lies there for ever."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.jobs.retention_sweeper import RetentionSweeper
from hub.services.retention import Retention
from hub.store import bundles
from hub.store import jobs as job_store
from hub.store.blobs import BlobPlace, Blobs, bundle_name, job_blob_folder, open_blobs
from hub.store.bundles import Bundle
from hub.store.database import Database
from hub.store.jobs import JobBlob

START = datetime(2026, 11, 22, tzinfo=UTC)
OUTPUTS = ("silo:ada", "1" * 64, "person:rosa")
CODE = ("person:rosa", "2" * 64, "silo:ada")
UNNAMED = ("person:rosa", "3" * 64, None)
UNNAMED_OUTPUTS = ("silo:ada", "4" * 64, None)
STUDY = "s" * 64


class Hub:
    """A hub's store with one of everything, put at ``START``, and its sweeper at any later time."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder / "blobs"
        self.blobs: Blobs = open_blobs(BlobPlace(f"file://{self.folder}"))
        self.now = START
        self.retention = Retention(database, self.blobs, lambda: self.now, 30 * 86_400)
        with database.writing() as connection:
            for owner, digest, reader in (OUTPUTS, CODE, UNNAMED, UNNAMED_OUTPUTS):
                self.blobs.store_large(job_blob_folder(owner, digest) + "sealed", io.BytesIO(b"sealed"))
                job_store.put_blob(connection, JobBlob(owner, digest, 6, int(START.timestamp()), reader))
        self.put_model("d" * 64)

    def put_model(self, digest: str) -> None:
        self.blobs.store_large(bundle_name(STUDY, digest), io.BytesIO(b"sealed"))
        with self.database.writing() as connection:
            bundles.add(connection, Bundle(STUDY, digest, 6, "ada", int(self.now.timestamp())))

    def after(self, **time: int) -> set[str]:
        """Sweeps so long after the start; the first letters of the digests of what there still is."""
        self.now = START + timedelta(**time)
        self.retention.sweep()
        with self.database.reading() as connection:
            named = {d for o, d, _ in (OUTPUTS, CODE, UNNAMED, UNNAMED_OUTPUTS) if job_store.blob_of(connection, o, d)}
            named |= {letter * 64 for letter in "de" if bundles.find(connection, STUDY, letter * 64)}
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert len(files) == len(named), "bytes and rows tell the same"
        return {digest[0] for digest in named}


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Hub:
    return Hub(database, tmp_path)


def test_outputs_and_models_stay_for_their_days_code_for_a_jobs_and_what_nobody_named_for_one(hub: Hub) -> None:
    assert hub.after(hours=24) == {"1", "2", "3", "4", "d"}
    assert hub.after(hours=24, seconds=1) == {"1", "2", "d"}
    assert hub.after(days=30) == {"1", "2", "d"}
    assert hub.after(days=30, seconds=1) == {"2"}
    assert hub.after(days=91) == {"2"}
    assert hub.after(days=91, seconds=1) == set()


def test_a_studys_models_go_together_when_the_newest_is_over_its_time(hub: Hub) -> None:
    hub.now = START + timedelta(days=20)
    hub.put_model("e" * 64)
    assert {"d", "e"} <= hub.after(days=49)
    assert not {"d", "e"} & hub.after(days=51)


def test_a_hub_that_was_killed_between_bytes_and_rows_sweeps_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    hub.now = START + timedelta(days=40)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "writing", lambda _: killed())
        with pytest.raises(KeyboardInterrupt):
            hub.retention.sweep()
    assert hub.after(days=40) == {"2"}


def test_the_sweeper_sweeps_at_its_start_and_outlives_a_store_that_fails(hub: Hub) -> None:
    hub.now = START + timedelta(days=40)
    failing = Retention(hub.database, hub.blobs, lambda: [][0], 1)
    for retention in (failing, hub.retention):
        sweeper = RetentionSweeper(retention)
        sweeper.start()
        sweeper.stop()
    with hub.database.reading() as connection:
        assert job_store.blob_of(connection, *OUTPUTS[:2]) is None
