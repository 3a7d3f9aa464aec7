"""A real platform in a process of its own, and those who use it: an uploader, an operator, apps with a steady load."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import boto3
import httpx
import psutil
from botocore.config import Config

from tests.event_check import check_document

ROOT = Path(__file__).parents[1]
MODELDROP = str(Path(sys.executable).with_name("modeldrop"))
DECIDING = {"model.mar", "saved_model.pb", "score.py", "predictor.py", "container.yaml"}
READY = 90.0  # seconds; a busy machine of two cores


def until(seen: Callable[[], object], seconds: float, what: str) -> object:
    """Return the first true value; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


class PlatformProcess:
    """`modeldrop up` on a home of the test's own."""

    def __init__(self, home: Path, *arguments: str, store: str = "minio", env: dict[str, str] | None = None) -> None:
        self.home = home
        self._env = env or environment()
        self.log = home.with_name(f"{home.name}.log")
        command = [MODELDROP, "--home", str(home), "up", "--store", store]
        self._command = [*command, "--port", "0", "--s3-port", "0", *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PlatformProcess":
        with self.log.open("ab") as log:
            log.write(b"--- start\n")
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=self._env
            )
        until(self._is_ready, READY, "the platform's ready line")
        return self

    def _is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"the platform ended:\n{self.log.read_text()[-4000:]}"
        return "ready at" in self.log.read_text().rpartition("--- start")[2]

    @property
    def said(self) -> str:
        """What it printed since its last start."""
        return self.log.read_text().rpartition("--- start")[2]

    def kill(self) -> list[psutil.Process]:
        """End it as a crash would, and return the processes that it had started."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        return children

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            for event in self.events():
                check_document(event)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    # --- the operator ------------------------------------------------------------------------------------------------
    @property
    def connection(self) -> dict[str, str]:
        return json.loads((self.home / "connection.json").read_text())

    @property
    def url(self) -> str:
        return self.connection["url"]

    def client(self, key: str = "") -> httpx.Client:
        trust = ssl.create_default_context(cafile=self.connection["ca"])
        headers = {"Authorization": f"Bearer {key or self.connection['key']}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=trust, timeout=60)

    def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, **more)

    def get(self, path: str) -> dict:
        answer = self.ask("GET", path)
        return answer.json() if answer.status_code == 200 else {}

    def key(self, *scopes: str) -> dict:
        return self.ask("POST", "/v1/keys", json={"name": "test", "scopes": list(scopes)}).json()

    def cli(self, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        command = [MODELDROP, "--home", str(self.home), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120, **more)

    def endpoint(self, name: str) -> dict:
        return self.get(f"/v1/endpoints/{name}")

    def serving(self, name: str) -> str:
        """Return the version id that an endpoint's promoted deployment is of, "" for none."""
        shown = self.endpoint(name)
        return shown["deployments"][shown["promoted"]]["version_id"] if shown.get("promoted") else ""

    def phase(self, name: str, version_id: str) -> str:
        """Return the phase of the newest rollout of a version, "" when there is none."""
        rollouts = self.get(f"/v1/rollouts?endpoint={name}")["rollouts"]
        return next((r["phase"] for r in reversed(rollouts) if r["version_id"] == version_id), "")

    def await_phase(self, name: str, version_id: str, phase: str, seconds: float = 90) -> None:
        ended = {"promoted", "rolled_back", "aborted", "superseded", "failed"}

        def seen() -> bool:
            now = self.phase(name, version_id)
            assert now == phase or now not in ended, f"{name}/{version_id} ended {now}: {self.said[-3000:]}"
            return now == phase

        until(seen, seconds, f"{name}/{version_id} {phase}; {self.said[-2000:]}")

    def events(self) -> list[dict]:
        """Return every event that was told."""
        file = self.home / "events.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    # --- the uploader ------------------------------------------------------------------------------------------------
    @property
    def s3(self):
        profile = (self.home / "aws-credentials").read_text()
        said = dict(re.findall(r"^(\w+) *= *(\S+)$", profile, re.MULTILINE))
        return boto3.client(
            "s3",
            endpoint_url=said["endpoint_url"],
            region_name=said["region"],
            aws_access_key_id=said["aws_access_key_id"],
            aws_secret_access_key=said["aws_secret_access_key"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def drop(self, prefix: str, files: dict[str, bytes]) -> None:
        """Upload what decides the format last: on a busy machine the time between two files may count as quiet."""
        s3 = self.s3
        for path in sorted(files, key=lambda p: (p in DECIDING, p)):
            s3.put_object(Bucket="drop", Key=prefix + path, Body=files[path])


@contextmanager
def platform(
    home: Path, *arguments: str, store: str = "minio", env: dict[str, str] | None = None
) -> Iterator[PlatformProcess]:
    """Run a platform; afterwards it stops as Ctrl-C would stop it, and nothing may be left."""
    running = PlatformProcess(home, *arguments, store=store, env=env)
    try:
        yield running.start()
        children = running.children()
        running.stop()
        gone, left = psutil.wait_procs(children, timeout=10)
        assert not left, f"left behind: {left}; of {len(gone) + len(left)}"
    finally:
        if running.process and running.process.poll() is None:
            running.kill()


@dataclass
class Answered:
    status: int  # 0: no answer
    version: str
    at: float
    took: float
    why: str = ""


@dataclass
class Load:
    """Apps that call one endpoint at a steady rate, each over its own kept-alive connection, until told to stop."""

    platform: PlatformProcess
    endpoint: str
    per_second: float = 30.0
    callers: int = 4
    body: object = field(default_factory=lambda: {"instances": [[1.0, 2.0]]})
    answers: list[Answered] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._key = self.platform.key(f"predict:{self.endpoint}")["key"]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answered]:
        return [a for a in self.answers if a.status == 0 or a.status >= 500]

    def _call(self, number: int) -> None:
        pause = self.callers / self.per_second
        with self.platform.client(self._key) as client:
            due = time.monotonic() + pause * number / self.callers
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + pause, time.monotonic())
                self._once(client)

    def _once(self, client: httpx.Client) -> None:
        began = time.time()
        try:
            answer = client.post(f"/v1/endpoints/{self.endpoint}/predict", json=self.body)
        except httpx.HTTPError as error:
            self.answers.append(Answered(0, "", began, time.time() - began, repr(error)))
        else:
            version = answer.headers.get("x-modeldrop-version", "")
            why = answer.text[:300] if answer.status_code >= 400 else ""
            self.answers.append(Answered(answer.status_code, version, began, time.time() - began, why))


def environment(**more: str) -> dict[str, str]:
    """Return a person's environment, without AWS settings of this machine."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", **more}


def aws(running: PlatformProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real aws cli, as the README calls it."""
    profile = running.home / "aws-credentials"
    endpoint = next(line.split("=")[1].strip() for line in profile.read_text().splitlines() if "endpoint" in line)
    command = ["aws", "--profile", "modeldrop", "--endpoint-url", endpoint, *arguments]
    env = environment(AWS_SHARED_CREDENTIALS_FILE=str(profile))
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
