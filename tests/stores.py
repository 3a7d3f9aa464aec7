"""What the tests of the stores share: a real receiver of webhooks, a way to wait, and requests of an outsider."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chalicelib.adapters.s3 import S3Bucket, make_client
from chalicelib.local.stores import Connected, Webhook

LONG = 30.0  # seconds; a deadline for liveness, never a measure


def eventually(claim: Callable[[], bool], seconds: float = LONG) -> bool:
    """Poll until the claim holds; tell whether it did."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@dataclass
class Received:
    """What a receiver was posted: prefixes to look at, and how many requests had no right token."""

    url: str
    prefixes: list[str] = field(default_factory=list)
    refused: int = 0


@contextlib.contextmanager
def receiver(webhook: Webhook, port: int = 0) -> Iterator[Received]:
    """Run a real HTTP server that answers 204 to the right token and 401 to any other."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if welcome := webhook.check_token(self.headers["Authorization"]):
                received.prefixes.extend(look.prefix for look in webhook.receive(body))
            else:
                received.refused += 1
            self.send_response(204 if welcome else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    received = Received(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def as_uploader(connected: Connected, bucket: S3Bucket) -> S3Bucket:
    """Return the bucket as it is seen with the uploader's key."""
    keys = connected.uploader_access_key, connected.uploader_secret_key
    return S3Bucket(make_client(connected.endpoint, *keys, connected.region), bucket.name, part_size=5 * 2**20)
