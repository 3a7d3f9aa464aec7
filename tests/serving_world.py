"""The real serving program as a process: started with nothing of our environment, asked on its socket, ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

PROGRAM = Path(__file__).parents[1] / "serving_image"
READY_WITHIN_S = 120


@dataclass
class Replica:
    """A running process, its log lines and a client on its socket."""

    process: subprocess.Popen
    socket: Path
    log: list = field(default_factory=list)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://replica", timeout=60)

    def events(self, name: str) -> list:
        return [line for line in list(self.log) if line.get("event") == name]

    def until(self, claim, what: str):
        """Poll until the claim holds; what it gives back is the answer."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if found := claim():
                return found
            time.sleep(0.02)
        pytest.fail(f"{what} did not happen; the log: {self.log}")

    def until_ready(self):
        self.until(lambda: self.events("ready") or self.process.poll() is not None, "ready")
        assert self.events("ready"), self.log
        return self

    def until_exit(self) -> int:
        status = self.process.wait(READY_WITHIN_S)
        self.reader.join(READY_WITHIN_S)
        return status

    def follow(self):
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": "raw", "line": line.rstrip()})


@contextlib.contextmanager
def running(model_dir: Path, scratch: Path, *arguments: str, **env: str):
    """Start the program with nothing of our environment but PATH, as a supervisor does."""
    scratch.mkdir(parents=True, exist_ok=True)
    socket = scratch / "s"
    process = subprocess.Popen(
        [sys.executable, "-m", "modelserver", *arguments],
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROGRAM),
            "MODEL_DIR": str(model_dir),
            "MODELDROP_UDS": str(socket),
            "TMPDIR": str(scratch),
            "MODELDROP_DEVICE": "cpu",
            **env,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    replica = Replica(process, socket)
    replica.follow()
    try:
        yield replica
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        finally:
            process.kill()
            process.wait()
            replica.reader.join(10)
            process.stderr.close()
