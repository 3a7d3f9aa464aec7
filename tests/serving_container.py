"""The serving image as a container: read-only, without rights, on a port of its own; asked over HTTP, ended."""

import contextlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tools.image_engine import DRAIN_S, Engine, find_engine

READY_WITHIN_S = 180


@dataclass(frozen=True)
class Container:
    """A running server; `base_url` is where it listens."""

    engine: Engine
    name: str
    base_url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=60)

    def say(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        return subprocess.run([*self.engine.other, *command], check=check, capture_output=True, text=True, timeout=120)

    def execute(self, *command: str) -> subprocess.CompletedProcess:
        """Run a program inside; its exit status is the answer's."""
        return self.say("exec", self.name, *command, check=False)

    def log(self) -> list[dict]:
        """The program's own lines; what is no JSON is a library's."""
        lines = self.say("logs", self.name)
        return [json.loads(line) for line in (lines.stdout + lines.stderr).splitlines() if line.startswith("{")]

    def is_running(self) -> bool:
        return self.say("inspect", "--format", "{{.State.Running}}", self.name).stdout.strip() == "true"

    def until_ready(self):
        """Wait until it says that it is; one that ended says why."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self.is_running():
            if any(line.get("event") == "ready" for line in self.log()):
                return self
            time.sleep(0.2)
        pytest.fail(f"{self.name} did not get ready; its log: {self.log()}")

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when it takes longer than a drain may; give back its exit status."""
        self.say("stop", f"--time={DRAIN_S}", self.name)
        return int(self.say("inspect", "--format", "{{.State.ExitCode}}", self.name).stdout)


def images_to_test() -> dict[str, str]:
    """Which image serves which framework: `tensorflow=IMAGE,pytorch=IMAGE`."""
    pairs = os.environ.get("MODELDROP_TEST_IMAGES", "").split(",")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@contextlib.contextmanager
def start_container(
    image: str, model_folder: Path, env: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[Container]:
    """Run the image on a model folder, and remove the container in the end; its port is AIP_HTTP_PORT or a free one."""
    engine = find_engine()
    if engine is None:
        pytest.fail("MODELDROP_TEST_IMAGES names images, and neither a Docker daemon nor Podman is here to run them")
    env = {"AIP_HTTP_PORT": str(free_port())} | dict(env or {})
    if model_folder.stat().st_mode & 0o005 != 0o005:
        pytest.fail(f"{model_folder} is closed to others, and the container's user is another")
    port = int(env["AIP_HTTP_PORT"])
    container = Container(engine, f"modeldrop-test-{uuid.uuid4().hex[:12]}", f"http://127.0.0.1:{port}")
    command = engine.run_model(image, name=container.name, model=model_folder, port=port, env=env)
    subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
    try:
        yield container.until_ready()
    finally:
        container.say("rm", "--force", "--time=0", container.name, check=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
