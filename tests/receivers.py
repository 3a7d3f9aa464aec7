"""Real HTTP servers that webhooks lead to: one that answers well, slowly, badly, elsewhere, or never."""

import json
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chalicelib.domain.standard_webhooks import signed


@dataclass(frozen=True)
class Received:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Tell as a receiver would, by the scheme's own rules."""
        sent = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        mine = signed(self.headers["webhook-id"], self.body, [secret], sent)["webhook-signature"]
        return mine in self.headers["webhook-signature"].split(" ") and abs(time.time() - sent.timestamp()) < 300


@dataclass
class Receiver:
    """Answers with `status` and `headers` after `delay` seconds; with `hangs`, not before it is closed."""

    status: int = 200
    delay: float = 0.0
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/hook"

    @property
    def kinds(self) -> list[str]:
        return [r.event["kind"] for r in self.received]

    @property
    def ids(self) -> list[str]:
        return [r.headers["webhook-id"] for r in self.received]

    @contextmanager
    def serving(self):
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        server.daemon_threads = True
        self.port = server.server_port
        if self.tls:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()
            self.closing.clear()

    def take(self, received: Received) -> None:
        with self._lock:
            self.received.append(received)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.closing.wait(3600 if self.hangs else self.delay)
        with self._lock:
            self._at_once -= 1


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more = receiver.status, receiver.headers
            receiver.take(Received(time.time(), self.path, headers, body))
            if receiver.hangs:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**more, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            receiver.take(Received(time.time(), self.path, {}, b"{}"))
            self.send_error(500)

        def log_message(self, *args):
            """Keep quiet."""

    return Handler
