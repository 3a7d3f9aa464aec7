"""A Modeldrop platform of our own for the time of a demo: started as a person would start it, and stopped the same way.

Only the command line is used, and the two files that it writes for outsiders: how to reach it, and the AWS profile.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

START_S, STOP_S = 180, 60
HOW_TO = ("starting", "waiting", "drop:", "key:", "call:")  # lines of its start that are no notes


class Stopped(Exception):
    """The platform isn't there: the message ends with its log's tail."""


@dataclass(frozen=True)
class Connection:
    url: str
    ca: str
    key: str  # an admin's


def minio_is_at_hand() -> bool:
    """Tell whether there is a MinIO that the platform finds: on PATH or where `make minio` puts it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return bool(shutil.which("minio")) or (cache / "modeldrop" / "bin" / "minio").is_file()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Platform:
    """`modeldrop up` in a process of its own, with a home of its own."""

    def __init__(self, home: Path, log: Path, options: Sequence[str]) -> None:
        self.home, self.log = home, log
        self._command = [str(Path(sys.executable).with_name("modeldrop")), "--home", str(home)]
        with log.open("wb") as out:
            # A session of its own: Ctrl-C in the terminal is ours to pass on, once.
            self._process = subprocess.Popen(
                [*self._command, "up", *options], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_ready(self, tell: Callable[[str], None]) -> Connection:
        """Return how to reach it as soon as it answers; raises Stopped."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self.check()
            if (connection := self._connection()) and self._answers(connection):
                return connection
            tell("starting: store, registry, gateway")
            time.sleep(0.2)
        raise Stopped(f"the platform wasn't ready within {START_S} s\n{self.tail()}")

    def notes(self) -> list[str]:
        """Return what it said of itself while it started: what its store doesn't keep, which walls the host lacks."""
        start = self.log.read_text(errors="replace").partition("ready at")[0].splitlines()
        return [line for line in start if line and not line.startswith(HOW_TO)]

    def check(self) -> None:
        """Raise Stopped when the process has ended."""
        if self._process.poll() is not None:
            raise Stopped(f"the platform ended with status {self._process.returncode}\n{self.tail()}")

    def run(self, *arguments: str) -> str:
        """Return what another of its commands prints; raises CalledProcessError."""
        return subprocess.run([*self._command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> list[str]:
        """Stop it with SIGINT, as Ctrl-C does; return what it left running, which is killed now."""
        family = self._family()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs(list(family), timeout=3)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return [family[process] for process in left]

    def _family(self) -> dict[psutil.Process, str]:
        """Return its descendants, each with what a person knows it by."""
        found: dict[psutil.Process, str] = {}
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    found[process] = f"{process.pid} {' '.join(process.cmdline())[:120]}"
        return found

    def _connection(self) -> Connection | None:
        try:
            found: dict[str, Any] = json.loads((self.home / "connection.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None  # not yet, or half written
        return Connection(found["url"], found["ca"], found["key"])

    def _answers(self, connection: Connection) -> bool:
        try:
            return Control(connection).get("/v1/whoami") is not None
        except httpx.TransportError:
            return False


class Control:
    """The control API, asked over HTTPS with a key."""

    def __init__(self, connection: Connection) -> None:
        headers = {"Authorization": f"Bearer {connection.key}"}
        trust = ssl.create_default_context(cafile=connection.ca or None)
        self._client = httpx.Client(base_url=connection.url, headers=headers, verify=trust, timeout=30)

    def get(self, path: str, **params: str) -> Any:
        """Return an answer's JSON; None where there is nothing of that name yet."""
        answer = self._client.get(path, params=params)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return answer.raise_for_status().json()
