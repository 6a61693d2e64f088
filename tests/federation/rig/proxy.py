"""A line between one silo and the hub that a test may hold, cut or tamper with, as whoever sits there could."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """What the silo sent."""

    method: str
    path: str
    body: bytes

    def is_chunk_of(self, round: int) -> bool:
        return self.method == "PUT" and f"/rounds/{round}/" in self.path

    def is_sum_of(self, round: int) -> bool:
        return self.method == "GET" and f"/rounds/{round}/" in self.path and "/sum/" in self.path

    def says(self, kind: str, round: int) -> bool:
        spoken = f'"type":"{kind}"'.encode() in self.body
        return self.method == "POST" and spoken and f'"round":{round},'.encode() in self.body

    @property
    def is_poll(self) -> bool:
        return self.path.startswith("/v1/poll")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub answered. Of ``body`` only the first ``sent`` bytes reach the silo, all if None."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sent: int | None = None

    def with_body(self, body: bytes) -> "Answer":
        return replace(self, body=body)


@dataclass(slots=True)
class Hold:
    """Stops the first request that ``meets`` until ``release``; ``reached`` is set once one is stopped."""

    meets: Callable[[Request], bool]
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> None:
        if not self.released.is_set() and self.meets(request):
            self.reached.set()
            self.released.wait(PATIENCE_S)

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE_S), "the request that the test holds was never sent"


class Proxy:
    """Forwards to ``target``; ``before`` sees each request, ``change`` may put another answer in place."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.leave_alone()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def leave_alone(self) -> None:
        """Passes everything on as it is."""
        self.before: Callable[[Request], None] = lambda request: None
        self.change: Callable[[Request, Answer], Answer] = lambda request, answer: answer

    def hold(self, meets: Callable[[Request], bool]) -> Hold:
        held = Hold(meets)
        self.before = held
        return held

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forward(self, request: Request, headers: list[tuple[str, str]]) -> Answer:
        line = http.client.HTTPConnection(self._target, timeout=PATIENCE_S)
        try:
            line.request(request.method, request.path, request.body or None, dict(headers))
            answer = line.getresponse()
            kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP)
            return Answer(answer.status, kept, answer.read())
        except (OSError, http.client.HTTPException):
            return Answer(502, (), b"")
        finally:
            line.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.command, self.path, body)
                proxy.before(request)
                headers = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP]
                answer = proxy.change(request, proxy.forward(request, headers))
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: answer.sent])
                self.close_connection = answer.sent is not None

            do_GET = do_POST = do_PUT = pass_on

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is for its failures."""

        return Handler
