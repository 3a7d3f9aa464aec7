"""The fleet of one machine: deployments as supervised serving processes (ports.Fleet).

One thread with one event loop starts and watches every process, for as long as the fleet is open: a process that asked
to die with its parent dies with the *thread* that started it. Callers read snapshots and never wait for that thread,
but in `close`.
"""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Self

from chalicelib.domain.deployment import Deployment, FleetState, Running
from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet import container_leftovers, host, logs, room, sandbox
from chalicelib.local.fleet.environment import gpu_variables
from chalicelib.local.fleet.folders import remove
from chalicelib.local.fleet.host import Isolation
from chalicelib.local.fleet.run import Run
from chalicelib.local.fleet.site import Containers, Site
from chalicelib.local.home import Home
from chalicelib.pipeline.ports import ONE, Bucket, Capacity

_FETCHES = 2  # at once
# Stable and canary compute at the same time: threads beyond the processors make both wait for each other.
_SHARERS = 2
_ABSENT = Running(FleetState.ABSENT)
_log = logging.getLogger(__name__)


class Occupied(Rejected):
    """Another platform runs on the same home."""


class LocalFleet:
    """Runs deployments on this machine; `isolation.report` says which walls it can't give them."""

    def __init__(
        self,
        store: Bucket,
        home: Home,
        *,
        server: Sequence[str],
        server_path: Path,
        on_change: Callable[[str], None] = lambda _: None,
        threads: int | None = None,
        drain_s: float = 30.0,
        containers: Containers | None = None,
        free_mb: Callable[[], float] = room.free_mb,
    ) -> None:
        """Take the home for us alone and try the walls. `server` is what a replica runs, `server_path` its PYTHONPATH.

        `containers` lets it run containers, too. Raises Occupied when another platform has the home, OSError when no
        process can be started at all.
        """
        self._store = store
        self._home = home
        self._on_change = on_change
        self._free_mb = free_mb
        self._lock = _take(home)
        _sweep(home, self._lock)
        container_leftovers.sweep(home, containers)
        self._runtime = host.make_runtime_folder()
        _remember(self._runtime, self._lock)
        here = host.this_host(server_path.resolve())
        self.isolation: Isolation = host.isolation(here, self._runtime, home.models)
        self._models = sandbox.models_folder(self.isolation.walls, home.models, self._runtime)
        self._site = Site(
            walls=self.isolation.walls,
            host=here,
            runtime=self._runtime,
            server=tuple(server),
            server_path=server_path.resolve(),
            threads=threads or max(1, (os.cpu_count() or 1) // _SHARERS),
            gpu=gpu_variables(os.environ, has_gpu=here.has_gpu),
            drain_s=drain_s,
            containers=containers,
        )
        self._guard = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._fetches = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ensure(self, deployment: Deployment, capacity: Capacity = ONE) -> None:
        """Start it unless it runs; its replicas are as many as it says, whatever the traffic."""
        del capacity
        with self._guard:
            if deployment.id in self._runs:
                return
            run = Run(
                deployment,
                self._site,
                store=self._store,
                model=self._models / deployment.id,
                logs=self._home.logs,
                changed=self._on_change,
                fetches=self._fetches,
            )
            self._runs[deployment.id] = run
        self._loop.call_soon_threadsafe(lambda: run.begin(self._forget))

    def observe(self, deployment_id: str) -> Running:
        run = self._runs.get(deployment_id)
        return run.seen if run else _ABSENT

    def lacks(self, deployment: Deployment) -> str:
        """Compare the memory that is free with what the endpoint's other replicas take each, where such run."""
        others = [run.replica_mb for run in list(self._runs.values()) if run.endpoint == deployment.endpoint]
        return room.lacks(deployment.resources.replicas, max(others, default=0.0), self._free_mb())

    def stop(self, deployment_id: str) -> None:
        if run := self._runs.get(deployment_id):
            self._loop.call_soon_threadsafe(run.stop)

    def deployments(self, before: datetime | None = None) -> Sequence[str]:
        with self._guard:
            return sorted(id_ for id_, run in self._runs.items() if before is None or run.begun < before)

    def sockets(self, deployment_id: str) -> Sequence[Path]:
        """Return the Unix sockets of its ready replicas."""
        run = self._runs.get(deployment_id)
        return run.sockets if run else ()

    def logs(self, deployment_id: str, lines: int = 200) -> list[str]:
        """Return the newest lines that its replicas printed, replica by replica; also after it was stopped."""
        files = sorted(self._home.logs.glob(f"{deployment_id}-*.log"))
        return [line for file in files for line in logs.tail(file, lines)][-lines:]

    def stop_all(self) -> None:
        """Drain and stop everything, all at once, and wait until it has ended."""
        for run in list(self._runs.values()):
            self._loop.call_soon_threadsafe(run.stop)
        for run in list(self._runs.values()):
            run.gone.wait()

    def close(self) -> None:
        """Stop everything and leave nothing behind."""
        self.stop_all()
        self._fetches.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        remove(self._runtime)
        os.close(self._lock)

    def _forget(self, run: Run) -> None:
        with self._guard:
            del self._runs[run.id]
        run.gone.set()
        self._on_change(run.id)


def _take(home: Home) -> int:
    """Lock the home's fleet file and return its descriptor."""
    home.make()
    home.logs.mkdir(exist_ok=True)
    lock = os.open(home.root / "fleet.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Occupied(
            f"a platform is already running on {home.root}; stop it, or set MODELDROP_HOME", code="in_use"
        ) from None
    return lock


def _remember(runtime: Path, lock: int) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, os.fsencode(runtime), 0)


def _sweep(home: Home, lock: int) -> None:
    """Remove what a killed platform left: the runtime folder that it wrote down, and the models that it fetched."""
    left = Path(os.fsdecode(os.pread(lock, 4096, 0)))
    if left.name.startswith("md-") and left.is_dir() and left.stat().st_uid == os.geteuid():
        remove(left)
    remove(home.models)
