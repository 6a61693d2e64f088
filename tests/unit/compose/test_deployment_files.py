"""What an administrator is handed: compose files, images, units. Each property that the guides promise is held here."""

import re
import subprocess
from pathlib import Path

import pytest

from hub.config.settings import HubSettings
from silo_node.config import PASSPHRASE_VARIABLE
from tests.unit.compose.rig.compose_file import NotCompose, Service, read_project
from tests.unit.compose.rig.unit_file import NotAUnit, read_unit

ROOT = Path(__file__).parents[3]
FILES = ROOT / "compose"
UNITS = ("consortia-hub.service", "consortia-silo.service")
PROJECTS = {
    "hub": ("hub.yml",),
    "hub with PostgreSQL": ("hub.yml", "hub-postgres.yml"),
    "silo": ("silo.yml",),
    "silo with an authority": ("silo.yml", "silo-authority.yml"),
}
ANALYZE = Path("/usr/bin/systemd-analyze")


def services(name: str) -> list[Service]:
    return list(read_project([FILES / file for file in PROJECTS[name]], {})[1].values())


EVERY_SERVICE = [(name, one) for name in PROJECTS for one in services(name)]
every_service = pytest.mark.parametrize("service", [one for _, one in EVERY_SERVICE], ids=[
    f"{name}: {one.name}" for name, one in EVERY_SERVICE
])  # fmt: skip
every_unit = pytest.mark.parametrize("name", UNITS)


# ---- compose


@every_service
def test_a_service_has_few_rights_and_an_end_to_what_it_may_take(service: Service) -> None:
    entry = service.entry
    user, group = (int(one) for one in entry["user"].split(":"))
    assert user > 0 and group > 0
    assert entry["read_only"] is True
    assert entry["cap_drop"] == ["ALL"]
    assert entry["security_opt"] == ["no-new-privileges:true"]
    assert all("noexec,nosuid,nodev" in one for one in entry["tmpfs"])
    assert {"mem_limit", "cpus", "pids_limit"} <= set(entry)
    assert entry["ulimits"] == {"core": 0}
    assert entry["restart"] == "unless-stopped"
    assert entry["logging"]["options"]["max-size"]


@every_service
def test_a_service_tells_its_health_by_a_command(service: Service) -> None:
    check = service.entry["healthcheck"]
    assert service.health[0] in ("consortia-hub", "consortia-silo", "pg_isready")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@every_service
def test_every_secret_is_a_file_and_none_stands_in_the_environment(service: Service) -> None:
    assert service.secrets
    for name, file in service.secrets.items():
        assert file.is_absolute() and "etc" in file.parts[1], name
    named = {value.removeprefix("/run/secrets/") for value in service.environment.values() if "/run/secrets" in value}
    assert named == set(service.secrets), "each secret is used, and each that is used is declared"
    for name, value in service.environment.items():
        if re.search(r"PASS|KEY|SECRET|TOKEN|CRED", name):
            assert value.startswith("/run/secrets/"), name


@every_service
def test_what_a_service_keeps_lies_on_a_volume_and_what_it_reads_is_not_writable(service: Service) -> None:
    folder = service.environment.get("CONSORTIA_HUB_FOLDER") or service.environment.get("CONSORTIA_SILO_FOLDER")
    if folder is None:
        assert service.name == "database"
        folder = "/var/lib/postgresql/data"
    assert service.mounts[folder]["type"] == "volume"
    for target, mount in service.mounts.items():
        assert mount["type"] == "volume" or mount["read_only"] is True, target


def test_every_secret_and_volume_of_a_project_is_declared_and_used() -> None:
    for name, files in PROJECTS.items():
        project, found = read_project([FILES / file for file in files], {})
        assert {one for service in found.values() for one in service.secrets} == set(project["secrets"]), name
        used = {
            one["source"] for service in found.values() for one in service.mounts.values() if one["type"] == "volume"
        }
        assert used == set(project["volumes"]), name
        assert {one for service in found.values() for one in service.entry["networks"]} == set(project["networks"]), (
            name
        )


