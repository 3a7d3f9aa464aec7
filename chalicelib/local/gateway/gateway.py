"""The gateway as a part of the platform: one thread with one loop, started, refreshed and drained from outside."""

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.counters import Counters, Throttle
from chalicelib.local.gateway.predict import Predictor
from chalicelib.local.gateway.routes import Routes
from chalicelib.local.gateway.sampling import Sampler
from chalicelib.local.gateway.server import Connections, Limits
from chalicelib.local.gateway.service import GatewayService, StoreEvent, StoreEvents
from chalicelib.local.gateway.shadowing import Keep, Shadows
from chalicelib.pipeline.ports import Registry

RELOAD = 1.0  # seconds: the level trigger behind `refresh`
TROUBLE_PAUSE = 0.25  # seconds between two calls of on_trouble for one deployment
UPSTREAM_TIMEOUT = 60.0
BACKLOG = 1024
HANDSHAKE = 10.0  # seconds for TLS to begin, and
SHUTDOWN = 2.0  # to end
THREADS = 8  # for the control API and the store's events

log = logging.getLogger(__name__)


def _ignore(endpoint: str, deployment: str) -> None:
    """Nobody asked to be told of trouble."""


def _keep_nothing(key: str, body: bytes) -> None:
    """Nobody keeps disagreements."""


def _no_events(headers: dict[str, str], body: bytes) -> int:  # noqa: ARG001
    return 404


@dataclass(frozen=True)
class Wiring:
    """What the gateway needs of the platform.

    `sockets` returns those of a deployment's ready replicas, at once, on the gateway's loop. `on_trouble(endpoint,
    deployment_id)` is called on the loop too, soon after a failed or non-finite answer, and must not block.
    `on_store_event(headers, body)` returns a status and may block; `keep(key, body)`, which keeps an object in the
    model store, may, too.
    """

    registry: Registry
    sockets: Callable[[str], Sequence[Path]]
    control: ControlPlane | None = None
    on_trouble: Callable[[str, str], None] = _ignore
    on_store_event: StoreEvent = _no_events
    keep: Keep = _keep_nothing
    limits: Limits = field(default_factory=Limits)
    upstream_timeout: float = UPSTREAM_TIMEOUT


class Gateway:
    """Serves from `start` to `stop`; `counters` is the platform's Metrics."""

    def __init__(self, wiring: Wiring, tls: ssl.SSLContext) -> None:
        self._wiring = wiring
        self._tls = tls
        self.counters = Counters()
        self._sampler = Sampler(self.counters)
        self.routes = Routes(wiring.registry)
        self._shadows = Shadows(self.counters, self.routes, wiring.sockets, wiring.keep)
        self.port = 0
        self.events_port = 0
        self._stopping = threading.Event()
        self._started: Future[None] = Future()
        self._drain_time = 0.0
        self._threads = [
            threading.Thread(target=self._run, name="gateway"),
            threading.Thread(target=self._reload, name="gateway-reload"),
        ]

    @property
    def ready(self) -> bool:
        """It listens, and isn't draining."""
        return self._started.done() and not self._started.exception() and not self._stopping.is_set()

    def start(self, host: str, port: int, *, events_port: int = 0) -> None:
        """Listen, and return once it does; port 0 takes a free one. Raises OSError where it can't."""
        self._bind = (host, port, events_port)
        self.routes.reload()
        serving, reloading = self._threads
        serving.start()
        try:
            self._started.result()
        except BaseException:
            self.stop(0)
            raise
        reloading.start()

    def stop(self, within: float = 30.0) -> None:
        """Take no more connections, finish what is being answered, close."""
        self._drain_time = within
        self._stopping.set()
        if self._started.done() and not self._started.exception():
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(self._wake.set)
        for thread in self._threads:
            if thread.ident:  # it was started
                thread.join()

    def refresh(self, name: str) -> None:
        """See a commit to an endpoint or a key at once. Any thread may call it."""
        self.routes.refresh(name)

    def use_certificate(self, certificate: Path, key: Path) -> None:
        """Serve new connections with this certificate from now on; open ones go on. Any thread may call it."""
        self._tls.load_cert_chain(certificate, key)

    # --- the threads ------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as problem:
            if self._started.done():
                raise
            self._started.set_exception(problem)

    def _reload(self) -> None:
        while not self._stopping.wait(RELOAD):
            try:
                self.routes.reload()
            except Exception:  # a process loop: the registry may be back in a second
                log.exception("the registry can't be read; going on with what is known")
            self.counters.forget(self.routes.deployments)
            self._sampler.forget(self.routes.deployments)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        predictor = Predictor(
            sockets=self._wiring.sockets,
            counters=self.counters,
            on_trouble=Throttle(self._wiring.on_trouble, TROUBLE_PAUSE, self._loop.call_later),
            timeout=self._wiring.upstream_timeout,
            sampler=self._sampler,
            shadows=self._shadows,
        )
        with self._sampler, self._shadows, ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-work") as pool:
            service = GatewayService(
                routes=self.routes,
                predictor=predictor,
                counters=self.counters,
                control=self._wiring.control,
                pool=pool,
            )
            callers = Connections(service, self._wiring.limits)
            store = Connections(StoreEvents(self._wiring.on_store_event, pool), self._wiring.limits)
            pruning = self._loop.create_task(predictor.replicas.prune())
            await self._listen(callers, store)
            pruning.cancel()
            await asyncio.gather(callers.drain(self._drain_time), store.drain(self._drain_time))
        predictor.replicas.close()

    async def _listen(self, callers: Connections, store: Connections) -> None:
        """Serve both until told to stop."""
        host, port, events_port = self._bind
        loop = self._loop
        public = await loop.create_server(
            callers,
            host,
            port,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE,
            ssl_shutdown_timeout=SHUTDOWN,
        )
        internal = await loop.create_server(store, "127.0.0.1", events_port, backlog=BACKLOG)
        self.port = public.sockets[0].getsockname()[1]
        self.events_port = internal.sockets[0].getsockname()[1]
        sweeps = [loop.create_task(each.sweep()) for each in (callers, store)]
        self._started.set_result(None)
        await self._wake.wait()
        for server in (public, internal):
            server.close()
        for sweep in sweeps:
            sweep.cancel()
