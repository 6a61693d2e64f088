"""Settings and keys: nothing loose, nothing unknown, nothing exposed."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from hub.__main__ import create
from hub.app import open_aggregator
from hub.config import keys
from hub.config.settings import HubSettings, load
from hub.errors import SetupRefused

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "hub", 'The "Heart" group')
    return tmp_path / "hub"


def test_init_makes_private_keys_and_a_card_with_the_public_ones(tmp_path: Path) -> None:
    card = create(tmp_path / "hub", "Heart group")
    made = keys.load(tmp_path / "hub" / "keys")
    assert (card["hub_key"], card["log_key"]) == (made.hub_public, made.log_public)
    assert card["log_origin"] == f"heart-group/{made.log_public[:8]}"
    assert (tmp_path / "hub" / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "hub" / "keys").iterdir()} == {0o600}
    assert made.hub.private_bytes_raw().hex() not in json.dumps(card) + repr(made)


def test_init_never_replaces_a_hub(folder: Path) -> None:
    with pytest.raises(SetupRefused, match="holds a hub"):
        create(folder, "Another")


@pytest.mark.parametrize("name,mode", [("keys", 0o750), ("keys/hub.key", 0o640), ("keys/log.key", 0o604)])
def test_keys_that_others_may_read_are_refused(folder: Path, name: str, mode: int) -> None:
    (folder / name).chmod(mode)
    with pytest.raises(SetupRefused, match="chmod"):
        keys.load(folder / "keys")


def test_a_missing_or_cut_key_is_refused(folder: Path) -> None:
    (folder / "keys" / "hub.key").write_bytes(b"short")
    with pytest.raises(SetupRefused, match="5 bytes"):
        keys.load(folder / "keys")
    (folder / "keys" / "hub.key").unlink()
    with pytest.raises(SetupRefused, match="missing"):
        keys.load(folder / "keys")


def test_settings_come_from_the_file_then_the_environment_then_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "hub.toml").open("a") as file:
        file.write("port = 9001\nworkers = 3\n")
    assert (load(folder).port, load(folder).workers) == (9001, 3)
    monkeypatch.setenv("CONSORTIA_HUB_PORT", "9002")
    assert load(folder).port == 9002
    assert load(folder, {"port": 9003}).port == 9003
    assert load(folder).consortium == 'The "Heart" group'


def test_unknown_settings_are_refused(folder: Path) -> None:
    with (folder / "hub.toml").open("a") as file:
        file.write('databse_url = "sqlite:///x"\n')
    with pytest.raises(SetupRefused, match="databse_url"):
        load(folder)


def test_a_file_that_is_no_toml_is_refused(folder: Path) -> None:
    (folder / "hub.toml").write_text("= nonsense")
    with pytest.raises(SetupRefused, match="TOML"):
        load(folder)


def test_listening_beyond_loopback_needs_tls_or_a_proxy(folder: Path) -> None:
    with pytest.raises(SetupRefused, match="loopback"):
        load(folder, {"host": EVERYWHERE})
    known = {"public_origin": "https://hub.example"}
    assert load(folder, {"host": EVERYWHERE, "behind_proxy": True, **known}).behind_proxy
    files = {"tls_certificate": folder / "c.pem", "tls_key": folder / "k.pem"}
    assert load(folder, {"host": EVERYWHERE, **files, **known}).host == EVERYWHERE
    with pytest.raises(SetupRefused, match="both files"):
        load(folder, {"tls_key": folder / "k.pem"})
    for host in ("127.0.0.1", "::1", "localhost"):
        assert load(folder, {"host": host}).host == host


def test_witnesses_are_asked_over_https_or_on_this_machine(folder: Path) -> None:
    for url in ("http://witness.example", "ftp://witness.example", "witness.example", ""):
        with pytest.raises(SetupRefused, match="witness_urls: w1: an https"):
            load(folder, {"witness_urls": {"w1": url}})
    for url in ("https://witness.example/log", "http://127.0.0.1:8080"):
        assert load(folder, {"witness_urls": {"w1": url}}).witness_urls == {"w1": url}


def test_an_authority_that_dates_the_log_needs_its_roots(folder: Path) -> None:
    with pytest.raises(SetupRefused, match="timestamp_url and timestamp_ca: give both"):
        load(folder, {"timestamp_url": "http://tsa.example"})
    with pytest.raises(SetupRefused, match="timestamp_url and timestamp_ca: give both"):
        load(folder, {"timestamp_ca": folder / "roots.pem"})
    assert load(folder, {"timestamp_url": "http://tsa.example", "timestamp_ca": folder / "roots.pem"}).timestamp_url


def test_a_hub_that_others_call_must_know_its_address(folder: Path) -> None:
    files = {"tls_certificate": folder / "c.pem", "tls_key": folder / "k.pem"}
    for given in ({"behind_proxy": True}, {"host": EVERYWHERE, **files}):
        with pytest.raises(SetupRefused, match="public_origin: give the address"):
            load(folder, given)
    for good in ("https://hub.example", "https://hub.example:8443", "https://[2001:db8::1]", "http://127.0.0.1:8700"):
        assert load(folder, {"public_origin": good}).public_origin == good


@pytest.mark.parametrize(
    "origin",
    [
        "http://hub.example",
        "https://hub.example/",
        "https://hub.example/hub",
        "https://hub.example:443",
        "https://Hub.example",
        "https://admin@hub.example",
        "https://hub.example?x=1",
        "hub.example",
        "https://",
        "https://hub.example:port",
    ],
)
def test_an_address_that_no_proof_would_be_made_for_is_refused(folder: Path, origin: str) -> None:
    with pytest.raises(SetupRefused, match="public_origin"):
        load(folder, {"public_origin": origin})


def test_the_settings_are_frozen(folder: Path) -> None:
    settings: HubSettings = load(folder)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_as_many_workers_add_as_there_are_cores_for_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers in ((1, 1), (7, 7), (200, 64)):
        with monkeypatch.context() as machine:
            machine.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
            assert load(folder).workers == workers
    assert load(folder, {"workers": 3}).workers == 3


def test_a_cluster_needs_a_token_and_blobs_that_its_machines_see(folder: Path) -> None:
    cluster = {"aggregator": "ray", "ray_address": "head.example:6379"}
    with pytest.raises(SetupRefused, match="needs ray_token"):
        load(folder, cluster)
    cluster["ray_token"] = folder / "ray.token"
    with pytest.raises(SetupRefused, match="s3://"):
        load(folder, cluster)
    assert load(folder, {**cluster, "blobs_url": "s3://bucket/blobs"}).ray_address == "head.example:6379"


def test_a_local_cluster_takes_no_token_of_others(folder: Path) -> None:
    with pytest.raises(SetupRefused, match="ray_token"):
        load(folder, {"aggregator": "ray", "ray_token": folder / "ray.token"})


def test_an_aggregator_without_its_extra_is_refused_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupRefused, match=r"pip install -c constraints.txt '.\[hub,ray\]'"):
        open_aggregator(load(folder, {"aggregator": "ray"}))


def test_a_token_that_is_missing_or_open_to_others_is_refused(folder: Path) -> None:
    token = folder / "ray.token"
    settings = load(
        folder,
        {"aggregator": "ray", "ray_address": "a:1", "ray_token": token, "blobs_url": "s3://bucket/blobs"},
    )
    with pytest.raises(SetupRefused, match="names no file"):
        open_aggregator(settings)
    token.write_text("hidden")
    token.chmod(0o640)
    with pytest.raises(SetupRefused, match="chmod") as refused:
        open_aggregator(settings)
    assert "hidden" not in str(refused.value)