def test_the_hub_listens_by_tls_and_the_database_and_the_silo_open_no_port() -> None:
    hub, database = services("hub with PostgreSQL")
    (silo,) = services("silo")
    assert hub.environment["CONSORTIA_HUB_TLS_CERTIFICATE"] and hub.environment["CONSORTIA_HUB_TLS_KEY"]
    assert hub.entry["ports"] == ["443:8700"]
    assert "ports" not in database.entry and "ports" not in silo.entry
    project = read_project([FILES / file for file in PROJECTS["hub with PostgreSQL"]], {})[0]
    assert project["networks"]["inside"] == {"internal": True}
    assert database.entry["networks"] == ["inside"]
    assert hub.entry["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_the_environment_of_the_files_is_what_the_programs_know() -> None:
    known = {f"CONSORTIA_HUB_{name.upper()}" for name in HubSettings.model_fields}
    for name in PROJECTS:
        for service in services(name):
            ours = {one for one in service.environment if one.startswith("CONSORTIA_")}
            assert ours <= known | {"CONSORTIA_SILO_FOLDER", PASSPHRASE_VARIABLE}
    for unit in UNITS:
        specifiers = {"S": "/var/lib", "d": "/run/credentials"}
        ours = set(read_unit(FILES / unit).environment(specifiers))
        assert ours <= known | {"CONSORTIA_SILO_FOLDER", PASSPHRASE_VARIABLE}


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {image: x, privileged: true}}",
        "services: {a: {image: x, image: y}}",
        "services: {a: {image: '${UNSET}'}}",
        "services: {a: {image: x, healthcheck: {tests: [CMD, x]}}}",
        "service: {a: {image: x}}",
    ],
)
def test_a_compose_file_with_an_unknown_or_a_double_key_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(NotCompose):
        read_project([tmp_path / "a.yml"], {})


# ---- images


def instructions(target: str) -> list[str]:
    """The instructions of one stage of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (FILES / "Dockerfile").read_text())
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    (stage,) = [one for one in stages if one.splitlines()[0].endswith(f" AS {target}")]
    return [line for line in stage.splitlines()[1:] if line and not line.startswith("#")]


@pytest.mark.parametrize("part", ["hub", "silo"])
def test_an_image_runs_as_the_user_of_the_compose_file_and_installs_the_pinned_versions(part: str) -> None:
    (service,) = services(part)
    lines = instructions(part)
    folder = service.environment[f"CONSORTIA_{part.upper()}_FOLDER"]
    assert f"USER {service.entry['user']}" in lines
    assert f'ENTRYPOINT ["{service.entrypoint[0]}"]' in lines and f'CMD ["{service.entry["command"][0]}"]' in lines
    assert any(f"install -d -o 10001 -g 10001 -m 0700 {folder}" in line for line in lines)
    assert f"COPY --from={part}-installed /opt/consortia /opt/consortia" in lines
    assert instructions(f"{part}-installed") == [
        f"RUN /opt/consortia/bin/pip install --no-cache-dir -c constraints.txt '.[{part}]'"
    ]
    assert service.entry["build"] == {"context": "..", "dockerfile": "compose/Dockerfile", "target": part}


def test_the_build_sees_only_what_is_installed() -> None:
    lines = (FILES / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / one).exists() for one in let_in)
    assert let_in == {
        *("pyproject.toml", "constraints.txt", "README.md"),
        *("protocol", "hub", "silo_node", "policies", "pages", "client"),
    }


# ---- units

HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallArchitectures": "native",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "LimitCORE": "0",
}


@every_unit
def test_a_unit_is_hardened_and_runs_as_a_user_of_its_own(name: str) -> None:
    unit = read_unit(FILES / name)
    assert {setting: unit.one("Service", setting) for setting in HARDENED} == HARDENED
    own = name.removesuffix(".service")
    assert unit.one("Service", "User") == unit.one("Service", "StateDirectory") == own
    assert unit.one("Service", "Restart") == "on-failure"
    assert unit.service("MemoryMax") and unit.service("TasksMax") and unit.service("CPUQuota")
    assert unit.one("Install", "WantedBy") == "multi-user.target"


@every_unit
def test_a_units_secrets_are_credentials_and_its_state_lies_in_its_folder(name: str) -> None:
    unit = read_unit(FILES / name)
    environment = unit.environment({"S": "/var/lib", "d": "CREDENTIALS"})
    own = name.removesuffix(".service")
    assert f"/var/lib/{own}" in environment.values()
    handed = {value.removeprefix("CREDENTIALS/") for value in environment.values() if value.startswith("CREDENTIALS")}
    assert handed == set(unit.credentials())
    assert all(path.parent == Path("/etc") / own for path in unit.credentials().values())
    for variable, value in environment.items():
        if re.search(r"PASS|KEY|SECRET|TOKEN|CRED", variable):
            assert value.startswith("CREDENTIALS/"), variable


def test_a_line_that_is_no_setting_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.service").write_text("[Service]\nExecStart /bin/true\n")
    with pytest.raises(NotAUnit):
        read_unit(tmp_path / "a.service")


@every_unit
@pytest.mark.skipif(not ANALYZE.exists(), reason="systemd-analyze is not installed here")
def test_systemd_itself_finds_no_fault_in_a_unit_and_calls_it_well_confined(name: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (FILES / name).read_text()
    (tmp_path / name).write_text(re.sub(r"/opt/consortia/bin/\S+", str(program), text))
    checked = subprocess.run([ANALYZE, "verify", tmp_path / name], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    words = [ANALYZE, "security", "--offline=true", "--threshold=20", tmp_path / name]
    rated = subprocess.run(words, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout
