"""Real server programs for the fleet to run, and how to wait for what they do."""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.version import SealedFile, version_digest
from chalicelib.local.fleet.fleet import LocalFleet
from tests.fakes import FakeBucket

LIVENESS_S = 30.0  # generous: on a busy machine things take long, and waiting ends with the condition

# A serving program of a few lines. What it does besides serving is in the model folder's `act.py`, as with a handler.
SERVER = """
import hashlib, http.server, json, os, pathlib, signal, socketserver, sys

model = pathlib.Path(os.environ["MODEL_DIR"])
DIGEST = "sha256:" + hashlib.sha256((model / "weights.bin").read_bytes()).hexdigest()
answer = lambda: {"status": "ready", "digest": DIGEST}
exec((model / "act.py").read_text())

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps(answer()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
    def address_string(self):
        return "socket"

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), os._exit(0)))
print("serving", flush=True)
Server(os.environ["MODELDROP_UDS"], Handler).serve_forever()
"""


def write_server(folder: Path) -> Path:
    """Write the program as a package; what is returned goes on PYTHONPATH."""
    package = folder / "server" / "plainserver"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SERVER)
    return package.parent


COMMAND = (sys.executable, "-m", "plainserver")


def stored(store: FakeBucket, act: str = "", *, weights: bytes = b"weights", name: str = "d", **wishes) -> Deployment:
    """Put a model into the store and return its deployment; `act` is run while it loads."""
    return stored_files(store, {"act.py": act.encode(), "weights.bin": weights}, name=name, **wishes)


def stored_files(store: FakeBucket, files: dict[str, bytes], *, name: str = "d", **wishes) -> Deployment:
    """Put a version's files into the store and return its deployment."""
    prefix = f"digits/v1/{name}/"
    for path, body in files.items():
        store.put(prefix + path, body)
    sealed = [SealedFile(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in files.items()]
    return Deployment(
        id=name,
        endpoint="digits",
        ref=VersionRef("digits", "v1"),
        digest=version_digest(sealed),
        store_prefix=prefix,
        resources=Resources(**{"start_timeout_s": 20.0, "memory_mb": 300, **wishes}),
    )


def until(condition: Callable[[], object], what: str = "", patience: float = LIVENESS_S) -> None:
    """Wait for a condition; fail when it doesn't come about."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what or condition}"
        time.sleep(0.02)


def until_state(fleet: LocalFleet, deployment: Deployment, state: FleetState) -> Running:
    """Wait for a state and return what is seen then; a failure that isn't waited for ends the waiting."""
    ends = (state, FleetState.FAILED) if state is not FleetState.ABSENT else (state,)
    until(lambda: fleet.observe(deployment.id).state in ends, state)
    seen = fleet.observe(deployment.id)
    assert seen.state is state, seen.reason
    return seen


def replicas_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of this machine whose environment names a socket or a model in a folder."""
    return [p for p in psutil.process_iter() if _names(p, str(folder))]


def _names(process: psutil.Process, folder: str) -> bool:
    try:
        return any(folder in value for value in process.environ().values()) and process.pid != os.getpid()
    except psutil.Error:
        return False
