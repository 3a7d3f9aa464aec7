"""The process: listen first, load on the model's thread, serve, drain on SIGTERM."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from modelserver import formats
from modelserver.app import App, Served
from modelserver.digest import folder_digest
from modelserver.engine import Engine, ModelThread, Pace
from modelserver.formats import Model
from modelserver.http import Connection, Limits
from modelserver.log import catch_logging, emit, failure
from modelserver.metrics import ServingMetrics
from modelserver.settings import Settings
from modelserver.warmup import warm_up

EXIT_NOT_STARTED = 2
EXIT_LOAD_FAILED = 3
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    model: Model
    digest: str
    warmup: str
    seconds: float


def run(settings: Settings) -> int:
    """Serve until SIGTERM; return the exit status."""
    catch_logging()
    # What a handler prints is read by a supervisor through a pipe, line by line.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a real stream at start
    scratch = Path(tempfile.mkdtemp(prefix="modelserver-")).resolve()
    try:
        return uvloop.run(_serve(settings, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def _serve(settings: Settings, scratch: Path) -> int:
    loop = asyncio.get_running_loop()
    metrics = ServingMetrics()
    app = App(settings, metrics)
    connections: set[Connection] = set()
    try:
        server = await _listen(settings, app, connections)
    except OSError as error:
        emit("listen_failed", error=str(error))
        return EXIT_NOT_STARTED
    emit("listening", address=str(settings.uds or f"{settings.host}:{settings.port}"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sweeper = asyncio.create_task(_sweep(connections, settings))
    thread = ModelThread()
    try:
        loaded = await _load_or_stop(settings, scratch, thread, stop)
        if isinstance(loaded, BaseException):
            emit("load_failed", **failure(loaded, (scratch / "model", settings.model_dir)))
            return EXIT_LOAD_FAILED
        if loaded is not None:
            app.serve(_served(loaded, thread, settings, metrics))
            _say_ready(loaded)
            await stop.wait()
            await _drain(app, server, connections, settings.drain_timeout_s)
    finally:
        sweeper.cancel()
        server.close()
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)
    return 0


async def _listen(settings: Settings, app: App, connections: set[Connection]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    limits = Limits(
        max_body=settings.max_body,
        max_header=settings.max_header,
        read_timeout_s=settings.read_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )

    def connect() -> Connection:
        return Connection(app, limits, connections)

    if settings.uds is None:
        return await loop.create_server(connect, settings.host, settings.port, backlog=BACKLOG)
    settings.uds.unlink(missing_ok=True)
    server = await loop.create_unix_server(connect, str(settings.uds), backlog=BACKLOG)
    # A supervisor with another uid has to be able to connect.
    settings.uds.chmod(0o666)
    return server


async def _load_or_stop(
    settings: Settings, scratch: Path, thread: ModelThread, stop: asyncio.Event
) -> Loaded | BaseException | None:
    """Load on the model's thread; None when told to stop meanwhile."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Loaded | BaseException] = loop.create_future()

    def load() -> None:
        loop.call_soon_threadsafe(done.set_result, _load(settings, scratch))

    thread.submit(load)
    stopped = asyncio.ensure_future(stop.wait())
    waited: set[asyncio.Future[Any]] = {done, stopped}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return done.result() if done.done() else None


def _load(settings: Settings, scratch: Path) -> Loaded | BaseException:
    """Load, warm up and digest; whatever the model raises (exits included) is the answer."""
    started = time.monotonic()
    try:
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(folder_digest, settings.model_dir)
            model = formats.load(settings, scratch)
            warmup = warm_up(model, settings.model_dir)
            return Loaded(model, digest.result(), warmup, time.monotonic() - started)
    except BaseException as error:  # noqa: BLE001 - a model may raise anything while it loads
        return error


def _served(loaded: Loaded, thread: ModelThread, settings: Settings, metrics: ServingMetrics) -> Served:
    engine = Engine(
        loaded.model.predict,
        thread,
        max_batch=loaded.model.max_batch or settings.max_batch,
        max_queue=settings.max_queue,
        timeout_s=settings.request_timeout_s,
        observer=metrics,
        pace=Pace(loaded.model.only_computes),
    )
    return Served(loaded.model, engine, loaded.digest, loaded.warmup)


def _say_ready(loaded: Loaded) -> None:
    model = loaded.model
    emit(
        "ready",
        digest=loaded.digest,
        format=model.format,
        device=model.device,
        warmup=loaded.warmup,
        seconds=round(loaded.seconds, 3),
    )


async def _drain(app: App, server: asyncio.Server, connections: set[Connection], timeout_s: float) -> None:
    """Stop accepting, finish what is open, close what is idle."""
    app.drain()
    emit("draining", open_requests=app.open_requests)
    server.close()
    deadline = time.monotonic() + timeout_s
    while connections and time.monotonic() < deadline:
        # Until the last answer is out, an open connection can still ask how we are.
        if all(connection.is_idle for connection in connections):
            for connection in list(connections):
                connection.close()
        await asyncio.sleep(0.005)
    emit("stopped", unfinished=app.open_requests)


async def _sweep(connections: set[Connection], settings: Settings) -> None:
    period = min(1.0, settings.read_timeout_s / 4)
    while True:
        await asyncio.sleep(period)
        now = time.monotonic()
        for connection in list(connections):
            connection.sweep(now)


def exit_now(status: int) -> None:
    """End without waiting for threads that a model left behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
