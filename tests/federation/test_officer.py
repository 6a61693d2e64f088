"""The officer at a real hub: the export shows what silos cosigned and an authority dated, and is checked alone."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client.audit.dating import read_roots
from client.audit.proof import check_proof, prove
from client.audit.verify import verify_export, verify_file
from client.errors import AuditFailed
from protocol import canonical, routes
from protocol.charter import charter_digest
from protocol.cosignature import cosign
from protocol.routes import Follow
from protocol.witnesses import silo_witness
from tests.unit.hub.rig.authority import Authority
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import check
from tests.unit.hub.rig.process import HubProcess


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority(tmp_path_factory.mktemp("officer") / "authority") as made:
        yield made


@pytest.fixture(scope="module")
def exported(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An officer's export from a hub whose log three of four silos cosigned; the founding charter's digest."""
    given = {"timestamp_url": authority.url, "timestamp_ca": str(authority.ca)}
    folder = tmp_path_factory.mktemp("hub")
    hub = HubProcess(folder / "hub", **given)
    hub.start()
    try:
        consortium = Consortium(hub.url, hub.card)
        consortium.gather()
        note = Follow.model_validate_json(consortium.silos[0].get(routes.POLL, after=0).content).candidate
        for one in consortium.silos[:3]:
            line = cosign(note, silo_witness(hub.card["log_origin"], one.name), one.key, int(time.time()))
            check(one.http.post(routes.LOG_COSIGNATURES, content=line.encode(), auth=one.auth))
        deadline = time.monotonic() + 60
        while httpx.get(hub.url + routes.LOG_TIMESTAMP).status_code == 404:
            assert time.monotonic() < deadline, hub.logged()
            time.sleep(0.2)
        log = folder / "log.jsonl"
        log.write_bytes(consortium.officer.get(routes.LOG_EXPORT).content)
        first = json.loads(httpx.get(hub.url + routes.CHARTER).text.splitlines()[0])["body"]["charter"]
        return log, canonical.digest(canonical.encode(first))
    finally:
        hub.stop()


def test_an_export_shows_who_cosigned_the_log_and_when_it_was_dated(
    exported: tuple[Path, str], authority: Authority
) -> None:
    log, founding = exported
    audited = verify_file(log, founding, roots=read_roots(authority.ca))
    assert charter_digest(audited.chain.charters[0]) == founding
    assert audited.witnessing is not None and audited.witnessing.quorate
    assert len(audited.witnessing.cosigned) == 3
    assert audited.dated is not None and audited.dated.trusted
    unchecked = verify_file(log, founding).dated
    assert unchecked is not None and not unchecked.trusted and unchecked.at == audited.dated.at


def test_an_entry_of_a_real_log_is_proved_under_the_witnesses_checkpoint(exported: tuple[Path, str]) -> None:
    log, founding = exported
    proved = check_proof(prove(log, founding, "1").encode(), founding)
    assert proved.index == 1 and proved.witnessing.quorate


def test_a_timestamp_of_another_authority_or_of_something_else_is_refused(
    exported: tuple[Path, str], authority: Authority, tmp_path: Path
) -> None:
    log, founding = exported
    with Authority(tmp_path / "other") as other, pytest.raises(AuditFailed, match="timestamp doesn't verify"):
        verify_file(log, founding, roots=read_roots(other.ca))
    header, *leaves = log.read_text(encoding="utf-8").splitlines(keepends=True)
    value = json.loads(header)
    token = base64.b64decode(value["timestamp"])
    for spoilt in (token[:-1] + bytes([token[-1] ^ 1]), token[:60] + bytes([token[60] ^ 1]) + token[61:], b"0"):
        value["timestamp"] = base64.b64encode(spoilt).decode()
        lines = [canonical.encode(value).decode() + "\n", *leaves]
        with pytest.raises(AuditFailed):
            verify_export(lines, founding, roots=read_roots(authority.ca))


def test_an_export_cannot_pass_its_timestamp_on_to_another_checkpoint(exported: tuple[Path, str]) -> None:
    log, founding = exported
    header, *leaves = log.read_text(encoding="utf-8").splitlines(keepends=True)
    value = json.loads(header)
    value["witnessed"] = value["checkpoint"]
    with pytest.raises(AuditFailed, match="the timestamp is not of the checkpoint"):
        verify_export([canonical.encode(value).decode() + "\n", *leaves], founding)
