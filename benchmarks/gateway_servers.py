"""What the gateway's numbers are measured on: a real platform, the same replicas without it, and a proxy as a peer."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks import serving_peers
from benchmarks.serving_process import Command, NotStarted, Running, free_port
from tests.platform_world import PlatformProcess

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("httptools", "httpx", "starlette", "uvicorn", "uvloop")  # what the proxy stands on


def promote(platform: PlatformProcess, model: str, archive: Path) -> None:
    """Drop an archive and wait until it serves."""
    done = platform.cli("push", str(archive / "model.mar"), f"{model}/1", "--wait")
    if done.returncode:
        raise NotStarted(f"{model} isn't served: {done.stdout}{done.stderr}")


def replica_of(platform: PlatformProcess, model: str) -> dict[str, str]:
    """Return the environment of the platform's replica of a model; MODELDROP_UDS in it is its socket."""
    for process in platform.children():
        if "modelserver" in process.cmdline():
            env: dict[str, str] = process.environ()
            if env.get("MODELDROP_MODEL_NAME") == model:
                return env
    raise NotStarted(f"the platform has no replica of {model}")


@contextmanager
def direct(model: str, archive: Path, same_as: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run the serving program as the platform does, but on TCP and without walls; yield its predict URL."""
    port, scratch = free_port(), folder / f"{model}-scratch"
    scratch.mkdir()
    env = {name: value for name, value in same_as.items() if name != "MODELDROP_UDS"}
    env |= {"MODEL_DIR": str(archive), "TMPDIR": str(scratch), "HOME": str(scratch), "AIP_HTTP_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with _running(Command([sys.executable, "-m", "modelserver"], env, scratch), folder / f"{model}.txt") as running:
        running.until_right(_answers(f"{url}/health"))
        yield f"{url}/predict"


@contextmanager
def proxy(platform: PlatformProcess, sockets: Mapping[str, str], key: str, folder: Path) -> Iterator[str]:
    """Run the Starlette proxy before the platform's own replicas, whose sockets are given by model; yield its URL."""
    port, settings = free_port(), folder / "proxy.json"
    tls = platform.home / "tls"
    said = {
        "port": port,
        "certificate": str(tls / "server.pem"),
        "key": str(tls / "server-key.pem"),
        "keys": [{"sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["predict:*"]}],
        "endpoints": {m: {"weights": {f"{m}-1": 100}, "sockets": {f"{m}-1": s}} for m, s in sockets.items()},
    }
    settings.write_text(json.dumps(said))
    program = [str(serving_peers.install()), str(serving_peers.HERE / "starlette_proxy.py"), str(settings)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    url = f"https://localhost:{port}"
    with _running(Command(program, env, folder), folder / "proxy.txt") as running:
        running.until_right(_answers(f"{url}/metrics"))
        yield url


@contextmanager
def _running(command: Command, log: Path) -> Iterator[Running]:
    running = Running(command, log)
    try:
        yield running
    finally:
        running.stop()


def _answers(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            return httpx.get(url, verify=False, trust_env=False).is_success  # noqa: S501  # our own, of this moment
        except httpx.HTTPError:
            return False

    return answers
