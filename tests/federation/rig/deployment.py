"""A machine that takes the guides' command lines and does what Docker Compose and systemd would do with our files.

Every program runs as a process with the environment that the file gives it and none of the test's. Paths of the
container or the machine stand for folders below ``root``; in a ``Box`` they are what they are.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compose.processes import free_port
from tests.unit.compose.rig.compose_file import Service, read_project
from tests.unit.compose.rig.unit_file import fill_in, read_unit

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
IMAGE = {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
"""What the Dockerfile's ENV gives every process."""
PATIENCE_S = 90.0
Done = subprocess.CompletedProcess[str]


class Failed(AssertionError):
    """A command of the guides that ended with an error; the text has its words."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to be: its words, its whole environment, and what its paths stand for."""

    words: list[str]
    environment: dict[str, str]
    places: dict[str, Path]

    def mapped(self) -> tuple[list[str], dict[str, str]]:
        environment = {name: self._place(value) for name, value in self.environment.items()}
        return [self._place(word) for word in self.words], {**IMAGE, **environment}

    def boxed(self, writable: set[str]) -> tuple[list[str], dict[str, str]]:
        """In a box with the paths as they are, as user 10001, where only ``writable`` and /tmp can be written."""
        box = ["bwrap", "--unshare-user", "--uid", "10001", "--gid", "10001", "--unshare-ipc", "--tmpfs", "/"]
        for name in sorted(os.listdir("/")):
            if name not in ("proc", "dev", "tmp", "run", "sys"):
                box += ["--ro-bind", f"/{name}", f"/{name}"]
        box += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/var/lib"]
        for path in sorted({sys.prefix, sys.base_prefix, str(Path(__file__).parents[3])}):
            box += ["--ro-bind", path, path]  # the product, wherever its checkout lies: under /tmp, it may be
        for inside, outside in self.places.items():
            box += ["--bind" if inside in writable else "--ro-bind", str(outside), inside]
        box += ["--remount-ro", "/var/lib", "--remount-ro", "/run", "--remount-ro", "/", "--die-with-parent"]
        return [*box, *self.words], {**IMAGE, **self.environment}

    def _place(self, text: str) -> str:
        for inside, outside in self.places.items():
            if text == inside or text.startswith(f"{inside}/"):
                return f"{outside}{text.removeprefix(inside)}"
        return text


def can_box() -> bool:
    """Whether this machine lets a box be made."""
    words = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0


