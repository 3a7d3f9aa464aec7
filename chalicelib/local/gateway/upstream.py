"""HTTP/1.1 to replicas: kept-alive connections over Unix sockets, one request at a time on each."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

from chalicelib.local.gateway.messages import Headers

MAX_IDLE = 64  # kept connections to one replica
MAX_ANSWER = 64 * 2**20  # bytes with its head: model code may not fill our memory
CONNECT_TRIES = 100  # a full backlog is retried, not failed: it empties within milliseconds
CONNECT_PAUSE = 0.01  # seconds
PRUNE = 10.0  # seconds
_INFORMATIONAL = range(100, 200)


class Broken(Exception):
    """The replica didn't take the connection (then nothing `was_sent`), or ended it before its whole answer."""

    def __init__(self, why: str, *, was_sent: bool = True) -> None:
        super().__init__(why)
        self.was_sent = was_sent


class TimedOut(Exception):
    """The replica didn't answer in time."""


@dataclass(slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes


class Link(asyncio.Protocol):
    """One connection to a replica."""

    def __init__(self, idle: list["Link"]) -> None:
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self.heard = False  # a byte of the current answer
        self._until_close = False  # the answer has no length: it ends with the connection
        self._can_stay = False
        self._said_more = False  # than one answer: what it says next would be taken for another request's
        self._size = 0  # bytes of the current answer

    # --- called by the loop -----------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if exc is None and self._until_close:
            self._until_close = False
            self._complete()
        self._fail(Broken(f"the connection ended without an answer{f': {exc}' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._size += len(data)
        if self._answer is None:  # nothing was asked
            self._transport.abort()
            return
        if self._size > MAX_ANSWER:
            self._fail(Broken(f"the replica's answer exceeds {MAX_ANSWER} bytes"))
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            self._fail(Broken(f"the replica's answer is not HTTP/1.1: {problem}"))
            self._transport.abort()

    # --- called by the parser ---------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._said_more = self._answer is None or self._answer.done()
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        names = {name for name, _ in self._headers}
        self._until_close = self._status not in _INFORMATIONAL and names.isdisjoint(
            (b"content-length", b"transfer-encoding")
        )

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._until_close = False
        if self._status not in _INFORMATIONAL:
            self._can_stay = self._parser.should_keep_alive()
            self._complete()

    # --- called by the replica's pool -------------------------------------------------------------------------------
    async def call(self, message: Sequence[bytes], timeout: float) -> Answer:  # noqa: ASYNC109
        """Send a request and return its answer. Cancelled, it ends the connection, so that no answer is mixed up."""
        loop = asyncio.get_running_loop()
        self.heard = False
        self._size = 0
        answer = self._answer = loop.create_future()
        timer = loop.call_later(timeout, self._fail, TimedOut())
        self._transport.writelines(message)
        try:
            whole: Answer = await answer
        except (asyncio.CancelledError, TimedOut):
            self._transport.abort()
            raise
        finally:
            timer.cancel()
            self._answer = None
        self._keep()
        return whole

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    # --- inside -----------------------------------------------------------------------------------------------------
    def _keep(self) -> None:
        if self._can_stay and not self._said_more and not self.is_closing and len(self._idle) < MAX_IDLE:
            self._idle.append(self)
        else:
            self._transport.close()

    def _complete(self) -> None:
        if self._answer and not self._answer.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._answer.set_result(Answer(self._status, self._headers, body))

    def _fail(self, why: Exception) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(why)


class Replica:
    """One replica: its socket, the connections kept to it, and how many requests it has."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._idle: list[Link] = []
        self.in_flight = 0

    async def call(self, message: Sequence[bytes], timeout: float) -> Answer:  # noqa: ASYNC109
        """Return the replica's answer; raises Broken or TimedOut.

        A kept connection that ends before the first byte was most likely closed by the replica for being idle, so the
        request is sent once more on a new one: a prediction is safe to repeat.
        """
        self.in_flight += 1
        try:
            while self._idle:
                link = self._idle.pop()
                if link.is_closing:
                    continue
                try:
                    return await link.call(message, timeout)
                except Broken:
                    if link.heard:
                        raise
                    break
            return await (await self._connect()).call(message, timeout)
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        for link in list(self._idle):
            link.close()

    @property
    def is_unused(self) -> bool:
        return not self._idle and not self.in_flight

    async def _connect(self) -> Link:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECT_TRIES):
            try:
                _, link = await loop.create_unix_connection(lambda: Link(self._idle), str(self.socket))
            except BlockingIOError:
                await asyncio.sleep(CONNECT_PAUSE)
            except OSError as problem:
                raise Broken(f"no connection: {problem}", was_sent=False) from problem
            else:
                return link
        raise Broken("no connection: the replica accepts none", was_sent=False)


class Replicas:
    """All replicas that were ever called, by socket."""

    def __init__(self) -> None:
        self._by_socket: dict[Path, Replica] = {}

    def least_busy(self, sockets: Sequence[Path]) -> Replica:
        """Return the one of these with the fewest requests in flight."""
        return min((self._of(socket) for socket in sockets), key=lambda replica: replica.in_flight)

    async def prune(self) -> None:
        """Forget the ones that nothing is connected to, for ever."""
        while True:
            await asyncio.sleep(PRUNE)
            self._by_socket = {socket: each for socket, each in self._by_socket.items() if not each.is_unused}

    def close(self) -> None:
        for replica in self._by_socket.values():
            replica.close()

    def _of(self, socket: Path) -> Replica:
        replica = self._by_socket.get(socket)
        if replica is None:
            replica = self._by_socket[socket] = Replica(socket)
        return replica
