"""How several processes share a listening socket: whoever has the fewest connections takes the next one.

All wake up when somebody connects, and the first would take all that come together. So one that has more than another
lets a moment pass; where the other doesn't use it, being in a call or gone, it takes the connection after all.
"""

import asyncio
import mmap
import socket
from collections.abc import Callable, Sized

from modelserver.http import Connection

NOBODY = 2**30  # connections of a process that takes none
PASS_S = 0.001
MOST_PASSES = 5
CELL = 4  # bytes


class OpenCounts:
    """How many connections each process has, in memory that forked processes share."""

    def __init__(self, processes: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, CELL * processes)).cast("i")
        for number in range(processes):
            self.leave(number)

    def set(self, number: int, connections: int) -> None:
        self._cells[number] = connections

    def leave(self, number: int) -> None:
        """Leave a process out of the comparison: it takes no connections (any more)."""
        self._cells[number] = NOBODY

    def has_most(self, number: int) -> bool:
        """Say whether any other has fewer."""
        return self._cells[number] > min(self._cells)


class Acceptor:
    """One process's turn at the socket; it is closed as a server is."""

    def __init__(
        self, listening: socket.socket, connect: Callable[[], Connection], number: int, counts: OpenCounts, own: Sized
    ) -> None:
        self._listening = listening
        self._connect = connect
        self._number = number
        self._counts = counts
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._passes = 0
        self._is_closed = False
        self._tasks: set[asyncio.Task[object]] = set()
        listening.setblocking(False)
        self._look()

    def close(self) -> None:
        self._is_closed = True
        self._counts.leave(self._number)
        self._loop.remove_reader(self._listening)

    def _look(self) -> None:
        if not self._is_closed:
            self._counts.set(self._number, len(self._own))
            self._loop.add_reader(self._listening, self._somebody_connects)

    def _somebody_connects(self) -> None:
        self._counts.set(self._number, len(self._own) + len(self._tasks))
        if self._counts.has_most(self._number) and self._passes < MOST_PASSES:
            self._passes += 1
            self._loop.remove_reader(self._listening)
            self._loop.call_later(PASS_S, self._look)
            return
        self._passes = 0
        try:
            connected, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        if connected.family == socket.AF_INET:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, connected))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