@dataclass(slots=True)
class Machine:
    """``etc`` holds the secrets' files by name; ``authority`` is what people on this machine believe."""

    root: Path
    in_box: bool = False
    port: int = field(default_factory=free_port)
    people: dict[str, str] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def type(self, line: str) -> str:
        """Does what ``line`` says; returns what it printed. Raises ``Failed``."""
        words = shlex.split(line.replace("https://hub.example:8700", self.url).replace("https://hub.example", self.url))
        words, printed_to = (words[: words.index(">")], words[-1]) if ">" in words else (words, "")
        said = self._do(words)
        if printed_to:
            (self.root / printed_to).write_text(said)
        return said

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _do(self, words: list[str]) -> str:
        if words[:2] == ["docker", "compose"]:
            return self._compose(words[2:])
        if words[:2] == ["sudo", "systemctl"]:
            (name,) = (word for word in words[3:] if not word.startswith("-"))
            return self._start_unit(name)
        if words[:2] == ["sudo", "-u"]:
            # The guide: with an authority of one's own, for the silo's commands too.
            return self._run(Command(words[3:], {"SSL_CERT_FILE": self.people["SSL_CERT_FILE"]}, self.places()))
        if words[0] != "consortia":
            raise Failed(f"the test knows nothing of {words[0]}")
        return self._run(Command(words, self.people, {}), people=True)

    # ---- Docker Compose

    def project(self, *files: str) -> dict[str, Service]:
        given = {"CONSORTIA_HUB_ETC": self.etc, "CONSORTIA_SILO_ETC": self.etc, "CONSORTIA_SILO_DATA": self.data}
        found = read_project([ROOT / file for file in files], {name: str(path) for name, path in given.items()})
        return found[1]

    def container(self, service: Service, words: list[str]) -> Command:
        """``words`` run in the service's container: its environment, its secrets, its volumes, its port."""
        places = {f"/run/secrets/{name}": file for name, file in service.secrets.items()}
        for target, mount in service.mounts.items():
            kept = self.root / "volumes" / mount["source"]
            if mount["type"] == "volume":
                kept.mkdir(parents=True, mode=0o700, exist_ok=True)
            places[target] = kept if mount["type"] == "volume" else Path(mount["source"])
        environment = service.environment
        if "CONSORTIA_HUB_PORT" in environment:
            assert service.entry["ports"] == [f"443:{environment['CONSORTIA_HUB_PORT']}"]
            environment["CONSORTIA_HUB_PORT"] = str(self.port)
        return Command(words, environment, places)

    def _compose(self, words: list[str]) -> str:
        files = []
        while words[0] == "-f":
            files.append(words[1])
            words = words[2:]
        services, verb, rest = self.project(*files), words[0], words[1:]
        options = []
        while rest and rest[0].startswith("-"):
            options.append(rest.pop(0))
        if verb == "up":
            return self._up(services, wait="--wait" in options)
        service, given = services[rest[0]], rest[1:]
        return self._run(self.container(service, given if verb == "exec" else [*service.entrypoint, *given]))

    def _up(self, services: dict[str, Service], wait: bool) -> str:
        for service in services.values():
            self.start(service.name, self.container(service, service.words))
        for service in services.values() if wait else ():
            self.wait_for(lambda service=service: self.health(service))
        return ""

    def health(self, service: Service) -> Done:
        """One run of the service's health check, in its container."""
        return self.finish(self.container(service, service.health))

    # ---- systemd

    def places(self) -> dict[str, Path]:
        state = self.root / "state"
        state.mkdir(exist_ok=True)
        both = ("consortia-hub", "consortia-silo")
        return {"/opt/consortia/bin": BIN, "/var/lib": state, **{f"/etc/{name}": self.etc for name in both}}

    def in_unit(self, name: str, words: str) -> Command:
        """A command line of the unit, with its environment and copies of its credentials."""
        unit, handed = read_unit(ROOT / "compose" / f"{name}.service"), self.root / "credentials" / name
        handed.mkdir(parents=True, exist_ok=True)
        for credential, path in unit.credentials().items():
            copy = handed / credential
            copy.unlink(missing_ok=True)
            shutil.copyfile(self.etc / path.name, copy)
            copy.chmod(0o400)
        specifiers = {"S": "/var/lib", "d": str(handed)}
        environment = unit.environment(specifiers)
        if "CONSORTIA_HUB_PORT" in environment:
            environment["CONSORTIA_HUB_PORT"] = str(self.port)
        if name == "consortia-silo":
            environment["SSL_CERT_FILE"] = self.people["SSL_CERT_FILE"]  # as `systemctl edit` would add it
        return Command(shlex.split(fill_in(words, specifiers)), environment, self.places())

    def _start_unit(self, name: str) -> str:
        unit = read_unit(ROOT / "compose" / f"{name}.service")
        self.start(name, self.in_unit(name, unit.one("Service", "ExecStart")))
        for after in unit.service("ExecStartPost"):
            self._run(self.in_unit(name, after))
        return ""

    # ---- processes

    def start(self, name: str, command: Command) -> None:
        words, environment = self._ready(command)
        with (self.root / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                words, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def stop(self, name: str) -> int:
        """SIGTERM, as both would send it; the exit code."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGTERM)
        return process.wait(timeout=30)

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def logged(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()

    def wait_for(self, ask: Callable[[], Done]) -> None:
        """Asks until the exit code is 0. Raises ``Failed`` after a while, or once a service has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while (done := ask()).returncode != 0:
            logs = "\n".join(self.logged(name)[-2000:] for name in self.running)
            if time.monotonic() > deadline or any(one.poll() is not None for one in self.running.values()):
                raise Failed(f"{done.args}: {done.stdout}{done.stderr}\n{logs}")
            time.sleep(0.5)

    def _run(self, command: Command, people: bool = False) -> str:
        done = self.finish(command, people)
        if done.returncode:
            raise Failed(f"{' '.join(command.words)}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def finish(self, command: Command, people: bool = False) -> Done:
        """Runs a short command to its end."""
        words, environment = command.mapped() if people else self._ready(command)
        return subprocess.run(
            words, env=environment, cwd=self.root if people else "/", stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def _ready(self, command: Command) -> tuple[list[str], dict[str, str]]:
        writable = {name for name in command.places if name.startswith("/var/lib/")}
        return command.boxed(writable) if self.in_box else command.mapped()
