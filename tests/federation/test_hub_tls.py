"""The hub by https with a certificate of its own: believed by who was given it, by nobody else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import session as client_session
from client.errors import HubUnreachable as ClientUnreachable
from protocol import routes
from silo_node.errors import HubUnreachable
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession, fetch_charter
from tests.unit.hub.rig.certificate import self_signed
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import ROOT, HubProcess

AT_ONCE = Backoff(1, 0.0, 0.0, lambda _: None, lambda: 0.0)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return self_signed(tmp_path)[0]


@pytest.fixture
def hub(tmp_path: Path, authority: Path) -> Iterator[HubProcess]:
    key = authority.with_name("hub.pem")
    process = HubProcess(tmp_path / "hub", authority=authority, tls_certificate=str(authority), tls_key=str(key))
    process.start()
    yield process
    process.stop()


def test_silos_and_people_refuse_an_unknown_certificate_and_believe_it_once_it_is_given(
    hub: HubProcess, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    consortium = Consortium(hub.url, hub.card)
    consortium.gather()
    ada = consortium.silo("ada")
    identity = Identity("ada", ada.key, ada.envelope)
    audience = routes.audience(hub.card["log_origin"])
    believing = HubSession(hub.url, identity, audience, 20, AT_ONCE)
    assert len(believing.poll(0, 0).entries) > 1
    assert len(fetch_charter(hub.url, 20)) == 2
    person = client_session.HubSession(client_session.open_http(hub.url))
    assert person.get_public(routes.CHARTER).count(b"\n") == 2

    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(HubUnreachable):
        HubSession(hub.url, identity, audience, 20, AT_ONCE).poll(0, 0)
    with pytest.raises(HubUnreachable):
        fetch_charter(hub.url, 20)
    stranger = client_session.HubSession(client_session.open_http(hub.url), pause=lambda _: None)
    with pytest.raises(ClientUnreachable):
        stranger.get_public(routes.CHARTER)
    # Believed on one connection is believed there only: an open session isn't cut off, a new one asks again.
    assert believing.poll(0, 0).next > 0
    assert "Traceback" not in hub.logged()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "hub.example"])  # noqa: S104 - what is refused
def test_a_hub_does_not_listen_beyond_this_machine_without_tls(tmp_path: Path, host: str) -> None:
    hub = HubProcess(tmp_path / "hub")
    command = [sys.executable, "-m", "hub", "serve", "--folder", str(hub.folder), "--port", str(hub.port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--host", host], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "not loopback" in done.stderr and "behind_proxy" in done.stderr


def test_a_hub_behind_a_proxy_listens_where_it_is_told(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub", host="0.0.0.0", behind_proxy="true")  # noqa: S104 - a proxy is in front
    hub.start()
    hub.stop()
    assert hub.ended() == 0
