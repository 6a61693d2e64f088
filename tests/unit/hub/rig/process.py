"""A hub as a process of its own, that can be killed and started again on the same folder and port."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx

from hub.__main__ import create

ROOT = Path(__file__).parents[4]


class HubProcess:
    """`card` None makes a new hub; with another's card, this is a second replica of it on the same folder.

    With `authority`, a certificate to be believed, it is asked by https; its settings name certificate and key.
    """

    def __init__(
        self, folder: Path, card: dict[str, str] | None = None, authority: Path | None = None, **settings: str
    ) -> None:
        self.folder = folder
        self.card = card or create(folder, "Test consortium")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self.port}"
        self._verify = ssl.create_default_context(cafile=authority) if authority else False
        self._settings = {f"CONSORTIA_HUB_{name.upper()}": value for name, value in settings.items()}
        if "behind_proxy" in settings:
            self._settings["CONSORTIA_HUB_PUBLIC_ORIGIN"] = self.url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            **self._settings,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        with (self.folder / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hub", "serve", "--folder", str(self.folder), "--port", str(self.port)],
                env=environment,
                cwd=ROOT,
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
        self._await_health()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ended(self, timeout_s: float = 25) -> int:
        """The exit code, once the process is gone."""
        assert self._process is not None
        return self._process.wait(timeout=timeout_s)

    def _await_health(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError((self.folder / "hub.log").read_text())
            try:
                if httpx.get(f"{self.url}/health", timeout=5, verify=self._verify).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError("the hub didn't come up: " + (self.folder / "hub.log").read_text())

    def kill(self) -> None:
        """kill -9 of the hub and its workers: nothing is flushed, nothing is said."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()

    def logged(self) -> str:
        return (self.folder / "hub.log").read_text()
