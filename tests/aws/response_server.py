"""Where CloudFormation waits for a custom resource's answer: an HTTPS server of ours."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from chalicelib.local.gateway.tls import ensure_certificates


@dataclass
class Waiting:
    url: str
    ca: Path  # what its certificate is checked with: SSL_CERT_FILE
    received: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # path, content type, answer


@contextmanager
def cloudformation(folder: Path, now: datetime) -> Iterator[Waiting]:
    ca, certificate, key = ensure_certificates(folder, ["localhost"], now)

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            waiting.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    waiting = Waiting(f"https://localhost:{server.server_port}/answer?signature=x", ca)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield waiting
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
