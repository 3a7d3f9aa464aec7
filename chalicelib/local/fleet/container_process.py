"""One container: started by the engine's command, which stays as long as it runs, measured, ended with all in it."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import psutil

from chalicelib.local import die_with_parent
from chalicelib.local.fleet.container_engine import Engine
from chalicelib.local.fleet.container_front import Orders
from chalicelib.local.fleet.logs import Log
from chalicelib.local.fleet.process import MB, Process, kept_in_memory, resident
from chalicelib.local.fleet.sandbox import SCRATCH, Cell

T = TypeVar("T")
_LOOK_S = 0.2  # between looks whether it runs
_FRONT = "chalicelib.local.fleet.container_front"
_ROOT = Path(__file__).parents[3]
_BARE = {"LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class ContainerProcess:
    """A container and, before a custom one, its front. To be started on a thread that lives as long as we do."""

    def __init__(self, engine: Engine, cell: Cell, name: str, command: Process, orders: Orders | None) -> None:
        self._engine = engine
        self._cell = cell
        self._name = name
        self._command = command
        self._orders = orders
        self._pid = 0  # of its first process, as we see it; 0 until it is known
        self._killing: asyncio.Future[None] | None = None

    @classmethod
    def start(cls, engine: Engine, cell: Cell, *, name: str, run: Sequence[str], orders: Orders | None) -> Self:
        popen = subprocess.Popen(
            die_with_parent.command([*engine.command, *run]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(engine, cell, name, Process(popen, cell, has_own_root=False), orders)

    async def ended(self, log: Log) -> int:
        """Keep what it prints until it ends, and clear it away; return how it ended."""
        front = asyncio.ensure_future(self._stand_in_front(log))
        try:
            return await self._command.ended(log)
        finally:
            front.cancel()
            await asyncio.gather(front, return_exceptions=True)
            await _in_thread(self._engine.end, self._name)

    async def _stand_in_front(self, log: Log) -> None:
        """Run the front as long as the container runs; a container whose front has ended is killed."""
        while not self._pid:
            self._pid = await _in_thread(self._engine.pid, self._name)
            await asyncio.sleep(0 if self._pid else _LOOK_S)
        if self._orders:
            pid = self._pid if self._engine.own_network else 0
            front = _start_front(replace(self._orders, pid=pid), self._cell)
            try:
                await front.ended(log)
            finally:
                front.kill()
                front.reap()
            self.kill()

    def used_mb(self) -> float:
        """Return the memory of all its processes, with what it keeps in its temporary folders."""
        if not self._pid:
            return 0.0
        kept = sum(kept_in_memory(self._pid, path) for path in SCRATCH)
        return (sum(map(resident, _tree(self._pid))) + kept) / MB

    def terminate(self) -> None:
        """Ask it to drain and end: the command passes the signal on."""
        self._command.terminate()

    def kill(self) -> None:
        """End it; the command ends with it."""
        self._killing = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        await _in_thread(self._engine.end, self._name)
        self._command.kill()


async def _in_thread(call: Callable[[str], T], name: str) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, call, name)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        own = psutil.Process(pid)
        return [own, *own.children(recursive=True)]
    except psutil.Error:
        return []


def _start_front(orders: Orders, cell: Cell) -> Process:
    with tempfile.TemporaryFile() as stdin:
        stdin.write(orders.write())
        stdin.seek(0)
        popen = subprocess.Popen(
            [sys.executable, "-m", _FRONT],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_BARE,
            cwd="/",
            start_new_session=True,
        )
    return Process(popen, cell, has_own_root=False)
