"""One suite over every store of blobs: the same promises in a folder and in a real S3 bucket."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.errors import NotFound, SetupRefused
from hub.store.blobs import BlobPlace, Blobs, bundle_name, open_blobs, sum_name, upload_name
from hub.store.s3_blobs import read_credentials
from tests.unit.hub.rig.process import ROOT
from tests.unit.hub.rig.s3 import S3Server

STUDY = "a" * 64
MIB = 1024 * 1024
LARGE_MIB = 192
"""An object of this size must fit through a process that grows by less than a third of it."""


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> BlobPlace:
    if request.param == "folder":
        return BlobPlace(f"file://{tmp_path / 'blobs'}")
    server: S3Server = request.getfixturevalue("s3")
    return server.place(f"tests/{tmp_path.name}")


@pytest.fixture
def blobs(place: BlobPlace) -> Blobs:
    return open_blobs(place)


def test_what_was_written_is_read_whole_and_in_parts(blobs: Blobs) -> None:
    content = os.urandom(9 * MIB + 1)
    assert blobs.create(upload_name(STUDY, 0, 1, "ada", 0), content)
    assert blobs.read(upload_name(STUDY, 0, 1, "ada", 0)) == content
    parts = list(blobs.stream(upload_name(STUDY, 0, 1, "ada", 0)))
    assert b"".join(parts) == content
    assert len(parts) > 1


def test_a_taken_name_keeps_its_first_content(blobs: Blobs) -> None:
    name = sum_name(STUDY, 0, 1, "b" * 64, 7)
    assert blobs.create(name, b"first")
    assert not blobs.create(name, b"first")
    assert not blobs.create(name, b"other")
    assert blobs.read(name) == b"first"


def test_of_many_writers_at_once_one_wins_and_all_read_its_content(blobs: Blobs) -> None:
    name, barrier = upload_name(STUDY, 0, 1, "ada", 3), threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        return blobs.create(name, bytes([number]) * 100_000)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert blobs.read(name) == bytes([won.index(True)]) * 100_000


def test_what_was_written_is_there_for_another_process(blobs: Blobs, place: BlobPlace) -> None:
    assert blobs.create("sums/x/0", b"content")
    assert open_blobs(place).read("sums/x/0") == b"content"


def test_missing_bytes_are_not_found(blobs: Blobs) -> None:
    for name in (upload_name(STUDY, 0, 1, "ada", 0), bundle_name(STUDY, "d" * 64)):
        with pytest.raises(NotFound):
            blobs.read(name)
        with pytest.raises(NotFound):
            blobs.stream(name)
    blobs.create("sums/x/0", b"content")
    with pytest.raises(NotFound):
        blobs.read("sums/x")
    with pytest.raises(NotFound):
        blobs.read("sums/x/0/1")


def test_deleting_takes_all_below_the_prefix_and_nothing_beside_it(blobs: Blobs) -> None:
    inside = [upload_name(STUDY, 1, attempt, silo, 0) for attempt in (1, 2) for silo in ("ada", "bern")]
    beside = [upload_name(STUDY, 10, 1, "ada", 0), upload_name("b" * 64, 1, 1, "ada", 0), sum_name(STUDY, 1, 1, "s", 0)]
    for name in (*inside, *beside):
        assert blobs.create(name, name.encode())
    for _ in range(2):
        blobs.delete_under([f"uploads/{STUDY}/1/", "uploads/nothing/"])
    for name in inside:
        with pytest.raises(NotFound):
            blobs.read(name)
    assert [blobs.read(name) for name in beside] == [name.encode() for name in beside]
    assert blobs.create(inside[0], b"anew")


def test_objects_put_while_others_are_deleted_are_kept(blobs: Blobs) -> None:
    def put(number: int) -> None:
        assert blobs.create(f"uploads/kept/{number % 3}/{number}", b"x")

    def delete(_: int) -> None:
        blobs.delete_under([f"uploads/kept/{number}/" for number in range(3, 6)])

    with ThreadPoolExecutor(6) as pool:
        doomed = [pool.submit(blobs.create, f"uploads/kept/{3 + n % 3}/{n}", b"y") for n in range(30)]
        kept = [pool.submit(put, number) for number in range(30)]
        deletions = [pool.submit(delete, number) for number in range(10)]
        assert [job.result() for job in doomed] == [True] * 30
        for job in (*kept, *deletions):
            job.result()
    assert all(blobs.read(f"uploads/kept/{number % 3}/{number}") == b"x" for number in range(30))


def test_a_bundle_stored_twice_is_the_same_bundle(blobs: Blobs, tmp_path: Path) -> None:
    content = os.urandom(20 * MIB)
    name = bundle_name(STUDY, hashlib.sha256(content).hexdigest())
    for _ in range(2):
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            blobs.store_large(name, file)
    assert b"".join(blobs.stream(name)) == content


STREAMS = """
import hashlib, resource, sys
from pathlib import Path
from hub.store.blobs import BlobPlace, open_blobs

