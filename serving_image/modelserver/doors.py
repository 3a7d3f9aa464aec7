"""The sockets by which a process takes connections: opened, shared with other processes or not, and closed together."""

import asyncio
import socket
from pathlib import Path
from typing import Protocol

from modelserver.accepting import Acceptor, OpenCounts
from modelserver.http import Application, Connection, Limits
from modelserver.settings import Settings

BACKLOG = 1024


class Closable(Protocol):
    def close(self) -> None: ...


def public(settings: Settings) -> socket.socket:
    """Listen on a Unix socket or, without one, on the port; a supervisor with another uid may connect to ours."""
    if settings.uds is None:
        return socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    return unix(settings.uds, 0o666)


def unix(path: Path, mode: int = 0o600) -> socket.socket:
    """Listen on a Unix socket, bound with the mode set before anybody can connect."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(mode)
    bound.listen(BACKLOG)
    return bound


class Doors:
    """One process's; `connections` are those that came in by any of them."""

    def __init__(self, settings: Settings) -> None:
        self.connections: set[Connection] = set()
        self._open: list[Closable] = []
        self._limits = Limits(
            max_body=settings.max_body,
            max_header=settings.max_header,
            read_timeout_s=settings.read_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
        )

    async def open(self, app: Application, listening: socket.socket) -> None:
        """Take all connections to a socket."""
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
        self._open.append(await serve(lambda: self._connection(app), sock=listening, backlog=BACKLOG))

    def open_in_turn(self, app: Application, listening: socket.socket, number: int, counts: OpenCounts) -> None:
        """Take the share of a process with that number of all connections to a socket."""
        self._open.append(Acceptor(listening, lambda: self._connection(app), number, counts, self.connections))

    def close(self) -> None:
        for door in self._open:
            door.close()

    def _connection(self, app: Application) -> Connection:
        return Connection(app, self._limits, self.connections)
