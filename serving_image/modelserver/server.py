"""The process: listen first, load on the model's thread, serve, drain on SIGTERM."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop

from modelserver.app import App
from modelserver.engine import ModelThread
from modelserver.hot_load import Current, HotLoad
from modelserver.http import Application, Connection, Limits
from modelserver.loading import Loaded, leave_to_stay, say_ready, served, start_loading
from modelserver.log import catch_logging, emit, failure
from modelserver.metrics import ServingMetrics
from modelserver.settings import Settings

EXIT_NOT_STARTED = 2
EXIT_LOAD_FAILED = 3
BACKLOG = 1024


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
    metrics.connections = connections
    first = scratch / "load-0"
    first.mkdir()
    hot_load = HotLoad(app, settings, metrics, Current(settings.model_dir, first))
    try:
        servers = [await _listen(settings, app, settings.uds, connections)]
        if settings.control_socket is not None:
            servers.append(await _listen(settings, hot_load, settings.control_socket, connections, mode=0o600))
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
        loaded = await _load_or_stop(settings, first, thread, stop)
        if isinstance(loaded, BaseException):
            emit("load_failed", **failure(loaded, (first / "model", settings.model_dir)))
            return EXIT_LOAD_FAILED
        if loaded is not None:
            leave_to_stay()
            app.serve(served(loaded, thread, settings, metrics))
            say_ready("ready", loaded)
            await stop.wait()
            await _drain(app, servers, connections, settings.drain_timeout_s)
    finally:
        sweeper.cancel()
        _close(servers)
        for path in (settings.uds, settings.control_socket):
            if path is not None:
                path.unlink(missing_ok=True)
    return 0


async def _listen(
    settings: Settings, app: Application, uds: Path | None, connections: set[Connection], mode: int = 0o666
) -> asyncio.Server:
    """Listen on a Unix socket or, without one, on the port; a supervisor with another uid may connect to ours."""
    loop = asyncio.get_running_loop()
    limits = Limits(
        max_body=settings.max_body,
        max_header=settings.max_header,
        read_timeout_s=settings.read_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )

    def connect() -> Connection:
        return Connection(app, limits, connections)

    if uds is None:
        return await loop.create_server(connect, settings.host, settings.port, backlog=BACKLOG)
    return await loop.create_unix_server(connect, sock=_bound(uds, mode), backlog=BACKLOG)


def _bound(path: Path, mode: int) -> socket.socket:
    """Bind with the mode set before anybody can connect."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(mode)
    return bound


async def _load_or_stop(
    settings: Settings, scratch: Path, thread: ModelThread, stop: asyncio.Event
) -> Loaded | BaseException | None:
    """Load the first version; None when told to stop meanwhile."""
    done = start_loading(settings, scratch, thread)
    stopped = asyncio.ensure_future(stop.wait())
    waited: set[asyncio.Future[Any]] = {done, stopped}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return done.result() if done.done() else None


def _close(servers: Iterable[asyncio.Server]) -> None:
    for server in servers:
        server.close()


async def _drain(app: App, servers: Iterable[asyncio.Server], connections: set[Connection], timeout_s: float) -> None:
    """Stop accepting, finish what is open, close what is idle."""
    app.drain()
    emit("draining", open_requests=app.open_requests)
    _close(servers)
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
        now = time.perf_counter()
        for connection in list(connections):
            connection.sweep(now)


def exit_now(status: int) -> None:
    """End without waiting for threads that a model left behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
