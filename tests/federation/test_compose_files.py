"""The files that administrators are handed, at work: the guides' own command lines, by TLS, until all is healthy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.heart import write_hospitals
from tests.federation.rig.authority import certify
from tests.federation.rig.deployment import ROOT, Done, Machine, can_box


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
