"""A real S3 server as a process: SeaweedFS, whose binary comes with a package of the tests."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from hub.store.blobs import BlobPlace

ACCESS, SECRET, BUCKET = "tests", "not-a-secret", "hub-blobs"
HIGHEST_PORT = 55_535
"""The server listens 10,000 above each of its ports as well."""


class S3Server:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = _free_ports(4)
        self.endpoint = f"http://127.0.0.1:{self._ports[3]}"
        self.credentials = folder / "s3.toml"
        self._process: subprocess.Popen[bytes] | None = None

    def place(self, prefix: str) -> BlobPlace:
        return BlobPlace(f"s3://{BUCKET}/{prefix}", self.endpoint, "us-east-1", self.credentials)

    def settings(self, prefix: str) -> dict[str, str]:
        """The hub's settings for the same place."""
        place = self.place(prefix)
        given = {"blobs_url": place.url, "s3_endpoint": place.endpoint, "s3_region": place.region}
        return {**given, "s3_credentials": str(self.credentials)}

    def __enter__(self) -> Self:
        (self._folder / "data").mkdir(parents=True)
        self.credentials.touch(mode=0o600)
        self.credentials.write_text(f'access_key_id = "{ACCESS}"\nsecret_access_key = "{SECRET}"\n')
        pair = {"accessKey": ACCESS, "secretKey": SECRET}
        identity = {"name": "hub", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List"]}
        (self._folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        with (self._folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)
        self._await_health()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _command(self) -> list[str | Path]:
        master, volume, filer, s3 = self._ports
        return [
            *(Path(sys.executable).parent / "weed", "-logtostderr=true", "server", f"-dir={self._folder / 'data'}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}"),
            *(f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={self._folder / 'identities.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=40"),
        ]

    def _await_health(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.endpoint}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise RuntimeError((self._folder / "s3.log").read_text()[-2000:])


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in range(20_000 + time.time_ns() // 1000 % 30_000, HIGHEST_PORT):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")
