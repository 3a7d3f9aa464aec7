"""One deployment while the fleet has it: fetched, its replicas supervised, stopped and cleared away."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.domain.deployment import Deployment, FleetState, Running
from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet import fetch, supervision
from chalicelib.local.fleet.container_launch import launch_of
from chalicelib.local.fleet.folders import remove
from chalicelib.local.fleet.launch import Launch
from chalicelib.local.fleet.logs import Log
from chalicelib.local.fleet.replica import Supervised, within
from chalicelib.local.fleet.site import Site
from chalicelib.pipeline.ports import Bucket

_STARTING = Running(FleetState.STARTING)
_LONGEST_RETRY_S = 10.0
_log = logging.getLogger(__name__)


class Run:
    """A deployment on its way from wanted to gone. `seen`, `sockets` and `gone` are for every thread to read."""

    def __init__(
        self,
        deployment: Deployment,
        site: Site,
        *,
        store: Bucket,
        model: Path,
        logs: Path,
        changed: Callable[[str], None],
        fetches: Executor,
    ) -> None:
        self.id = deployment.id
        self.endpoint = deployment.endpoint
        self.begun = datetime.now(UTC)
        self.seen = _STARTING
        self.sockets: tuple[Path, ...] = ()
        self.gone = threading.Event()
        self._deployment = deployment
        self._site = site
        self._store = store
        self._model = model
        self._logs = logs
        self._changed = changed
        self._fetches = fetches
        self._stopping = asyncio.Event()
        self._replicas: list[Supervised] = []
        self._image = ""  # that they run
        self._start_s = 0.0  # until it was first ready
        self._life: asyncio.Task[None] | None = None

    @property
    def replica_mb(self) -> float:
        """The memory that its largest replica takes."""
        return max((one.used_mb for one in self._replicas), default=0.0)

    def begin(self, forget: "Callable[[Run], None]") -> None:
        self._life = asyncio.get_running_loop().create_task(self._live(forget))

    def stop(self) -> None:
        self._stopping.set()
        for one in self._replicas:
            one.stop()
        self._publish()

    async def _live(self, forget: "Callable[[Run], None]") -> None:
        """Run it until it is stopped. One that failed waits for that too: its reason is still to be read."""
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001  whatever broke, the others go on and this one says so
            _log.warning("deployment %s broke", self.id, exc_info=error)
            self._show(replace(self.seen, state=FleetState.FAILED, ready=0, reason=f"{type(error).__name__}: {error}"))
        await self._stopping.wait()
        self._publish()
        await asyncio.get_running_loop().run_in_executor(None, remove, self._model)
        forget(self)

    async def _run(self) -> None:
        try:
            if not await self._fetched():
                return
            launch = await asyncio.get_running_loop().run_in_executor(self._fetches, self._prepared)
        except fetch.Abandoned:
            return
        except fetch.Unfit as unfit:
            self._show(Running(FleetState.FAILED, reason=str(unfit)))
            return
        except Rejected as refused:  # by the operator or for want of an image, which may be there tomorrow
            self._show(Running(FleetState.FAILED, reason=str(refused), by_fleet=True))
            return
        if self._stopping.is_set():
            return
        self._image = launch.image
        self._replicas = [self._replica(launch, n) for n in range(1, self._deployment.resources.replicas + 1)]
        lives = [asyncio.ensure_future(one.supervise()) for one in self._replicas]
        await asyncio.wait(lives, return_when=asyncio.FIRST_COMPLETED)
        for one in self._replicas:
            one.stop()
        await asyncio.wait(lives)
        for life in lives:
            life.result()  # raises what broke

    async def _fetched(self) -> bool:
        """Fetch the model, again and again while the store can't be read; False when it is stopped meanwhile."""
        wait = 0.5
        while not self._stopping.is_set():
            try:
                await asyncio.get_running_loop().run_in_executor(self._fetches, self._fetch)
            except fetch.Abandoned:
                return False
            except fetch.Unfit:
                raise
            except Exception as error:  # noqa: BLE001  stores fail in their own words; a model isn't to blame for it
                reason = f"can't read the model store, trying again: {type(error).__name__}: {error}"
                self._show(replace(_STARTING, reason=reason))
                await within(wait, self._stopping.wait())
                wait = min(_LONGEST_RETRY_S, wait * 2)
            else:
                return True
        return False

    def _fetch(self) -> None:
        fetch.fetch(self._store, self._deployment, self._model, is_wanted=self._is_wanted)

    def _prepared(self) -> Launch:
        return launch_of(self._site, self._deployment, self._model, is_wanted=self._is_wanted)

    def _is_wanted(self) -> bool:
        return not self._stopping.is_set()

    def _replica(self, launch: Launch, n: int) -> Supervised:
        log = Log(self._logs / f"{self.id}-{n}.log")
        return Supervised(
            self._site,
            self._deployment,
            launch,
            model=self._model,
            log=log,
            changed=self._publish,
        )

    def _publish(self) -> None:
        """Show what the replicas are now. A failure stays: the others are being stopped because of it."""
        self.sockets = tuple(one.socket for one in self._replicas if one.socket)
        if self._stopping.is_set():
            self._show(replace(self.seen, state=FleetState.STOPPING, ready=len(self.sockets)))
        elif self._replicas and self.seen.state is not FleetState.FAILED:
            running = supervision.running([one.seen for one in self._replicas])
            if running.state is FleetState.READY and not self._start_s:
                self._start_s = (datetime.now(UTC) - self.begun).total_seconds()
            self._show(replace(running, image=self._image, start_s=self._start_s))

    def _show(self, seen: Running) -> None:
        if seen != self.seen:
            self.seen = seen
            asyncio.get_running_loop().call_soon(self._changed, self.id)
