"""The real TorchServe, for comparison: its Java server and its workers, started once on several archives."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

BIN = Path(sys.executable).parent
READY_WITHIN_S = 180
# The cheapest way to start Java: one compiler, one collector, few threads.
JAVA = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def configuration(home: Path, ports: list[int], names: list[str]) -> str:
    """Say all that TorchServe would else choose itself; no token, for nobody else can reach it."""
    return "\n".join(
        (
            f"inference_address=http://127.0.0.1:{ports[0]}",
            f"management_address=http://127.0.0.1:{ports[1]}",
            f"metrics_address=http://127.0.0.1:{ports[2]}",
            f"grpc_inference_port={ports[3]}",
            f"grpc_management_port={ports[4]}",
            f"model_store={home / 'store'}",
            "load_models=" + ",".join(f"{name}={name}.mar" for name in names),
            "default_workers_per_model=1",
            "number_of_netty_threads=1",
            "disable_token_authorization=true",
            "enable_model_api=true",
            "disable_system_metrics=true",
            f"vmargs={JAVA}",
            "",
        )
    )


@contextlib.contextmanager
def torchserve(folders: dict[str, Path], home: Path):
    """Serve each folder's model.mar under its name, until the last worker has loaded; yield a client."""
    if shutil.which("java") is None:
        pytest.skip("no Java, which TorchServe needs, to compare with")
    if not (BIN / "torchserve").exists():
        pytest.skip("no TorchServe to compare with")
    (home / "store").mkdir(parents=True)
    (home / "tmp").mkdir()
    for name, folder in folders.items():
        shutil.copy(folder / "model.mar", home / "store" / f"{name}.mar")
    ports = free_ports(5)
    (home / "config.properties").write_text(configuration(home, ports, list(folders)))
    log = home / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / "torchserve", "--foreground", "--ncs", "--ts-config", home / "config.properties"],
            cwd=home,
            env={
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(home),
                "TEMP": str(home / "tmp"),
                "TMPDIR": str(home / "tmp"),
                "LOG_LOCATION": str(home / "logs"),
                "METRICS_LOCATION": str(home / "logs"),
                "OMP_NUM_THREADS": "1",
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until_loaded(process, log, len(folders))
        with httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=60) as client:
            yield client
    finally:
        # Java and its workers are in the group that this process leads.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_loaded(process: subprocess.Popen, log: Path, count: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while (text := log.read_text(errors="replace")).count("-> WORKER_MODEL_LOADED") < count:
        assert process.poll() is None, text[-4000:]
        assert time.monotonic() < deadline, text[-4000:]
        time.sleep(0.1)
