"""A small platform over HTTP for the command line to talk to: the real control API on ports in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from chalice.local import LocalChalice
from typer.testing import CliRunner, Result

from chalicelib.local.cli.program import app
from chalicelib.local.webhooks import api as webhook_api
from chalicelib.pipeline.ports import Ports
from tests.api_caller import Caller
from tests.fakes_pipeline import fake_ports

KEY = "md_test"


@dataclass
class SmallPlatform:
    """`answers` are for paths that the control API doesn't have: status, headers and body."""

    home: Path
    ports: Ports = field(default_factory=fake_ports)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def run(self, *args: str, stdin: bytes | None = None) -> Result:
        return run(self.home, *args, stdin=stdin)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.received.append((path, headers, body))
        if headers.get("authorization") != f"Bearer {KEY}":
            return 401, {}, b'{"error": {"code": "unauthenticated", "message": "this API key does not exist"}}'
        if path in self.answers:
            return self.answers[path]
        answered = Caller(self.ports, app=app_with_webhooks(self.ports)).call(method, path, body or None)
        return answered.status, {}, json.dumps(answered.body).encode()

    @contextmanager
    def serving(self) -> Iterator["SmallPlatform"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        (self.home / "connection.json").write_text(json.dumps({"url": self.url, "ca": "", "key": KEY}))
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def app_with_webhooks(ports: Ports) -> LocalChalice:
    """Return an app with the routes that only one machine has; nobody sends what they keep."""
    webhook_api.bind(ports.registry, ports.clock, on_change=lambda: None)
    made = LocalChalice("control-api")
    made.register_blueprint(webhook_api.routes)
    return made


def run(home: Path, *args: str, stdin: bytes | None = None) -> Result:
    """Run the command line on a home, nothing of ours or AWS's in its environment."""
    clean = dict.fromkeys(("MODELDROP_HOME", "MODELDROP_URL", "MODELDROP_KEY", "MODELDROP_CA", "AWS_PROFILE"))
    return CliRunner(env=clean).invoke(app, ["--home", str(home), *args], input=stdin)


def _handler(platform: SmallPlatform) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, answer = platform.answer(self.command, self.path, headers, body)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(answer)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server names them so

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    return Handler
