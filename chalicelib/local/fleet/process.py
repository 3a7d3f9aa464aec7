"""One serving process: started in its jail, measured, ended with all that it started."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import psutil

from chalicelib.local.fleet import jail, sandbox
from chalicelib.local.fleet.logs import Log
from chalicelib.local.fleet.sandbox import Cell, Host, Walls

_BLOCK = 65_536
MB = 10**6
_BARE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


class Process:
    """A jail with a replica in it. To be started on a thread that lives as long as we do: with it the jail dies."""

    def __init__(self, popen: subprocess.Popen[bytes], cell: Cell, *, has_own_root: bool) -> None:
        self._popen = popen
        self._cell = cell
        self._has_own_root = has_own_root

    @classmethod
    def start(
        cls,
        walls: Walls,
        cell: Cell,
        host: Host,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        memory_mb: int,
    ) -> Self:
        """Start a command behind walls; what it prints is to be taken with `drain_into`."""
        orders = sandbox.orders(
            walls,
            cell,
            host,
            command=command,
            environment=environment,
            memory_mb=memory_mb,
            platform=(os.getpid(), os.geteuid()),
        )
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(orders).encode())
            stdin.seek(0)
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(jail.__file__)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_BARE,
                cwd="/",
                start_new_session=True,
            )
        return cls(popen, cell, has_own_root=walls.files)

    def output(self) -> tuple[int, str]:
        """Wait until it ends; return how it ended and all that it printed."""
        printed, _ = self._popen.communicate()
        return self._popen.returncode, printed.decode(errors="replace")

    async def ended(self, log: Log) -> int:
        """Keep what it prints until it ends; return how it ended (negative: by that signal)."""
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        watch = os.pidfd_open(self._popen.pid)
        output = self._popen.stdout
        assert output is not None  # noqa: S101  it was started with a pipe
        os.set_blocking(output.fileno(), False)
        loop.add_reader(watch, gone.set_result, None)
        loop.add_reader(output, _take, loop, output, log)
        try:
            await gone
        finally:
            loop.remove_reader(watch)
            os.close(watch)
            self._end_group()
            loop.remove_reader(output)
            _take_all(output, log)
            output.close()
        return self._popen.wait()

    def _end_group(self) -> None:
        """End what it left behind, before it is reaped: until then its number can't be another's."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def used_mb(self) -> float:
        """Return the memory of all its processes, with what they keep in their own temporary folder."""
        tree = self._tree()
        return (sum(map(resident, tree)) + self._scratch(tree)) / MB

    def _scratch(self, tree: list[psutil.Process]) -> int:
        if not self._has_own_root:
            return _folder_size(self._cell.scratch)
        return sum(kept_in_memory(tree[-1].pid, path) for path in sandbox.SCRATCH) if tree else 0

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self._popen.pid)
            return [own, *own.children(recursive=True)]
        return []

    def reap(self) -> None:
        """Wait for one that was killed."""
        self._popen.wait()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                process.kill()


def resident(process: psutil.Process) -> int:
    """Return its bytes in memory; nothing once it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def kept_in_memory(pid: int, path: str) -> int:
    """Return what is kept in a process's own file system at a path; nothing while it has none of its own yet."""
    inside = Path(f"/proc/{pid}/root{path}")
    with contextlib.suppress(OSError):
        if inside.stat().st_dev != Path(path).stat().st_dev:
            used = os.statvfs(inside)
            return (used.f_blocks - used.f_bfree) * used.f_frsize
    return 0


def _folder_size(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # they come and go
        return sum(path.lstat().st_size for path in folder.rglob("*"))
    return 0


def _take(loop: asyncio.AbstractEventLoop, output: IO[bytes], log: Log) -> None:
    if not (block := _read(output)):
        loop.remove_reader(output)
    log.write(block)


def _take_all(output: IO[bytes], log: Log) -> None:
    """Take what is still in the pipe, without waiting for those who hold its other end."""
    with contextlib.suppress(BlockingIOError):
        while block := _read(output):
            log.write(block)


def _read(output: IO[bytes]) -> bytes:
    return os.read(output.fileno(), _BLOCK)
