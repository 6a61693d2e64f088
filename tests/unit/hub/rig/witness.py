"""A witness that conforms to C2SP tlog-witness, over real HTTP; a test may make it fail or lie."""

import base64
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.cosignature import CosignerKey, cosign
from protocol.signed_note import NoteRefused, VerifierKey, open_note
from protocol.translog import Checkpoint
from protocol.tree import EMPTY_ROOT, ProofRefused, TreeHead, verify_consistency

SIZE = "text/x.tlog.size"
Answer = tuple[int, str, str]


@dataclass
class WitnessServer:
    """`heads`: what it cosigned last, by origin. `asked`: the old size of each request, `answered`: each status.

    `signing`: what it signs with, which a test makes another key than it is known by; `answer`: said instead of all.
    """

    name: str
    log: VerifierKey
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    heads: dict[str, TreeHead] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    signing: Ed25519PrivateKey | None = None
    answer: Answer | None = None
    delay_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                time.sleep(witness.delay_s)
                status, kind, text = witness.answer or witness.add(self.path, body)
                witness.answered.append(status)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

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
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def cosigner(self) -> CosignerKey:
        return CosignerKey(self.name, self.key.public_key())

    def add(self, path: str, body: str) -> Answer:
        """In the order of the specification; comparing and persisting is one step."""
        if path != "/add-checkpoint":
            return 404, "text/plain", "no such path\n"
        header, _, note = body.partition("\n\n")
        first, *proof = header.split("\n")
        old = int(first.removeprefix("old "))
        self.asked.append(old)
        if note.partition("\n")[0] != self.log.name:
            return 404, "text/plain", "unknown log\n"
        try:
            checkpoint = Checkpoint.parse(open_note(note, self.log))
        except NoteRefused:
            return 403, "text/plain", "no signature by a trusted key\n"
        with self._lock:
            return self._cosigned(old, [base64.b64decode(line) for line in proof], checkpoint, note)

    def _cosigned(self, old: int, proof: list[bytes], checkpoint: Checkpoint, note: str) -> Answer:
        held = self.heads.get(checkpoint.origin, TreeHead(0, EMPTY_ROOT))
        if old > checkpoint.size:
            return 400, "text/plain", "the old size is larger\n"
        if old != held.size or (old == checkpoint.size and held.root != checkpoint.root_hash):
            return 409, SIZE, f"{held.size}\n"
        try:
            verify_consistency(held, checkpoint.head, proof)
        except ProofRefused:
            return 422, "text/plain", "the proof doesn't verify\n"
        self.heads[checkpoint.origin] = checkpoint.head
        line = cosign(note, self.name, self.signing or self.key, int(time.time()))
        return 200, "text/plain", line + "\n"
