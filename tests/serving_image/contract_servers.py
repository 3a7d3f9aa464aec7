"""The servers that the contract suite asks: a process for each kind of model, or a container where images are named."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.serving_container import free_port, images_to_test, start_container
from tests.serving_world import running

# Which image serves a kind of model.
FRAMEWORKS = {"saved_model": "tensorflow", "torchscript": "pytorch", "handler": "pytorch", "score": "pytorch"}


@dataclass(frozen=True)
class Server:
    """A running server, wherever it runs; only its address is known."""

    base_url: str
    client: httpx.Client

    @property
    def address(self) -> str:
        return self.base_url.removeprefix("http://")

    def ask(self, method: str, path: str, **request) -> httpx.Response:
        return self.client.request(method, path, **request)

    def curl(self, *arguments: str, path: str) -> tuple[int, str]:
        """Status and body, as the real curl got them."""
        command = ["curl", "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", *arguments]
        said = subprocess.run([*command, self.base_url + path], check=True, capture_output=True, text=True)
        body, _, status = said.stdout.rpartition("\n")
        return int(status), body


@contextlib.contextmanager
def serving(kind: str, folder: Path, scratch: Path, **env: str) -> Iterator[Server]:
    """Start the server for a model of this kind, and end it."""
    images = images_to_test()
    if image := images.get(FRAMEWORKS[kind]):
        with start_container(image, folder, env) as container, _server(container.base_url) as server:
            yield server
        return
    port = free_port()
    with running(folder, scratch, "serve", MODELDROP_UDS="", AIP_HTTP_PORT=str(port), **env) as replica:
        replica.until_ready()
        with _server(f"http://127.0.0.1:{port}") as server:
            yield server


@contextlib.contextmanager
def _server(base_url: str) -> Iterator[Server]:
    """One client for all: each costs a reading of the machine's certificates."""
    with httpx.Client(base_url=base_url, timeout=60) as client:
        yield Server(base_url, client)
