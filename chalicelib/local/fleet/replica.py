"""One replica: started, watched, started again when it ends by itself, drained when it is told to stop."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from chalicelib.domain.deployment import Deployment
from chalicelib.local.fleet import supervision
from chalicelib.local.fleet.host import open_cell
from chalicelib.local.fleet.launch import Launch, Started
from chalicelib.local.fleet.logs import Log
from chalicelib.local.fleet.ping import Answer, ping
from chalicelib.local.fleet.sandbox import Cell
from chalicelib.local.fleet.site import Site
from chalicelib.local.fleet.supervision import GiveUp, Replica

_STARTING_PING_S = 0.1
_READY_PING_S = 1.0
_MEMORY_S = 0.5
_STRIKES = 3  # pings without an answer


class Supervised:
    """A replica and its supervision. Everything happens on the fleet's own loop; `seen` is what others may read."""

    def __init__(
        self,
        site: Site,
        deployment: Deployment,
        launch: Launch,
        *,
        model: Path,
        log: Log,
        changed: Callable[[], None],
    ) -> None:
        self.seen = Replica()
        self.used_mb = 0.0  # when it was last measured
        self.socket: Path | None = None  # while it is ready
        self._site = site
        self._deployment = deployment
        self._launch = launch
        self._model = model
        self._log = log
        self._changed = changed
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask it to drain and end; `supervise` returns when it has."""
        self._stopping.set()

    async def supervise(self) -> None:
        """Keep it running until it is stopped or is given up."""
        while not self._stopping.is_set():
            reason, steady = await self._attempt()
            if self._stopping.is_set():
                break
            ends = 1 if steady else self.seen.ends + 1
            self._see(replace(self.seen, ready=False, reason=reason, ends=ends))
            match supervision.after_end(self.seen):
                case GiveUp(reason):
                    self._see(replace(self.seen, failed=True, reason=reason))
                    return
                case supervision.Restart(after_s):
                    await within(after_s, self._stopping.wait())
                    self._see(replace(self.seen, restarts=self.seen.restarts + 1))

    async def _attempt(self) -> tuple[str, bool]:
        """Start it once; return why it ended and whether it had been steady."""
        with open_cell(self._site.runtime, self._launch.walls, self._model) as cell:
            process = self._launch.start(cell)
            since = self._log.mark()
            began = time.monotonic()
            end = asyncio.ensure_future(process.ended(self._log))
            try:
                reason = await self._first_reason(process, cell, end, since)
                return reason, self.seen.ready and time.monotonic() - began > supervision.STEADY_S
            finally:
                self.socket = None
                if self._stopping.is_set():
                    await self._drain(process, end)
                if not end.done():  # once it is, its number may be another's
                    process.kill()
                await end

    async def _first_reason(self, process: Started, cell: Cell, end: asyncio.Future[int], since: int) -> str:
        """Watch it from all sides and return the first reason why it can't go on (or was stopped)."""
        watches: list[asyncio.Future[str]] = [
            asyncio.ensure_future(watch)
            for watch in (
                self._until_end(end, since),
                self._until_unwell(cell, since),
                self._until_too_big(process),
                self._until_stopped(),
            )
        ]
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            return next(watch.result() for watch in watches if watch.done())
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _until_end(self, end: asyncio.Future[int], since: int) -> str:
        code = await asyncio.shield(end)
        return supervision.how_it_ended(code, self._log.lines(200, since))

    async def _until_unwell(self, cell: Cell, since: int) -> str:
        """Return when it isn't ready in time, or was and stopped answering."""
        patience = self._deployment.resources.start_timeout_s
        if not await within(patience, self._until_ready(cell)):
            return supervision.too_slow(patience, self._log.lines(200, since))
        strikes = 0
        while strikes < _STRIKES:
            await asyncio.sleep(_READY_PING_S)
            answer = await ping(cell.socket)
            strikes = 0 if answer.ready else strikes + 1
            self._heard(answer, cell)
        return f"stopped answering: {_STRIKES} pings in a row got no answer"

    async def _until_ready(self, cell: Cell) -> None:
        while not (answer := await ping(cell.socket)).ready:  # noqa: ASYNC110  another process tells nobody
            await asyncio.sleep(_STARTING_PING_S)
        self._heard(answer, cell)

    def _heard(self, answer: Answer, cell: Cell) -> None:
        if answer.ready:
            self.socket = cell.socket
            self._see(replace(self.seen, ready=True, was_ready=True, digest=answer.digest))

    async def _until_too_big(self, process: Started) -> str:
        limit = self._deployment.resources.memory_mb
        while (used := process.used_mb()) <= limit:
            self.used_mb = used
            await asyncio.sleep(_MEMORY_S)
        return supervision.too_big(used, limit)

    async def _until_stopped(self) -> str:
        await self._stopping.wait()
        return "was stopped"

    async def _drain(self, process: Started, end: asyncio.Future[int]) -> None:
        self._see(replace(self.seen, ready=False))
        process.terminate()
        await asyncio.wait([end], timeout=self._site.drain_s)

    def _see(self, seen: Replica) -> None:
        if seen != self.seen:
            self.seen = seen
            self._changed()


async def within(seconds: float, work: Coroutine[None, None, object]) -> bool:
    """Do some work; tell whether it was done in time."""
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        return False
    return True
