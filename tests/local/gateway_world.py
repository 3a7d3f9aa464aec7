"""A real gateway over real replicas on Unix sockets, for the gateway's tests."""

import contextlib
import json
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import httpx

from chalicelib.domain.deployment import Deployment, Endpoint, Resources
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.split import Split
from chalicelib.local.gateway.gateway import Gateway, Wiring
from chalicelib.local.gateway.tls import ensure_certificates, server_context
from chalicelib.pipeline.keys import make_key
from chalicelib.pipeline.records import Records, Stored
from tests.fakes_registry import FakeRegistry


@dataclass
class Call:
    """What a replica got, and what it answers; `drop` ends the connection without an answer, `hang_up` after it."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 200
    answer: bytes = b'{"predictions": [1]}'
    answer_headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    drop: bool = False
    hang_up: bool = False  # after the answer, without having said so


class Replica(ThreadingMixIn, UnixStreamServer):
    """A small real HTTP server on a Unix socket; `act` changes each call's answer."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, at: Path, act: Callable[[Call], None] = lambda call: None) -> None:
        self.socket_path = at
        self.act = act
        self.calls: list[Call] = []
        self.digest = "sha256:" + "0" * 64
        self.connections = 0
        self.open: set[socket.socket] = set()
        super().__init__(str(at), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request, client_address) -> None:
        """Say nothing of a gateway that ended the connection: that is what some tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """End as a process does that crashes: with all its connections."""
        self.shutdown()
        self.server_close()
        self.socket_path.unlink(missing_ok=True)
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replica

    def setup(self):
        self.server.connections += 1
        self.server.open.add(self.request)
        super().setup()

    def finish(self):
        self.server.open.discard(self.request)
        with contextlib.suppress(OSError):  # it was ended while an answer was written
            super().finish()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.calls.append(call)
        self.server.act(call)
        self.close_connection = call.drop or call.hang_up
        if call.drop:
            return
        head = [f"HTTP/1.1 {call.status} X", *(f"{n}: {v}" for n, v in call.answer_headers.items())]
        head.append(f"Content-Length: {len(call.answer)}")
        with contextlib.suppress(OSError):  # the gateway gave up on us
            self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + call.answer)

    def do_GET(self):
        body = json.dumps({"status": "ready", "digest": self.server.digest}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def log_message(self, *args):
        """Tests are quiet."""


def says(version: str, digest: str = "") -> Callable[[Call], None]:
    """Return what a replica of a version does: answer its names."""

    def act(call: Call) -> None:
        call.answer_headers |= {"X-Modeldrop-Model": "digits", "X-Modeldrop-Version": version}
        call.answer_headers |= {"X-Modeldrop-Digest": digest or f"sha256:{version}"}

    return act


class World:
    """A gateway, its registry and its replicas."""

    def __init__(self, **wiring) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gw-"))
        self.registry = FakeRegistry()
        self.replicas: dict[str, list[Replica]] = {}
        self.extra_sockets: list[Path] = []
        self.lookups = 0
        self.troubles: list[tuple[str, str]] = []
        now = datetime.now(UTC)
        self.ca, certificate, key = ensure_certificates(self.folder / "tls", ("localhost", "127.0.0.1"), now)
        defaults = {"registry": self.registry, "sockets": self.sockets, "on_trouble": self._on_trouble}
        self.wiring = Wiring(**(defaults | wiring))
        self.gateway = Gateway(self.wiring, server_context(certificate, key))
        self.gateway.start("127.0.0.1", 0)
        self.url = f"https://localhost:{self.gateway.port}"
        self._clients: list[httpx.Client] = []
        self._sockets = 0

    def sockets(self, deployment: str) -> list[Path]:
        self.lookups += 1
        return [*(replica.socket_path for replica in self.replicas.get(deployment, [])), *self.extra_sockets]

    def _on_trouble(self, endpoint: str, deployment: str) -> None:
        self.troubles.append((endpoint, deployment))

    def add_replica(self, deployment: str, act: Callable[[Call], None] | None = None) -> Replica:
        self._sockets += 1
        replica = Replica(self.folder / f"{self._sockets}.sock", act or says(deployment))
        self.replicas.setdefault(deployment, []).append(replica)
        return replica

    def set_split(self, weights: dict[str, int], *, name: str = "digits", salt: str = "r1") -> None:
        deployments = {id_: _deployment(id_) for id_ in weights}
        stored = Records(self.registry).endpoint(name) or Stored(name, Endpoint(name, "digits"))
        value = replace(stored.value, deployments=deployments, split=Split(weights, salt))
        self.registry.commit([replace(stored, value=value).write])
        self.gateway.refresh(name)

    def key(self, *scopes: str) -> str:
        key, secret = make_key(self.registry, lambda: datetime.now(UTC), name="test", scopes=scopes)
        self.gateway.refresh(key.id)
        return secret

    def client(self, *scopes: str, **headers: str) -> httpx.Client:
        """Return a client with a key of its own; without scopes it has none."""
        secret = {"Authorization": f"Bearer {self.key(*scopes)}"} if scopes else {}
        trust = ssl.create_default_context(cafile=str(self.ca))
        client = httpx.Client(base_url=self.url, verify=trust, headers=secret | headers, timeout=30, trust_env=False)
        self._clients.append(client)
        return client

    def traffic(self, deployment: str):
        return self.gateway.counters.traffic(deployment, datetime.fromtimestamp(0, UTC))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.gateway.stop(5)
        for replicas in self.replicas.values():
            for replica in replicas:
                replica.close()
        shutil.rmtree(self.folder)


def predict(client: httpx.Client, instances=((1, 2),), *, name: str = "digits", **headers: str) -> httpx.Response:
    return client.post(f"/v1/endpoints/{name}/predict", json={"instances": instances}, headers=headers)


def code_of(response: httpx.Response) -> str:
    return json.loads(response.content)["error"]["code"]


def _deployment(id_: str) -> Deployment:
    return Deployment(id_, "digits", VersionRef("digits", id_), f"sha256:configured-{id_}", "", Resources())


def until(holds: Callable[[], bool], *, within: float = 20.0) -> None:
    """Wait until it holds; the deadline is for liveness only."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)
