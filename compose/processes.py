"""Starting installed commands as processes of their own, and ending all of them, come what may."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

STOP_S = 10.0
PR_SET_PDEATHSIG = 1
Words = list[str | Path]
"""A command line: a program and its arguments."""


class CommandFailed(Exception):
    """A command ended with an error, or a service did not come up; the text has its last words."""


@dataclass(slots=True)
class Processes:
    """Services that run until this context ends, and short commands beside them. ``logs`` gets a file a service."""

    logs: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start(self, name: str, command: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
        """Starts a service; what it prints goes to ``logs``/``name``.log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                _found(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its services in order.
                preexec_fn=_die_with_parent,
            )
        self.running[name] = process
        return process

    def run(self, command: Sequence[str | Path], timeout_s: float = 300) -> str:
        """Runs a short command to its end; returns what it printed. Raises ``CommandFailed``."""
        done = subprocess.run(
            _found(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            words = (done.stderr or done.stdout).strip()
            raise CommandFailed(f"{_shown(command)} ended with status {done.returncode}:\n{words}")
        return done.stdout

    def show(self, command: Sequence[str | Path]) -> None:
        """Runs a command that prints to this terminal itself. Raises ``CommandFailed``."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(_found(command), stdin=subprocess.DEVNULL, env=environment, check=False)
        if done.returncode:
            raise CommandFailed(f"{_shown(command)} ended with status {done.returncode}")

    def check_alive(self) -> None:
        """Raises ``CommandFailed`` if a service has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                last = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-5:]
                raise CommandFailed(f"{name} ended with status {process.returncode}:\n" + "\n".join(last))

    def wait_for_health(self, url: str, limit_s: float = 60) -> None:
        """Waits until the hub at ``url`` answers /health."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/health", timeout=2).is_success:
                    return
            time.sleep(0.1)
        raise CommandFailed(f"the hub at {url} did not answer within {limit_s:g} s")

    def stop_all(self) -> None:
        """Asks every service to end, the last started first, and kills those that do not within 10 seconds."""
        newest_first = list(reversed(self.running.values()))
        for process in newest_first:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in newest_first:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()
        self.running.clear()


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _found(command: Sequence[str | Path]) -> list[str]:
    """The command with its program as installed beside this Python."""
    program = Path(sys.executable).parent / str(command[0])
    first = str(program) if program.exists() else shutil.which(str(command[0]))
    if first is None:
        raise CommandFailed(f"{command[0]} is not installed: pip install -e '.[hub,silo,client,examples]'")
    return [first, *(str(part) for part in command[1:])]


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in command[:4])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
