"""A time-stamping authority (RFC 3161): OpenSSL's `ts -reply` behind a small HTTP server."""

import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

OPENSSL = shutil.which("openssl") or "/usr/bin/openssl"
CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[signer]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
"""


@dataclass
class Authority:
    """`queries`: the requests that came, DER. `answer`: said instead of a reply, where a test wants it."""

    folder: Path
    queries: list[bytes] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        (self.folder / "openssl.cnf").write_text(CONFIG.format(folder=self.folder))
        (self.folder / "serial").write_text("01\n")
        self._make_keys()
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["content-length"]))
                right = self.headers["content-type"] == "application/timestamp-query"
                status, body = (authority.answer or (200, authority.reply(query))) if right else (400, b"")
                authority.queries.append(query)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/tsa"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        """A TimeStampResp (DER) for a request."""
        (self.folder / "query.tsq").write_bytes(query)
        self._openssl("ts", "-reply", "-queryfile", "query.tsq", "-out", "reply.tsr", "-config", "openssl.cnf")
        return (self.folder / "reply.tsr").read_bytes()

    def verifies(self, token: bytes, text: bytes) -> bool:
        """Whether OpenSSL takes a TimeStampToken (DER) for `text`."""
        (self.folder / "token.der").write_bytes(token)
        (self.folder / "text").write_bytes(text)
        given = ("-in", "token.der", "-token_in", "-data", "text", "-CAfile", "ca.pem")
        return self._openssl("ts", "-verify", *given, check=False).returncode == 0

    def _make_keys(self) -> None:
        key = ("-newkey", "rsa:2048", "-nodes", "-days", "30", "-config", "openssl.cnf")
        ca = ("-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-extensions", "ca")
        self._openssl("req", *key, *ca)
        self._openssl("req", *key, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test authority")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-out", "tsa.pem")
        extensions = ("-extfile", "openssl.cnf", "-extensions", "signer")
        self._openssl("x509", "-req", "-in", "tsa.csr", *signed, *extensions)

    def _openssl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([OPENSSL, *arguments], cwd=self.folder, capture_output=True, check=check)
