"""The process: listen first, load on the model's thread, serve, drain on SIGTERM."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from modelserver.accepting import OpenCounts
from modelserver.app import App
from modelserver.doors import Doors, public, unix
from modelserver.engine import ModelThread
from modelserver.hot_load import Current, HotLoad
from modelserver.http import Connection
from modelserver.loading import Loaded, leave_to_stay, say_ready, served, start_loading
from modelserver.log import catch_logging, emit, failure
from modelserver.metrics import ServingMetrics
from modelserver.processes import Processes, SayReady
from modelserver.settings import Settings
from modelserver.siblings import OwnMetrics, Siblings

EXIT_NOT_STARTED = 2
EXIT_LOAD_FAILED = 3


def run(settings: Settings) -> int:
    """Serve until SIGTERM; return the exit status."""
    catch_logging()
    # What a handler prints is read by a supervisor through a pipe, line by line.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a real stream at start
    scratch = Path(tempfile.mkdtemp(prefix="modelserver-")).resolve()
    try:
        return _run(settings, scratch)
    except OSError as error:
        emit("listen_failed", error=str(error))
        return EXIT_NOT_STARTED
    finally:
        for path in (settings.uds, settings.control_socket):
            if path is not None:
                path.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _run(settings: Settings, scratch: Path) -> int:
    """Open the sockets, and serve on them as one process or as several; raises OSError."""
    listening = public(settings)
    control = unix(settings.control_socket) if settings.control_socket is not None else None
    emit("listening", address=str(settings.uds or f"{settings.host}:{settings.port}"))
    if settings.processes == 1:
        return uvloop.run(_serve(settings, Role(listening, scratch, control)))
    counts = OpenCounts(settings.processes)

    def serve(number: int, is_first: bool, say_ready: SayReady) -> int:  # noqa: FBT001 - what Processes says
        own = scratch / f"process-{number}"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        beside = Beside(Siblings(number, settings.processes, scratch), counts, say_ready, accepts_at_once=is_first)
        return uvloop.run(_serve(settings, Role(listening, own, None, beside)))

    return Processes(settings.processes, serve, counts.leave).run()


@dataclass(frozen=True, slots=True)
class Beside:
    """What one of several processes knows of the others, and whether it is the one that says it is loading."""

    siblings: Siblings
    counts: OpenCounts
    say_ready: SayReady
    accepts_at_once: bool


@dataclass(frozen=True, slots=True)
class Role:
    """What a process serves on, and with whom."""

    public: socket.socket
    scratch: Path
    control: socket.socket | None = None
    beside: Beside | None = None


async def _serve(settings: Settings, role: Role) -> int:
    loop = asyncio.get_running_loop()
    metrics = ServingMetrics()
    app = App(settings, metrics, role.beside.siblings if role.beside else None)
    doors = Doors(settings)
    metrics.connections = doors.connections
    first = role.scratch / "load-0"
    first.mkdir()
    if role.beside is None or role.beside.accepts_at_once:
        await _take_clients(app, role, doors)
    if role.control is not None:
        await doors.open(HotLoad(app, settings, metrics, Current(settings.model_dir, first)), role.control)
    if role.beside is not None:
        await doors.open(OwnMetrics(app.own_metrics), unix(role.beside.siblings.socket))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sweeper = asyncio.create_task(_sweep(doors.connections, settings))
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
            if role.beside is not None:
                await _join(app, role, role.beside, doors)
            await stop.wait()
            await _drain(app, doors, settings.drain_timeout_s)
    finally:
        sweeper.cancel()
        doors.close()
    return 0


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


async def _take_clients(app: App, role: Role, doors: Doors) -> None:
    if role.beside is None:
        await doors.open(app, role.public)
    else:
        doors.open_in_turn(app, role.public, role.beside.siblings.number, role.beside.counts)


async def _join(app: App, role: Role, beside: Beside, doors: Doors) -> None:
    """Take clients from now on, if not yet, and let the next process start."""
    if not beside.accepts_at_once:
        await _take_clients(app, role, doors)
    beside.say_ready()


async def _drain(app: App, doors: Doors, timeout_s: float) -> None:
    """Stop accepting, finish what is open, close what is idle."""
    app.drain()
    emit("draining", open_requests=app.open_requests)
    doors.close()
    deadline = time.monotonic() + timeout_s
    while doors.connections and time.monotonic() < deadline:
        # Until the last answer is out, an open connection can still ask how we are.
        if all(connection.is_idle for connection in doors.connections):
            for connection in list(doors.connections):
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
