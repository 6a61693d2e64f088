"""Go's sumdb/note and sumdb/tlog read a running hub's log: they share no line of code with ours."""

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from protocol import routes
from protocol.cosignature import cosign
from protocol.routes import Follow
from protocol.signed_note import VerifierKey, split_note
from protocol.translog import Checkpoint, LogEntry
from protocol.witnesses import silo_witness
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.contract import dataset_fields
from tests.unit.hub.rig.party import check
from tests.unit.hub.rig.process import HubProcess

SOURCE = Path(__file__).parent / "go" / "transparency.go"
SYSTEM_PACKAGES = Path("/usr/share/gocode")
"""Where Debian puts Go's libraries; nothing is fetched."""
LEAVES = 300
"""More than one full tile of each level but the last."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    assert go is not None and (SYSTEM_PACKAGES / "src/golang.org/x/mod").is_dir(), (
        "Go and golang.org/x/mod are missing; run: make packages"
    )
    folder = tmp_path_factory.mktemp("go")
    given = {"GO111MODULE": "off", "GOPATH": str(SYSTEM_PACKAGES), "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
    built = folder / "transparency"
    subprocess.run([go, "build", "-o", built, SOURCE], env={**os.environ, **given}, check=True, cwd=folder)
    return built


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("hub") / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def asked(hub: HubProcess) -> dict[str, Any]:
    """What the hub serves of a log of some hundred leaves, the first checkpoint of which a quorum cosigned."""
    consortium = Consortium(hub.url, hub.card)
    consortium.gather()
    silo, origin = consortium.silos[0], hub.card["log_origin"]
    note = Follow.model_validate_json(silo.get(routes.POLL, after=0).content).candidate
    for one in consortium.silos[:3]:
        line = cosign(note, silo_witness(origin, one.name), one.key, int(time.time()))
        check(one.http.post(routes.LOG_COSIGNATURES, content=line.encode(), headers=one.headers))
    for _ in range(0, LEAVES, 60):
        silo.post(*(silo.signed("dataset-registered", **dataset_fields(5.0)) for _ in range(60)))
    witnessed = httpx.get(hub.url + routes.LOG_WITNESSED).text
    old, new = read(witnessed), read(silo.get(routes.LOG_CHECKPOINT).json()["checkpoint"])
    assert old.size < LEAVES < new.size
    lines = consortium.officer.get(routes.LOG_EXPORT).text.splitlines()[1:]
    leaves = [LogEntry.model_validate(json.loads(line)["leaf"]).leaf_hash().hex() for line in lines]
    return {
        "tiles": hub.url + routes.LOG_TILES,
        "log_key": str(VerifierKey.from_hex(origin, hub.card["log_key"])),
        "note": witnessed,
        "witnesses": [{"name": silo_witness(origin, one.name), "key": one.public} for one in consortium.silos],
        "inclusions": [
            {
                "index": index,
                "size": head.size,
                "root": head.root_hash.hex(),
                "leaf": leaves[index],
                "proof": silo.get(routes.LOG_INCLUSION, index=index, size=head.size).json(),
            }
            for head in (old, new)
            for index in sorted({0, 1, head.size // 2, head.size - 1})
        ],
        "consistencies": [
            {
                "first": old.size,
                "second": new.size,
                "first_root": old.root_hash.hex(),
                "second_root": new.root_hash.hex(),
                "proof": silo.get(routes.LOG_CONSISTENCY, first=old.size, second=new.size).json(),
            }
        ],
    }


def read(note: str) -> Checkpoint:
    return Checkpoint.parse(split_note(note)[0])


def judge(program: Path, asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    given = json.dumps(asked)
    return subprocess.run([program, "check"], input=given, capture_output=True, text=True, check=False, timeout=120)


def test_go_verifies_the_hubs_checkpoints_cosignatures_proofs_and_tiles(program: Path, asked: dict[str, Any]) -> None:
    done = judge(program, asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["witnesses"]) == sorted(one["name"] for one in asked["witnesses"][:3])
    size = asked["consistencies"][0]["second"]
    # A full tile of leaves, the partial one after it, and one of level 1.
    assert (found["size"], found["leaves"], found["tiles"]) == (size, size, 3)


@pytest.mark.parametrize("place", ["inclusions", "consistencies"])
def test_go_refuses_a_proof_with_one_bit_changed(program: Path, asked: dict[str, Any], place: str) -> None:
    forged = json.loads(json.dumps({**asked, "tiles": ""}))
    proof = forged[place][0]["proof"]
    proof[0] = f"{int(proof[0], 16) ^ 1:064x}"
    assert judge(program, forged).returncode == 1


def test_go_counts_no_cosignature_of_another_key(program: Path, asked: dict[str, Any]) -> None:
    swapped = [{**one, "key": asked["witnesses"][-1]["key"]} for one in asked["witnesses"]]
    done = judge(program, {**asked, "witnesses": swapped, "tiles": ""})
    assert json.loads(done.stdout)["witnesses"] == []


def test_tiles_are_for_ever_and_their_names_have_one_spelling(hub: HubProcess, asked: dict[str, Any]) -> None:
    size = asked["consistencies"][0]["second"]
    full = httpx.get(f"{asked['tiles']}/tile/0/000")
    assert len(full.content) == 256 * 32 and full.headers["content-type"] == "application/octet-stream"
    assert "immutable" in full.headers["cache-control"] and "max-age=31536000" in full.headers["cache-control"]
    rest = httpx.get(f"{asked['tiles']}/tile/0/001.p/{size - 256}")
    assert (rest.status_code, len(rest.content)) == (200, (size - 256) * 32)
    assert httpx.get(f"{asked['tiles']}/tile/0/000.p/3").content == full.content[:96]
    checkpoint = httpx.get(f"{asked['tiles']}/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8" and read(checkpoint.text).size == size
    assert "max-age=5" in checkpoint.headers["cache-control"]
    beyond = ["0/001", f"0/001.p/{size - 255}", "1/001", "2/000", "63/x999/x999/x999/x999/999"]
    spelled = ["0/0", "00/000", "0/x000/000", "0/000.p/03", "0/x001/000", "0/000/", "0/-01"]
    never = ["0/000.p/0", "0/000.p/256", "64/000", "x/000", "entries/000"]
    for name in beyond + spelled + never:
        assert httpx.get(f"{asked['tiles']}/tile/{name}").status_code == 404, name


def test_go_finds_a_leaf_that_was_swapped_in_the_hubs_database(
    program: Path, hub: HubProcess, asked: dict[str, Any]
) -> None:
    """Last: the log is spoiled by it."""
    database = sqlite3.connect(hub.folder / "hub.sqlite")
    database.execute("UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 0 AND position = 5")
    database.commit()
    database.close()
    done = judge(program, asked)
    assert done.returncode == 1 and "tiles" in done.stderr