url, endpoint, region, credentials, source = sys.argv[1:]
blobs = open_blobs(BlobPlace(url, endpoint, region, Path(credentials) if credentials else None))
blobs.create("warm", b"up")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(source, "rb") as file:
    blobs.store_large("bundles/large", file)
digest = hashlib.sha256()
for part in blobs.stream("bundles/large"):
    digest.update(part)
print(digest.hexdigest(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_bundle_goes_through_without_being_held_in_memory(place: BlobPlace, tmp_path: Path) -> None:
    source, digest = tmp_path / "source", hashlib.sha256()
    with source.open("wb") as file:
        for number in range(LARGE_MIB):
            part = bytes([number]) * MIB
            file.write(part)
            digest.update(part)
    given = (place.url, place.endpoint, place.region, str(place.credentials or ""), str(source))
    done = subprocess.run(
        [sys.executable, "-c", STREAMS, *given], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, grown_kib = done.stdout.split()
    assert found == digest.hexdigest()
    assert int(grown_kib) < LARGE_MIB * 1024 / 3


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    blobs = open_blobs(BlobPlace(f"file://{tmp_path / 'blobs'}"))
    for name in ("../x", "a/../../x", "/etc/passwd", "a//b", ".part-x", "a/.part-x", "", "a\0b"):
        with pytest.raises(ValueError, match="plain parts"):
            blobs.create(name, b"x")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "blobs"]


class Disk:
    """Remembers what was synced, in which order, and what was linked; files by the inode they keep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, int]] = []
        sync, link = os.fsync, os.link

        def fsync(handle: int) -> None:
            sync(handle)
            self.events.append(("sync", os.fstat(handle).st_ino))

        def linked(source: str, target: Path) -> None:
            self.events.append(("link", os.stat(source).st_ino))
            link(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "link", linked)


def test_a_file_is_synced_before_its_name_appears_and_every_folder_above_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, disk = open_blobs(BlobPlace(f"file://{tmp_path / 'blobs'}")), Disk(monkeypatch)
    assert blobs.create("uploads/a/b", b"content")
    inode = {path: (tmp_path / path).stat().st_ino for path in ("blobs", "blobs/uploads", "blobs/uploads/a")}
    file = (tmp_path / "blobs/uploads/a/b").stat().st_ino
    assert disk.events[:2] == [("sync", file), ("link", file)]
    assert set(disk.events[2:]) == {("sync", found) for found in inode.values()}
    disk.events.clear()
    # Who is told that it is here already may rely on it as much as who wrote it.
    assert not blobs.create("uploads/a/b", b"content")
    assert set(disk.events) == {("sync", found) for found in inode.values()}


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = open_blobs(BlobPlace(f"file://{tmp_path / 'blobs'}"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            blobs.create("uploads/a", b"content")
    assert list((tmp_path / "blobs" / "uploads").iterdir()) == []
    assert blobs.create("uploads/a", b"content")


def test_what_a_killed_writer_left_is_tidied_a_day_later(tmp_path: Path) -> None:
    blobs = open_blobs(BlobPlace(f"file://{tmp_path / 'blobs'}"))
    blobs.create("uploads/a", b"content")
    old, fresh = (tmp_path / "blobs" / "uploads" / name for name in (".part-old", ".part-fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    blobs.tidy()
    assert sorted(path.name for path in old.parent.iterdir()) == [".part-fresh", "a"]


@pytest.mark.parametrize(
    "content,mode,word",
    [
        ('access_key_id = "a"\nsecret_access_key = "hidden"\n', 0o640, "chmod"),
        ('access_key_id = "hidden"\n', 0o600, "secret_access_key"),
        ('access_key_id = "hidden"\nsecret_access_key = "hidden"\nmore = "hidden"\n', 0o600, "nothing else"),
        ("hidden", 0o600, "TOML"),
    ],
)
def test_credentials_that_others_may_read_or_that_are_not_whole_are_refused_and_not_shown(
    tmp_path: Path, content: str, mode: int, word: str
) -> None:
    path = tmp_path / "s3.toml"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(SetupRefused, match=word) as refused:
        read_credentials(path)
    assert "hidden" not in str(refused.value)
    with pytest.raises(SetupRefused, match="names no file"):
        read_credentials(tmp_path / "none")
